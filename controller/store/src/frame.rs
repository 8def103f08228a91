//! Frames every stored value: a format version, a CRC32C, then the bytes. Little-endian throughout.
//!
//! | form | bytes |
//! |---|---|
//! | log record | `version u8, crc u32, index u64, term u64, payload` — crc over index, term, payload |
//! | tagged value | `version u8, crc u32, payload` — crc over tag, `0x00`, payload; the tag is the key it is stored under |

use std::path::Path;

use bytes::Bytes;

use crate::{LogRecord, Remedy, StoreError};

/// The newest format this program writes and reads.
pub(crate) const FORMAT_VERSION: u8 = 1;
const HEADER: usize = 5;
const RECORD_HEADER: usize = HEADER + 16;

/// Why framed bytes were not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvalidFrame {
    Newer(u8),
    Version(u8),
    Short(usize),
    Checksum { stored: u32, computed: u32 },
}

impl InvalidFrame {
    /// Names the file and the value the bytes were read from.
    pub(crate) fn in_file(self, file: &Path, remedy: Remedy, value: &str) -> StoreError {
        let what = match self {
            Self::Newer(found) => {
                return StoreError::Newer {
                    file: file.to_owned(),
                    found,
                    supported: FORMAT_VERSION,
                };
            }
            Self::Version(found) => format!("{value} has the impossible format version {found}"),
            Self::Short(length) => format!("{value} is cut short at {length} bytes"),
            Self::Checksum { stored, computed } => {
                format!("{value} has checksum {stored:08x} where its bytes give {computed:08x}")
            }
        };
        StoreError::damaged(file, remedy, what)
    }
}

/// Encodes one log record.
pub(crate) fn encode_record(record: &LogRecord) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_HEADER + record.payload.len());
    bytes.push(FORMAT_VERSION);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&record.index.to_le_bytes());
    bytes.extend_from_slice(&record.term.to_le_bytes());
    bytes.extend_from_slice(&record.payload);
    let crc = crc32c::crc32c(&bytes[HEADER..]);
    bytes[1..HEADER].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Decodes one log record; whether its index fits its key is the caller's check.
pub(crate) fn decode_record(bytes: &[u8]) -> Result<LogRecord, InvalidFrame> {
    let (stored, body) = open(bytes, RECORD_HEADER)?;
    verify(stored, crc32c::crc32c(body))?;
    Ok(LogRecord {
        index: u64_at(body, 0),
        term: u64_at(body, 8),
        payload: Bytes::copy_from_slice(&body[16..]),
    })
}

/// Encodes a value under its tag, so that a value moved to another key is noticed.
pub(crate) fn encode_tagged(tag: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.push(FORMAT_VERSION);
    bytes.extend_from_slice(&tagged_crc(tag, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Decodes a value stored under `tag`, and gives its checksum too.
pub(crate) fn decode_tagged<'a>(tag: &[u8], bytes: &'a [u8]) -> Result<(u32, &'a [u8]), InvalidFrame> {
    let (stored, payload) = open(bytes, HEADER)?;
    verify(stored, tagged_crc(tag, payload))?;
    Ok((stored, payload))
}

/// Gives the checksum a value has under its tag.
pub(crate) fn tagged_crc(tag: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(tag), &[0]), payload)
}

fn open(bytes: &[u8], minimum: usize) -> Result<(u32, &[u8]), InvalidFrame> {
    match bytes.first() {
        None => return Err(InvalidFrame::Short(0)),
        Some(&FORMAT_VERSION) => {}
        Some(&version) if version > FORMAT_VERSION => return Err(InvalidFrame::Newer(version)),
        Some(&version) => return Err(InvalidFrame::Version(version)),
    }
    if bytes.len() < minimum {
        return Err(InvalidFrame::Short(bytes.len()));
    }
    Ok((u32_at(bytes, 1), &bytes[HEADER..]))
}

fn verify(stored: u32, computed: u32) -> Result<(), InvalidFrame> {
    if stored == computed {
        Ok(())
    } else {
        Err(InvalidFrame::Checksum { stored, computed })
    }
}

/// Reads a little-endian number at an offset the caller has bounded.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

/// Reads a little-endian number at an offset the caller has bounded.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record() -> LogRecord {
        LogRecord {
            index: 0x0102,
            term: 3,
            payload: Bytes::from_static(b"verger"),
        }
    }

    #[test]
    fn the_bytes_of_a_log_record_are_frozen() {
        let frozen = [
            1, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, b'v', b'e', b'r', b'g', b'e', b'r',
        ];
        let bytes = encode_record(&record());
        assert_eq!(bytes[0], frozen[0]);
        assert_eq!(bytes[5..], frozen[5..]);
        assert_eq!(u32_at(&bytes, 1), 0x9836_F340);
        assert_eq!(decode_record(&bytes).unwrap(), record());
    }

    #[test]
    fn the_bytes_of_a_vote_are_frozen() {
        let bytes = encode_tagged(b"vote", &[7, 0, 9]);
        assert_eq!((bytes[0], &bytes[5..]), (1, &[7, 0, 9][..]));
        assert_eq!(u32_at(&bytes, 1), 0xB9F9_5FC4);
        assert_eq!(decode_tagged(b"vote", &bytes).unwrap().1, [7, 0, 9]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = encode_record(&record());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(decode_record(&damaged).is_err(), "byte {at} bit {bit}");
            }
            assert!(decode_record(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_value_under_another_tag_is_refused() {
        let bytes = encode_tagged(b"vote", b"x");
        assert!(matches!(
            decode_tagged(b"committed", &bytes),
            Err(InvalidFrame::Checksum { .. })
        ));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = encode_record(&record());
        bytes[0] = 2;
        assert_eq!(decode_record(&bytes), Err(InvalidFrame::Newer(2)));
    }
}
