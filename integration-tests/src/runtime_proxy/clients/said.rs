//! What a program printed and how it ended, so that two runs can be compared.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};

/// The fewest hex digits of an id as programs print it: of images and containers they show twelve or all.
const ID_DIGITS: usize = 12;
/// The most characters of it that are told.
const TOLD: usize = 400;

/// What was printed, ids apart, and the exit code.
#[derive(PartialEq, Eq)]
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |text: &str| text.chars().take(TOLD).collect::<String>();
        f.debug_struct("Said")
            .field("code", &self.code)
            .field("out", &short(&self.out))
            .field("err", &short(&self.err))
            .finish()
    }
}

impl Said {
    /// Of what a program printed.
    ///
    /// # Errors
    /// When a signal ended it.
    pub(super) fn of(output: &Output) -> Result<Self> {
        let text = |bytes: &[u8]| without_ids(&String::from_utf8_lossy(bytes));
        Ok(Self {
            code: output
                .status
                .code()
                .with_context(|| format!("it ended by {}", output.status))?,
            out: text(&output.stdout),
            err: text(&output.stderr),
        })
    }

    /// It, where it ended with this code.
    ///
    /// # Errors
    /// When it ended with another.
    pub(super) fn ending(self, code: i32) -> Result<Self> {
        ensure!(self.code == code, "it is to end with {code}: {self:?}");
        Ok(self)
    }

    /// It, where this is what it printed.
    ///
    /// # Errors
    /// When it printed something else.
    pub(super) fn printing(self, out: &str) -> Result<Self> {
        ensure!(self.out == out, "it is to print {out:?}: {self:?}");
        Ok(self)
    }
}

/// Runs a program with this on its standard input, which ends then.
///
/// # Errors
/// When it does not run, or a signal ends it.
pub(super) fn ends(command: Command, input: &[u8]) -> Result<Said> {
    Said::of(&output(command, input)?)
}

/// The same, as it was printed.
///
/// # Errors
/// When it does not run.
pub(super) fn output(mut command: Command, input: &[u8]) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Who ends early does not read it.
            stdin.map(|mut stdin| stdin.write_all(input))
        });
        Ok(child.wait_with_output()?)
    })
}

/// The text with one word for every id, and of lines that were written over each other the last.
fn without_ids(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let whole = line.trim_end_matches(['\r', '\n']);
        let last = whole.rsplit('\r').next().unwrap_or_default();
        [last, &line[whole.len()..]].concat()
    });
    let mut shown = String::new();
    let mut word = String::new();
    for letter in lines.collect::<String>().chars() {
        match letter.is_ascii_alphanumeric() {
            true => word.push(letter),
            false => {
                shown.push_str(named(&word));
                shown.push(letter);
                word.clear();
            }
        }
    }
    shown.push_str(named(&word));
    shown
}

/// The word, or what stands for it where it is an id.
fn named(word: &str) -> &str {
    let is_id = word.len() >= ID_DIGITS && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_id { "ID" } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_what_was_written_over_are_taken_out_and_nothing_else_is() {
        for (text, shown) in [
            ("Removing container 0123456789ab\n", "Removing container ID\n"),
            ("sha256:00112233445566778899aabb", "sha256:ID"),
            ("12345678901\n", "12345678901\n"),
            ("sending 1kB\rsending 2kB\r\r\n", "sending 2kB\r\r\n"),
            ("a\r\nb", "a\r\nb"),
            ("deadbeefdeadbeefg", "deadbeefdeadbeefg"),
        ] {
            assert_eq!(without_ids(text), shown);
        }
    }
}
