//! A durable counter beside the log: notices a log that is older than what was acknowledged.
//!
//! A storage engine whose newest commit is damaged falls back to the one before it, or cuts it off, and cannot
//! tell that from a commit cut short by a crash. After every commit, and before it is acknowledged, its
//! sequence number goes to one of two 4 KiB slots, in turn. A log behind its watermark is damage.
//!
//! An append does not wait for its watermark to reach the disk: the kernel brings it there within half a minute, whatever becomes of
//! the program. So the watermark that is read is the last one, unless the machine itself stopped; then it may be up to
//! [`LAG`] commits behind a log that is sound, and says nothing of damage to those.
//!
//! Slot: `"VGRM", version u8, crc u32, sequence u64`, the rest zero; crc over the sequence number. All of a slot that is not zero is in one
//! sector, so that no power cut tears it. The version says whose log it is.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::frame::{u32_at, u64_at};
use crate::{Remedy, StoreError};

const SLOT: usize = 4096;
const MAGIC: &[u8; 4] = b"VGRM";
/// After so many commits the watermark is synced.
pub(crate) const LAG: u64 = 256;

/// Whose commits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Of [`RedbLog`](crate::RedbLog).
    Redb,
    /// Of [`ChunkedLog`](crate::ChunkedLog). A program that does not know it refuses the file as a newer one's.
    RaftLog,
}

impl Engine {
    const fn version(self) -> u8 {
        match self {
            Self::Redb => 1,
            Self::RaftLog => 2,
        }
    }
}

/// The newest version there is.
const NEWEST: u8 = Engine::RaftLog.version();

/// The open watermark file.
#[derive(Debug)]
pub(crate) struct Watermark {
    path: PathBuf,
    file: File,
    engine: Engine,
    sequence: u64,
    /// The last that was synced.
    synced: u64,
}

impl Watermark {
    /// Makes a watermark file that says `sequence`, replacing what is there.
    pub(crate) fn create(path: &Path, engine: Engine, sequence: u64) -> Result<Self, StoreError> {
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
            engine,
            sequence,
            synced: 0,
        };
        mark.advance(sequence, true)?;
        Ok(mark)
    }

    /// Opens the file, settles it, and takes the newest slot that verifies.
    pub(crate) fn open(path: &Path, engine: Engine) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => damaged(path, "the watermark file is missing"),
                _ => StoreError::io(path, "open", error),
            })?;
        verger_durable::settle_file(&file, path)?;
        let mut newest = None;
        for slot in 0..2 {
            let mut bytes = [0; SLOT];
            match file.read_exact_at(&mut bytes, (slot * SLOT) as u64) {
                Ok(()) => newest = newest.max(decode(path, engine, &bytes)?),
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
            engine,
            sequence,
            synced: 0,
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
            .write_all_at(&encode(self.engine, sequence), slot)
            .and_then(|()| if sync { self.file.sync_data() } else { Ok(()) })
            .map_err(|error| StoreError::io(&self.path, "sync", error))?;
        self.sequence = sequence;
        if sync {
            self.synced = sequence;
        }
        Ok(())
    }

    /// Stores a sequence number, durable on return when it is to be `at_once`, or when many were not.
    pub(crate) fn follow(&mut self, sequence: u64, at_once: bool) -> Result<(), StoreError> {
        self.advance(sequence, at_once || sequence >= self.synced.saturating_add(LAG))
    }
}

impl Drop for Watermark {
    fn drop(&mut self) {
        if self.synced < self.sequence
            && let Err(error) = self.file.sync_data()
        {
            tracing::warn!(file = ?self.path, %error, "the watermark is synced by the kernel, some time later");
        }
    }
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::damaged(path, Remedy::RejoinUnderNewId, what)
}

fn encode(engine: Engine, sequence: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    let number = sequence.to_le_bytes();
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4] = engine.version();
    bytes[5..9].copy_from_slice(&crc32c::crc32c(&number).to_le_bytes());
    bytes[9..17].copy_from_slice(&number);
    bytes
}

/// Gives `None` for a slot that was never written or was torn; the other slot then decides.
fn decode(path: &Path, engine: Engine, bytes: &[u8; SLOT]) -> Result<Option<u64>, StoreError> {
    let sequence = u64_at(bytes, 9);
    if bytes[..4] != *MAGIC || u32_at(bytes, 5) != crc32c::crc32c(&sequence.to_le_bytes()) {
        return Ok(None);
    }
    match bytes[4] {
        version if version == engine.version() => Ok(Some(sequence)),
        found if found > NEWEST => Err(StoreError::Newer {
            file: path.to_owned(),
            found,
            supported: NEWEST,
        }),
        _ => Err(damaged(path, "the watermark file is of another kind of log")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bytes_of_a_slot_are_frozen() {
        let slot = encode(Engine::Redb, 0x0102_0304);
        assert_eq!(slot[..5], *b"VGRM\x01");
        assert_eq!(encode(Engine::RaftLog, 0x0102_0304)[..5], *b"VGRM\x02");
        assert_eq!(u32_at(&slot, 5), 0xF6AD_8AD0);
        assert_eq!(slot[9..17], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert!(slot[17..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_torn_newest_slot_gives_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.mark");
        let mut mark = Watermark::create(&path, Engine::Redb, 1).unwrap();
        mark.advance(2, true).unwrap();
        mark.advance(3, true).unwrap();
        drop(mark);
        assert_eq!(Watermark::open(&path, Engine::Redb).unwrap().sequence(), 3);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff], SLOT as u64 + 9).unwrap();
        assert_eq!(Watermark::open(&path, Engine::Redb).unwrap().sequence(), 2);
        file.write_all_at(&[0xff], 9).unwrap();
        assert!(Watermark::open(&path, Engine::Redb).unwrap_err().is_damage());
    }
    #[test]
    fn what_follows_is_synced_now_and_then_and_at_once_where_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut mark = Watermark::create(&dir.path().join("log.mark"), Engine::Redb, 1).unwrap();
        for sequence in 2..=LAG {
            mark.follow(sequence, false).unwrap();
            assert_eq!((mark.sequence, mark.synced), (sequence, 1));
        }
        mark.follow(LAG + 1, false).unwrap();
        assert_eq!(mark.synced, LAG + 1);
        mark.follow(LAG + 2, false).unwrap();
        mark.follow(LAG + 3, true).unwrap();
        assert_eq!((mark.sequence, mark.synced), (LAG + 3, LAG + 3));
    }

    #[test]
    fn the_watermark_of_another_kind_of_log_is_refused_and_a_newer_one_is_told_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.mark");
        drop(Watermark::create(&path, Engine::RaftLog, 3).unwrap());
        let error = Watermark::open(&path, Engine::Redb).unwrap_err();
        assert!(
            matches!(&error, StoreError::Damaged { what, .. } if what.contains("another kind")),
            "{error}"
        );
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[NEWEST + 1], SLOT as u64 + 4).unwrap();
        let error = Watermark::open(&path, Engine::RaftLog).unwrap_err();
        assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    }
}
