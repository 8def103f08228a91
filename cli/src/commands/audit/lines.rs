//! The form of an export: a line that says what it is, a line for each row, and one for the head.
//!
//! A line of a row holds its number, its key and its value in hex, byte for byte as the chain is over them, and what the value
//! says, for whoever searches. There is one way to write each line: another one is a changed one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verger_seal::{BrokenChain, ChainCheck, ChainHead, Verified};

use super::row::{Row, Says};
use crate::output::ascii_json;

/// The longest line that is read, bytes: twice a row's value in hex, and what it says with every byte escaped.
pub(super) const LINE_BYTES: usize = 4 << 20;
const FORMAT: &str = "verger-audit/1";

#[derive(Serialize, Deserialize)]
struct BeginLine {
    format: String,
}

#[derive(Serialize)]
struct RowLine<'a> {
    number: u64,
    key: String,
    value: String,
    says: Says<'a>,
}

#[derive(Deserialize)]
struct RowRead {
    number: u64,
    key: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
struct HeadLine {
    head: String,
    dropped: u64,
}

/// Why an export is not what was exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotWhole {
    #[error("it does not begin as an export of the audit that this version knows")]
    Beginning,
    #[error("line {0} is not as it was exported")]
    Line(u64),
    #[error("line {0} comes after the end")]
    Behind(u64),
    #[error("it ends without its head: it was cut off")]
    NoEnd,
    #[error(transparent)]
    Chain(#[from] BrokenChain),
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// The first line.
pub(super) fn begin() -> anyhow::Result<String> {
    let line = BeginLine {
        format: FORMAT.to_owned(),
    };
    Ok(ascii_json(&line, false)? + "\n")
}

/// The line of a row.
pub(super) fn row(row: &Row) -> anyhow::Result<String> {
    let line = RowLine {
        number: row.number,
        key: hex(&row.key),
        value: hex(&row.value),
        says: row.says(),
    };
    Ok(ascii_json(&line, false)? + "\n")
}

/// The last line.
pub(super) fn end(head: ChainHead, dropped: u64) -> anyhow::Result<String> {
    let line = HeadLine {
        head: head.to_string(),
        dropped,
    };
    Ok(ascii_json(&line, false)? + "\n")
}

/// An export that is being read, line by line: none is held.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    check: ChainCheck,
    lines: u64,
    last: Option<Timestamp>,
    end: Option<(ChainHead, u64)>,
}

impl Reading {
    /// Begins, with the head that was kept elsewhere, if one was.
    pub(super) const fn begin(kept: Option<ChainHead>) -> Self {
        Self {
            check: ChainCheck::begin(kept),
            lines: 0,
            last: None,
            end: None,
        }
    }

    /// Takes in a line, its end included.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), NotWhole> {
        self.lines += 1;
        let changed = NotWhole::Line(self.lines);
        if self.lines == 1 {
            let known = begin().is_ok_and(|known| known.as_bytes() == line);
            return if known { Ok(()) } else { Err(NotWhole::Beginning) };
        }
        if self.end.is_some() {
            return Err(NotWhole::Behind(self.lines));
        }
        if let Some(row) = read_row(line) {
            self.last = Some(row.entry.at);
            return Ok(self.check.take(row.link())?);
        }
        self.end = Some(read_end(line).ok_or(changed)?);
        Ok(())
    }

    /// Of when the last row is that was taken in.
    pub(super) const fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Ends.
    pub(super) fn finish(self) -> Result<Verified, NotWhole> {
        if self.lines == 0 {
            return Err(NotWhole::Beginning);
        }
        let (head, dropped) = self.end.ok_or(NotWhole::NoEnd)?;
        Ok(self.check.finish(head, dropped)?)
    }
}

fn read_row(line: &[u8]) -> Option<Row> {
    let RowRead { number, key, value } = serde_json::from_slice(line).ok()?;
    let read = Row::read(number, unhex(&key)?.into(), unhex(&value)?.into()).ok()?;
    (row(&read).ok()?.as_bytes() == line).then_some(read)
}

fn read_end(line: &[u8]) -> Option<(ChainHead, u64)> {
    let HeadLine { head, dropped } = serde_json::from_slice(line).ok()?;
    let head = head.parse().ok()?;
    (end(head, dropped).ok()?.as_bytes() == line).then_some((head, dropped))
}
