//! Edits of text in lines.

use bolero::Driver;

use crate::dice::{NUMBERS, TEXTS, below, one};

/// Edits `text`; `other` is where foreign lines come from.
pub(crate) fn edit<D: Driver>(driver: &mut D, text: &[u8], other: &[u8], edits: usize) -> Option<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = text
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let foreign: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
    for _ in 0..edits {
        if lines.is_empty() {
            break;
        }
        let at = below(driver, lines.len())?;
        match below(driver, 7)? {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let to = below(driver, lines.len())?;
                lines.swap(at, to);
            }
            3 => {
                let line = one(driver, &foreign)?;
                lines.insert(at, line.to_vec());
            }
            4 => {
                let indent = below(driver, 5)?;
                lines[at].splice(0..0, std::iter::repeat_n(b' ', indent));
            }
            5 => word(driver, &mut lines[at], TEXTS)?,
            _ => word(driver, &mut lines[at], NUMBERS)?,
        }
    }
    Some(lines.concat())
}

/// Replaces one word of a line, as blanks and colons divide it.
fn word<D: Driver>(driver: &mut D, line: &mut Vec<u8>, with: &[&str]) -> Option<()> {
    let divides = |byte: &u8| matches!(byte, b' ' | b'\t' | b':' | b'\n' | b'=' | b',');
    let mut words = Vec::new();
    let mut start = 0;
    for end in 0..=line.len() {
        if line.get(end).is_none_or(divides) {
            if end > start {
                words.push(start..end);
            }
            start = end + 1;
        }
    }
    if !words.is_empty() {
        let word = words.swap_remove(below(driver, words.len())?);
        line.splice(word, one(driver, with)?.bytes());
    }
    Some(())
}
