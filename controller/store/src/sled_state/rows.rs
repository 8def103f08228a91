//! How rows and the mark lie in sled. All rows share one sled tree, because only one tree's batch is atomic.
//!
//! Key: [`row_key`]; the mark is under a key of no tree. Value: the tagged frame of [`frame`](crate::frame), the
//! tag being the whole key.
//! Mark: `index u64, term u64, rows u64, digest u64, membership`; the digest is the wrapping sum of the rows'
//! checksums, so that rows which vanish or come back are noticed.

use std::path::Path;

use bytes::Bytes;

use crate::frame::{decode_tagged, encode_tagged, u64_at};
use crate::log_db::LogId;
use crate::state_db::{AppliedMark, Row};
use crate::{Remedy, StoreError, row_key};

pub(super) const MARK_KEY: &[u8] = b"\0applied";

/// The sum over all rows, kept up to date with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) digest: u64,
}

impl Tally {
    pub(super) fn add(&mut self, crc: u32) {
        self.rows = self.rows.wrapping_add(1);
        self.digest = self.digest.wrapping_add(u64::from(crc));
    }

    pub(super) fn remove(&mut self, crc: u32) {
        self.rows = self.rows.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(u64::from(crc));
    }
}

pub(super) fn encode_value(full_key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    row_key::limit_value(value)?;
    Ok(encode_tagged(full_key, value))
}

pub(super) fn decode_value(file: &Path, full_key: &[u8], stored: &[u8]) -> Result<(u32, Bytes), StoreError> {
    let (crc, value) = decode_tagged(full_key, stored).map_err(|invalid| {
        invalid.in_file(
            file,
            Remedy::RebuildState,
            &format!("the row {}", full_key[..full_key.len().min(100)].escape_ascii()),
        )
    })?;
    Ok((crc, Bytes::copy_from_slice(value)))
}

/// Takes a stored pair apart; gives its checksum too.
pub(super) fn decode_row(file: &Path, full_key: &[u8], stored: &[u8]) -> Result<(u32, Row), StoreError> {
    let (crc, value) = decode_value(file, full_key, stored)?;
    let (tree, key) = row_key::split(full_key).ok_or_else(|| damaged(file, "a row's key does not decode"))?;
    Ok((
        crc,
        Row {
            tree: tree.to_owned(),
            key: Bytes::copy_from_slice(key),
            value,
        },
    ))
}

pub(super) fn encode_mark(mark: &AppliedMark, tally: Tally) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + mark.membership.len());
    for number in [mark.last.index, mark.last.term, tally.rows, tally.digest] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&mark.membership);
    encode_tagged(MARK_KEY, &bytes)
}

pub(super) fn decode_mark(file: &Path, stored: &[u8]) -> Result<(AppliedMark, Tally), StoreError> {
    let (_, bytes) = decode_value(file, MARK_KEY, stored)?;
    if bytes.len() < 32 {
        return Err(damaged(file, "the applied mark does not decode"));
    }
    let mark = AppliedMark {
        last: LogId {
            index: u64_at(&bytes, 0),
            term: u64_at(&bytes, 8),
        },
        membership: bytes.slice(32..),
    };
    Ok((
        mark,
        Tally {
            rows: u64_at(&bytes, 16),
            digest: u64_at(&bytes, 24),
        },
    ))
}

pub(super) fn damaged(file: &Path, what: &str) -> StoreError {
    StoreError::damaged(file, Remedy::RebuildState, what)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::u32_at;

    #[test]
    fn the_bytes_of_a_row_are_frozen() {
        let key = row_key::join("hosts", b"a").unwrap();
        let value = encode_value(&key, b"v").unwrap();
        assert_eq!((value[0], &value[5..]), (1, &b"v"[..]));
        assert_eq!(u32_at(&value, 1), 0xCF49_8092);
    }

    #[test]
    fn the_bytes_of_the_mark_are_frozen() {
        let mark = AppliedMark {
            last: LogId { index: 1, term: 2 },
            membership: Bytes::from_static(b"m"),
        };
        let tally = Tally { rows: 3, digest: 4 };
        let bytes = encode_mark(&mark, tally);
        let mut frozen = Vec::new();
        for number in 1_u8..=4 {
            frozen.extend_from_slice(&[number, 0, 0, 0, 0, 0, 0, 0]);
        }
        frozen.push(b'm');
        assert_eq!((bytes[0], &bytes[5..]), (1, frozen.as_slice()));
        assert_eq!(u32_at(&bytes, 1), 0xC350_B188);
        assert_eq!(decode_mark(Path::new("f"), &bytes).unwrap(), (mark, tally));
    }
}
