//! A durable counter beside the log: notices a log that is older than what was acknowledged.
//!
//! A storage engine with two commit slots falls back to the older one when the newer is damaged, and cannot
//! tell that from a commit cut short by a crash. After every commit, and before it is acknowledged, its
//! sequence number goes to one of two 4 KiB slots, in turn. A log behind its watermark, or more than one
//! commit ahead of it, is damage.
//!
//! Slot: `"VGRM", version u8, crc u32, sequence u64`, the rest zero; crc over the sequence number.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::frame::{FORMAT_VERSION, u32_at, u64_at};
use crate::{Remedy, StoreError};

const SLOT: usize = 4096;
const MAGIC: &[u8; 4] = b"VGRM";

/// The open watermark file.
#[derive(Debug)]
pub(crate) struct Watermark {
    path: PathBuf,
    file: File,
    sequence: u64,
}

impl Watermark {
    /// Makes a watermark file that says `sequence`, replacing what is there.
    pub(crate) fn create(path: &Path, sequence: u64) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|error| StoreError::io(path, "create", error))?;
        // Both slots get their blocks now: a later overwrite needs no space.
        file.write_all_at(&[0; 2 * SLOT], 0)
            .map_err(|error| StoreError::io(path, "write", error))?;
        let mut mark = Self {
            path: path.to_owned(),
            file,
            sequence,
        };
        mark.advance(sequence, true)?;
        Ok(mark)
    }

    /// Opens the file and takes the newest slot that verifies.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => damaged(path, "the watermark file is missing"),
                _ => StoreError::io(path, "open", error),
            })?;
        let mut newest = None;
        for slot in 0..2 {
            let mut bytes = [0; SLOT];
            match file.read_exact_at(&mut bytes, (slot * SLOT) as u64) {
                Ok(()) => newest = newest.max(decode(path, &bytes)?),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(damaged(path, "the watermark file is cut short"));
                }
                Err(error) => return Err(StoreError::io(path, "read", error)),
            }
        }
        let sequence = newest.ok_or_else(|| damaged(path, "no slot of the watermark file verifies"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            sequence,
        })
    }

    /// Gives the last sequence number that was acknowledged.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Stores a sequence number; durable on return when `sync` is set.
    pub(crate) fn advance(&mut self, sequence: u64, sync: bool) -> Result<(), StoreError> {
        let slot = (sequence % 2) * SLOT as u64;
        self.file
            .write_all_at(&encode(sequence), slot)
            .and_then(|()| if sync { self.file.sync_data() } else { Ok(()) })
            .map_err(|error| StoreError::io(&self.path, "sync", error))?;
        self.sequence = sequence;
        Ok(())
    }
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::damaged(path, Remedy::RejoinUnderNewId, what)
}

fn encode(sequence: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    let number = sequence.to_le_bytes();
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4] = FORMAT_VERSION;
    bytes[5..9].copy_from_slice(&crc32c::crc32c(&number).to_le_bytes());
    bytes[9..17].copy_from_slice(&number);
    bytes
}

/// Gives `None` for a slot that was never written or was torn; the other slot then decides.
fn decode(path: &Path, bytes: &[u8; SLOT]) -> Result<Option<u64>, StoreError> {
    let sequence = u64_at(bytes, 9);
    let sound = bytes[..4] == *MAGIC && u32_at(bytes, 5) == crc32c::crc32c(&sequence.to_le_bytes());
    match bytes[4] {
        FORMAT_VERSION => Ok(sound.then_some(sequence)),
        found if sound && found > FORMAT_VERSION => Err(StoreError::Newer {
            file: path.to_owned(),
            found,
            supported: FORMAT_VERSION,
        }),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bytes_of_a_slot_are_frozen() {
        let slot = encode(0x0102_0304);
        assert_eq!(slot[..5], *b"VGRM\x01");
        assert_eq!(u32_at(&slot, 5), 0xF6AD_8AD0);
        assert_eq!(slot[9..17], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert!(slot[17..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_torn_newest_slot_gives_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.mark");
        let mut mark = Watermark::create(&path, 1).unwrap();
        mark.advance(2, true).unwrap();
        mark.advance(3, true).unwrap();
        drop(mark);
        assert_eq!(Watermark::open(&path).unwrap().sequence(), 3);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff], SLOT as u64 + 9).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().sequence(), 2);
        file.write_all_at(&[0xff], 9).unwrap();
        assert!(Watermark::open(&path).unwrap_err().is_damage());
    }
}
