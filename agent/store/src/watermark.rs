//! The watermark: a small file outside sled that says how far a journal had come.
//!
//! sled answers a damaged tail by opening without it, and lost segments by opening empty (09-raft-evidence).
//! The watermark is what makes that visible: a journal found behind it has lost acknowledged records.
//! Two slots of 4 KiB are written in turn, so a torn write spoils one and leaves the one before.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use verger_agent_core::store::StoreError;
use verger_durable::settle_file;

use crate::{damage, not_durable};

const SLOT: u64 = 4096;
const MAGIC: &[u8; 8] = b"VERGERWM";
const USED: usize = 40;

/// Where a journal stood after an acknowledged commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Number of the commit.
    pub(crate) commit: u64,
    /// The journal's own ever-growing number: highest epoch, or next sequence.
    pub(crate) last: u64,
    /// Checksum of the journal's head record at that commit.
    pub(crate) head: u64,
}

impl Mark {
    fn encode(self) -> [u8; USED] {
        let mut slot = [0; USED];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..12].copy_from_slice(&1_u32.to_le_bytes());
        slot[12..20].copy_from_slice(&self.commit.to_le_bytes());
        slot[20..28].copy_from_slice(&self.last.to_le_bytes());
        slot[28..36].copy_from_slice(&self.head.to_le_bytes());
        let sum = crc32c::crc32c(&slot[..36]);
        slot[36..].copy_from_slice(&sum.to_le_bytes());
        slot
    }

    fn decode(slot: &[u8; USED]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
        let sum = u32::from_le_bytes(slot[36..].try_into().expect("four bytes"));
        let whole =
            &slot[..8] == MAGIC && slot[8..12] == 1_u32.to_le_bytes() && crc32c::crc32c(&slot[..36]) == sum;
        whole.then(|| Self {
            commit: number(12),
            last: number(20),
            head: number(28),
        })
    }
}

/// The open file.
pub(crate) struct Watermark {
    path: PathBuf,
    file: File,
    mark: Mark,
}

impl Watermark {
    /// Makes the file with mark zero in both slots, durable but for its directory entry.
    pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::io("create", path, source);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.set_len(2 * SLOT).map_err(failed)?;
        for slot in 0..2 {
            file.write_all_at(&Mark::default().encode(), slot * SLOT)
                .map_err(failed)?;
        }
        file.sync_all().map_err(failed)
    }

    /// Opens the file, settles it, and reads the newer of its whole slots.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::io("open", path, source);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        settle_file(&file, path).map_err(not_durable)?;
        let length = file.metadata().map_err(failed)?.len();
        if length != 2 * SLOT {
            return Err(damage(
                path,
                format!("it has {length} bytes instead of {}", 2 * SLOT),
            ));
        }
        let mut newest: Option<Mark> = None;
        for slot in 0..2 {
            let mut bytes = [0; USED];
            file.read_exact_at(&mut bytes, slot * SLOT).map_err(failed)?;
            newest = newest
                .into_iter()
                .chain(Mark::decode(&bytes))
                .max_by_key(|mark| mark.commit);
        }
        let mark = newest.ok_or_else(|| damage(path, "neither of its slots is whole".to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            mark,
        })
    }

    /// What it says.
    pub(crate) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Writes the next mark over the older slot; `sync` says how to wait for stable storage.
    pub(crate) fn advance(
        &mut self,
        mark: Mark,
        sync: impl Fn(&File) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::io("write", &self.path, source);
        self.file
            .write_all_at(&mark.encode(), (mark.commit % 2) * SLOT)
            .map_err(failed)?;
        sync(&self.file).map_err(failed)?;
        self.mark = mark;
        Ok(())
    }

    /// Makes every later write fail.
    #[cfg(test)]
    pub(crate) fn make_unwritable(&mut self) {
        self.file = File::open(&self.path).expect("it was just made");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        Watermark::create(&path).unwrap();
        (dir, path)
    }

    #[test]
    fn format_1_is_frozen() {
        let slot = Mark {
            commit: 2,
            last: 7,
            head: 0xAABB,
        }
        .encode();
        assert_eq!(
            slot,
            *b"VERGERWM\x01\0\0\0\x02\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\xBB\xAA\0\0\0\0\0\0\x13\xe1\xf4\xe7"
        );
        assert_eq!(
            Mark::decode(&slot),
            Some(Mark {
                commit: 2,
                last: 7,
                head: 0xAABB
            })
        );
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let (_dir, path) = made();
        let mut watermark = Watermark::open(&path).unwrap();
        for commit in 1..=4 {
            watermark
                .advance(
                    Mark {
                        commit,
                        last: commit,
                        head: 1,
                    },
                    File::sync_data,
                )
                .unwrap();
        }
        watermark.file.write_all_at(b"torn", 20).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().mark().commit, 3);
        watermark.file.write_all_at(b"torn", SLOT + 20).unwrap();
        assert!(matches!(Watermark::open(&path), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_shortened_file_is_damage() {
        let (_dir, path) = made();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(SLOT)
            .unwrap();
        assert!(matches!(Watermark::open(&path), Err(StoreError::Damaged { .. })));
    }
}
