//! Telling who called the runtime why nothing runs, the way the runtime would.
//!
//! Shims and conmon take what they show from the file of `--log`, its last line; what stands on standard error they may drop.

use std::fs::File;
use std::io::Write as _;

use jiff::Timestamp;
use serde_json::json;

use crate::command::Log;

/// The longest sentence that is told, characters.
const LIMIT: usize = 4_000;

/// The sentence as one line that can be shown: what it repeats may be anything.
pub fn line(sentence: &str) -> String {
    let shown = sentence.chars().take(LIMIT).map(|c| match c {
        ' '..='~' => c.to_string(),
        c if c.is_alphanumeric() => c.to_string(),
        c => c.escape_default().to_string(),
    });
    format!("verger-gate: {}", shown.collect::<String>())
}

/// Tells it in the log and on standard error.
pub fn tell(log: &Log, sentence: &str, now: Timestamp) {
    let line = line(sentence);
    if let Some(path) = &log.file {
        let entry = if log.json {
            json!({ "level": "error", "msg": line, "time": now.to_string() }).to_string()
        } else {
            format!("time=\"{now}\" level=error msg={line:?}")
        };
        let opened = File::options().append(true).create(true).open(path);
        // Standard error says it all the same.
        let _ = opened.and_then(|mut file| writeln!(file, "{entry}"));
    }
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sentence_is_one_line_and_goes_behind_what_is_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.json");
        std::fs::write(&path, "{\"level\":\"info\"}\n").unwrap();
        let log = Log {
            file: Some(path.clone()),
            json: true,
        };
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        tell(&log, "refused: \u{1b}[2J\n\u{202e}x é", now);
        let text = std::fs::read_to_string(&path).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!(last["msg"], "verger-gate: refused: \\u{1b}[2J\\n\\u{202e}x é");
        assert_eq!(
            (&last["level"], &last["time"]),
            (&json!("error"), &json!("2026-01-02T03:04:05Z"))
        );
        assert_eq!(text.lines().count(), 2);
    }
}
