//! What is wrong with a draft, and what to do about it.

use std::fmt;

use crate::model::{printable, printable_within};

/// The most problems one reading reports by itself; the rest is counted.
pub const MAX_PROBLEMS: usize = 1000;

/// One fault of a draft. `Display` is `file:line:column: field: message; remedy`, safe for a terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1; 0 where the input has none (canonical bytes).
    pub line: u32,
    /// The column in characters, from 1; 0 where the input has none.
    pub column: u32,
    /// The field, as in `spec.config.user.uid`; empty where it is about the file or the document.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            field,
            message,
            remedy,
        } = self;
        f.write_str(&printable(file))?;
        if *line > 0 {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !field.is_empty() {
            write!(f, "{}: ", printable(field))?;
        }
        f.write_str(&printable(message))?;
        if !remedy.is_empty() {
            write!(f, "; {}", printable(remedy))?;
        }
        Ok(())
    }
}

/// The problems of one reading: the first [`MAX_PROBLEMS`], and how many more there were.
#[derive(Default)]
pub(super) struct Problems {
    shown: Vec<Problem>,
    more: usize,
}

impl Problems {
    pub(super) const fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Takes a problem; past the limit it is not even made.
    pub(super) fn push(&mut self, make: impl FnOnce() -> Problem) {
        if self.shown.len() < MAX_PROBLEMS {
            self.shown.push(make());
        } else {
            self.more += 1;
        }
    }

    /// All of them in the order of the file, and at the end how many are not shown.
    pub(super) fn finish(mut self, file: &str) -> Vec<Problem> {
        self.shown.sort_by_key(|problem| (problem.line, problem.column));
        if self.more > 0 {
            self.shown.push(Problem {
                file: file.to_owned(),
                line: 0,
                column: 0,
                field: String::new(),
                message: format!("{} more problems are not shown", self.more),
                remedy: "repair those above first".to_owned(),
            });
        }
        self.shown
    }
}

/// A text from a draft, in backquotes, escaped and cut, as it may stand in a message.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", printable_within(text, 60))
}

/// The word of `known` that `found` is most likely a slip of.
pub(crate) fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let found: Vec<char> = found.chars().take(41).flat_map(char::to_lowercase).collect();
    if found.len() > 40 {
        return None;
    }
    let allowed = 1 + found.len() / 4;
    known
        .iter()
        .map(|word| {
            (
                distance(
                    &found,
                    &word.chars().flat_map(char::to_lowercase).collect::<Vec<_>>(),
                ),
                *word,
            )
        })
        .filter(|(far, _)| *far <= allowed)
        .min()
        .map(|(_, word)| word)
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["command", "capabilities", "workingDir", "user"];
        assert_eq!(nearest("comand", &known), Some("command"));
        assert_eq!(nearest("workingdir", &known), Some("workingDir"));
        assert_eq!(nearest("working_dir", &known), Some("workingDir"));
        assert_eq!(nearest("zzz", &known), None);
        assert_eq!(nearest(&"a".repeat(1_000_000), &known), None);
    }

    #[test]
    fn control_characters_show_as_escapes() {
        let problem = Problem {
            file: "a\x1b.yaml".into(),
            line: 3,
            column: 7,
            field: "spec.\u{202e}x".into(),
            message: "bad\r\nthing".into(),
            remedy: "remove it".into(),
        };
        assert_eq!(
            problem.to_string(),
            "a\\u{1b}.yaml:3:7: spec.\\u{202e}x: bad\\u{d}\\u{a}thing; remove it"
        );
    }
}
