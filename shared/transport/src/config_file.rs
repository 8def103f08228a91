//! Configuration files: TOML, unknown keys refused, errors that name file, line and column.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// The largest file that is read, bytes.
const MOST: u64 = 1 << 20;
/// The longest message about what is in one, characters: it may repeat a key.
const MESSAGE: usize = 300;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {file:?}: {source}")]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is far too large to be one.
    #[error("{0:?} is larger than {MOST} bytes: it is no configuration file")]
    TooLarge(PathBuf),
    /// It says something that cannot be.
    #[error("{file}:{line}:{column}: {message}", file = file.display())]
    Content {
        /// Which file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

/// Reads a configuration file.
///
/// # Errors
/// When it cannot be read, or says something that cannot be.
pub fn load<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Read {
        file: file.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(MOST + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > MOST {
        return Err(ConfigError::TooLarge(file.to_owned()));
    }
    parse(file, &text)
}

/// Reads the text of a configuration file.
pub(crate) fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..offset).unwrap_or_default();
        ConfigError::Content {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .chars()
                .rev()
                .take_while(|character| *character != '\n')
                .count()
                + 1,
            message: shown(error.message()),
        }
    })
}

/// Cuts a message, and escapes what a terminal could obey.
fn shown(message: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    let mut shown: String = message.chars().take(MESSAGE).map(escaped).collect();
    if message.chars().nth(MESSAGE).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        port: u16,
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "port = 1\nprot = 2\n").unwrap();
        let error = load::<Sample>(&file).unwrap_err().to_string();
        assert!(error.contains("c.toml:2:1:") && error.contains("prot"), "{error}");
    }

    #[test]
    fn a_hostile_key_is_escaped_and_cut_and_a_huge_file_is_not_read() {
        let key = format!("\"\\u001b[2J{}\" = 1\n", "x".repeat(1_000));
        let error = parse::<Sample>(Path::new("c.toml"), &key)
            .unwrap_err()
            .to_string();
        assert!(
            !error.contains('\u{1b}') && error.contains("\\u{1b}[2J") && error.len() < 500,
            "{error}"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, " ".repeat(2 << 20)).unwrap();
        assert!(matches!(load::<Sample>(&file), Err(ConfigError::TooLarge(_))));
    }
}
