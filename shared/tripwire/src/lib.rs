//! What the proxy, the tripwire and the agent know of each other: the header that bears the mark, and the record of what bore none.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verger_gate_protocol::file;

#[cfg(test)]
mod fuzz;

/// The header that bears the mark, as Docker hands it on.
pub const MARK_HEADER: &str = "X-Verger-Mark";
/// And as it is sent: libraries write names of headers in small letters.
pub const MARK_HEADER_SENT: &str = "x-verger-mark";
/// Bytes of a mark: 32 random ones as hex digits.
const MARK_BYTES: u64 = 64;
/// The longest text of a stray that is kept, characters.
pub const SHOWN: usize = 200;
/// Different strays that are told apart; of more it is only counted how many requests there were.
pub const TOLD_APART: usize = 64;
/// The most bytes of a record that are read. One that is full has less than half of it.
const RECORD_BYTES: u64 = 1 << 20;

/// What did not come by the proxy, as it is on disk: format 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The format.
    pub version: u32,
    /// Those told apart, the latest first; at most [`TOLD_APART`].
    pub strays: Vec<Row>,
    /// Requests besides them.
    pub more: u64,
}

/// Requests that are alike. Their texts are a stranger's, cut and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    /// Of each.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The name in a TLS client's certificate; empty on a unix socket.
    pub user: String,
    /// When the first one came.
    pub first: Timestamp,
    /// And the last.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRecord {
    /// The file.
    #[error("{path}", path = .0.display())]
    File(PathBuf, #[source] io::Error),
    /// What is in it.
    #[error("{path}: {what}; start verger-tripwire anew, which puts it aside", path = .0.display(), what = .1)]
    Content(PathBuf, String),
}

impl Record {
    /// Reads one; an empty one where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, InvalidRecord> {
        let bytes = match file::read(path, RECORD_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(InvalidRecord::File(path.to_owned(), error)),
        };
        Self::parse(&bytes).map_err(|what| InvalidRecord::Content(path.to_owned(), what))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("damaged at line {} column {}", error.line(), error.column()))?;
        let is_plain = |text: &String| {
            // Escaping makes ten characters of one at most.
            text.chars().count() <= 10 * SHOWN && !text.contains(char::is_control)
        };
        let texts = record
            .strays
            .iter()
            .flat_map(|row| [&row.method, &row.path, &row.user]);
        if record.version != 1 {
            return Err(format!("format {} is not known here", record.version));
        }
        if record.strays.len() > TOLD_APART || !texts.into_iter().all(is_plain) {
            return Err("it holds what no tripwire writes".to_owned());
        }
        Ok(record)
    }
}

/// The mark, as the tripwire left it in its file.
///
/// # Errors
/// When the file cannot be read, or holds no mark.
pub fn mark(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(file::read(path, MARK_BYTES)?).map_err(io::Error::other)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() as u64 != MARK_BYTES || !text.bytes().all(is_digit) {
        return Err(io::Error::other("it holds no mark"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_an_error_at_once() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strays.json");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(
            Record::read(&path)
                .unwrap_err()
                .to_string()
                .contains("strays.json")
        );
        assert!(mark(&path).unwrap_err().to_string().contains("regular"));
    }

    #[test]
    fn a_mark_is_64_digits_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        assert!(mark(&path).is_err());
        assert!(MARK_HEADER.eq_ignore_ascii_case(MARK_HEADER_SENT));
        let good = "0f".repeat(32);
        std::fs::write(&path, &good).unwrap();
        assert_eq!(mark(&path).unwrap(), good);
        for bad in [
            "",
            &good[1..],
            &format!("{good}0"),
            &good.to_uppercase(),
            &"\r\n".repeat(32),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(mark(&path).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_empty_and_what_is_no_record_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strays.json");
        assert_eq!(Record::read(&path).unwrap(), Record::default());
        let hostile = |row: &str| format!("{{\"version\":1,\"strays\":[{row}],\"more\":0}}");
        let row = |path: &str| {
            format!(
                "{{\"method\":\"GET\",\"path\":\"{path}\",\"user\":\"\",\"first\":\"1970-01-01T00:00:00Z\",\"last\":\"1970-01-01T00:00:00Z\",\"count\":1}}"
            )
        };
        std::fs::write(&path, hostile(&row("/info"))).unwrap();
        assert_eq!(Record::read(&path).unwrap().strays[0].path, "/info");
        for text in [
            String::new(),
            hostile(&row("\\u001b[2J")),
            hostile(&row(&"a".repeat(10_000))),
            hostile(&vec![row("/info"); TOLD_APART + 1].join(",")),
            hostile("").replace('1', "2"),
            " ".repeat((1 << 20) + 1),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Record::read(&path).unwrap_err().to_string();
            assert!(error.contains("strays.json"), "{error}");
        }
    }
}
