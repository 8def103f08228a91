//! Edits that know nothing of the input.

use bolero::Driver;

use crate::MOST_BYTES;
use crate::dice::{NUMBERS, TEXTS, below, one, range};

/// Syntax that means something to a reader of YAML, JSON, TOML or PEM.
const SYNTAX: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b": ",
    b"- ",
    b"\n",
    b"#",
    b"&a ",
    b"*a ",
    b"!!int ",
    b"!x ",
    b"<<: ",
    b"--- ",
    b"...\n",
    b"|",
    b">-",
    b"? ",
    b"%YAML 1.2\n",
    b"\\u0000",
    b"\\ud800",
    b"-----END ",
    b"=",
    b"\xff",
    b"\xc3",
];

/// Bytes that were never anything.
pub(crate) fn noise<D: Driver>(driver: &mut D, most: usize) -> Option<Vec<u8>> {
    let length = below(driver, most)?;
    (0..length).map(|_| driver.produce::<u8>()).collect()
}

/// One edit of `input`; `other` is where splices come from.
pub(crate) fn edit<D: Driver>(driver: &mut D, input: &mut Vec<u8>, other: &[u8]) -> Option<()> {
    let at = below(driver, input.len() + 1)?;
    match below(driver, 10)? {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << below(driver, 8)?;
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = driver.produce()?;
            }
        }
        2 => {
            let few = noise(driver, 8)?;
            input.splice(at..at, few);
        }
        3 => {
            let range = range(driver, input.len())?;
            input.drain(range);
        }
        4 => {
            let range = range(driver, input.len())?;
            let times = 1 + below(driver, 64)?;
            let room = MOST_BYTES.saturating_sub(input.len()) / range.len().max(1);
            let repeated = input[range.clone()].repeat(times.min(room));
            input.splice(range.end..range.end, repeated);
        }
        5 => {
            let from = range(driver, other.len())?;
            let into = range(driver, input.len())?;
            input.splice(into, other[from].iter().copied());
        }
        6 => {
            let text = one(driver, TEXTS)?;
            input.splice(at..at, text.bytes());
        }
        7 => {
            let syntax = one(driver, SYNTAX)?;
            input.splice(at..at, syntax.iter().copied());
        }
        8 => number(input, at, one(driver, NUMBERS)?),
        _ => input.truncate(at),
    }
    Some(())
}

/// Replaces the first run of digits behind `at`.
fn number(input: &mut Vec<u8>, at: usize, with: &str) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + start;
    let end = input[start..]
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .map_or(input.len(), |length| start + length);
    input.splice(start..end, with.bytes());
}
