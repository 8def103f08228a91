//! Configuration files: TOML, unknown keys refused, errors that name file, line and column.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

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
    let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read {
        file: file.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| {
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
            message: error.message().to_owned(),
        }
    })
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
}
