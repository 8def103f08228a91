//! The log on raft-log: chunks of a file that only grows, one sync per call.
//!
//! Layout of the directory: `log.chunks/` (raft-log's files; [`codec`] says what is in their records) and `log.mark`
//! ([`watermark`](crate::watermark)); and `log.redb`, which holds a sentence: a program that knows no other log than that on redb finds it,
//! and refuses the watermark beside it as a newer program's, where it would else take the member for one that was never founded. Crash order of a commit: its records, their sync, the watermark, then the answer.
//! What raft-log takes for granted of its files, [`survey`] makes sure of before it opens them; what it finds there it makes durable, and
//! reads from the disk, before any of it is believed ([`settle`](verger_durable::settle)).

mod codec;
mod engine;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod fuzz;
mod port;
mod survey;
mod walk;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter as _;

use self::codec::{Format, Notes};
use self::engine::{ChunkSize, damaged, fault};
use self::walk::Head;
use crate::containment::{contained, contained_open};
use crate::log_db::{Change, LogRecord};
use crate::patience::patiently;
use crate::watermark::{Engine, Watermark};
use crate::{Remedy, StoreError};

const CHUNKS: &str = "log.chunks";
const MARK_FILE: &str = "log.mark";
const NOTICE: &str = "log.redb";
const NOTICE_TEXT: &str =
    "The log of this member is in log.chunks, which this program does not know: run a newer one.\n";
/// How much a sweep reads at a time.
const SWEEP_BYTES: usize = 1 << 20;

type Raft = RaftLog<Format>;

/// The log of one member on raft-log. Open at most once per directory.
pub struct ChunkedLog {
    chunks: PathBuf,
    size: ChunkSize,
    /// Absent after a full disk, until a reopening succeeds.
    raft: RwLock<Option<Raft>>,
    commit: Mutex<Committer>,
    /// The head of the last commit.
    head: Mutex<Head>,
    /// Counts truncations and purges: an export that was made during one is none of one moment.
    rewrites: AtomicU64,
    latched: OnceLock<String>,
}

struct Committer {
    mark: Watermark,
    barrier: bool,
}

/// What raft-log says when a commit is on stable storage.
type Synced = Receiver<io::Result<()>>;

impl ChunkedLog {
    /// Makes an empty log in `dir`. Refused where a log exists: a member never starts empty over an old one.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        verger_durable::create_dir(dir)?;
        let chunks = dir.join(CHUNKS);
        for path in [&chunks, &dir.join(NOTICE)] {
            if path.exists() {
                return Err(StoreError::Refused {
                    what: format!("{path:?} exists: open it, or choose another directory"),
                });
            }
        }
        let draft = dir.join("log.chunks.new");
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(&draft, "remove", error));
            }
            _ => {}
        }
        verger_durable::create_dir(&draft)?;
        let notes = Notes {
            commit: 1,
            ..Notes::default()
        };
        let mut raft = engine::open(&draft, ChunkSize::default())?;
        raft.save_user_data(Some(notes.clone()))
            .and_then(|_| flush(&mut raft, true))
            .and_then(|synced| settled(&synced))
            .map_err(|error| fault(&draft, error))?;
        drop(raft);
        Watermark::create(&dir.join(MARK_FILE), Engine::RaftLog, notes.commit)?;
        verger_durable::rename(&draft, &chunks)?;
        Self::open(dir)
    }

    #[cfg(test)]
    fn create_in(dir: &Path, size: ChunkSize) -> Result<Self, StoreError> {
        drop(Self::create(dir)?);
        Self::open_in(dir, size)
    }

    /// Opens the log in `dir` and reads all of it. A missing, emptied, shortened or changed file is
    /// [`StoreError::Damaged`]; what a power cut left half written is cut off.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_in(dir, ChunkSize::default())
    }

    fn open_in(dir: &Path, size: ChunkSize) -> Result<Self, StoreError> {
        let chunks = dir.join(CHUNKS);
        let mut mark = Watermark::open(&dir.join(MARK_FILE), Engine::RaftLog)?;
        let notice = dir.join(NOTICE);
        if !notice.exists() {
            fs::write(&notice, NOTICE_TEXT).map_err(|error| StoreError::io(&notice, "write", error))?;
        }
        verger_durable::settle(&notice)?;
        verger_durable::sync_dir(dir)?;
        let acknowledged = mark.sequence();
        let (raft, head) = contained_open(&chunks, Remedy::RejoinUnderNewId, || {
            patiently(|| surveyed(&chunks, size, acknowledged, u64::MAX))
        })?;
        if head.commit > acknowledged {
            mark.advance(head.commit, true)?;
        }
        Ok(Self {
            chunks,
            size,
            raft: RwLock::new(Some(raft)),
            commit: Mutex::new(Committer { mark, barrier: true }),
            head: Mutex::new(head),
            rewrites: AtomicU64::new(0),
            latched: OnceLock::new(),
        })
    }

    /// Opens the log for the power-cut rig: its chunks are closed after so many records, and without its barrier nothing that it
    /// acknowledges is durable, which the rig must catch.
    #[cfg(feature = "rig")]
    pub fn open_for_rig(dir: &Path, barrier: bool, chunk_records: usize) -> Result<Self, StoreError> {
        let log = Self::open_in(dir, ChunkSize::of_records(chunk_records))?;
        log.committer().barrier = barrier;
        Ok(log)
    }

    /// Tells whether `dir` holds a log.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join(CHUNKS).exists()
    }

    /// Where the chunks are of the log in `dir`.
    pub(crate) fn chunks_of(dir: &Path) -> PathBuf {
        dir.join(CHUNKS)
    }

    fn committer(&self) -> MutexGuard<'_, Committer> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present_head(&self) -> Head {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuse_if_latched(&self) -> Result<(), StoreError> {
        match self.latched.get() {
            Some(cause) => Err(StoreError::Latched {
                file: self.chunks.clone(),
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Opens raft-log again, if a full disk closed it.
    fn reopen_if_closed(&self) -> Result<(), StoreError> {
        let closed = self.raft.read().unwrap_or_else(PoisonError::into_inner).is_none();
        if closed { self.reopen() } else { Ok(()) }
    }

    /// Replaces raft-log, which takes no more calls after a failed write, and cuts off what that left.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut slot = self.writing();
        let _ = contained(&self.chunks, Remedy::RejoinUnderNewId, || {
            // The lock on the folder goes with it.
            drop(slot.take());
            Ok(())
        });
        let present = self.present_head();
        let (raft, found) = contained_open(&self.chunks, Remedy::RejoinUnderNewId, || {
            surveyed(&self.chunks, self.size, present.commit, present.commit)
        })?;
        if found.bounds != present.bounds || found.notes.vote != present.notes.vote {
            return Err(damaged(
                &self.chunks,
                "it changed while it was closed after a full disk",
            ));
        }
        *slot = Some(raft);
        Ok(())
    }

    fn reading(&self) -> RwLockReadGuard<'_, Option<Raft>> {
        self.raft.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Option<Raft>> {
        self.raft.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits one change. `None` from `plan` means nothing to do. `write` gives raft-log the records, the last of which says
    /// which commit it is.
    fn change(
        &self,
        kind: Change,
        plan: impl FnOnce(&Head) -> Result<Option<Head>, StoreError>,
        write: impl FnOnce(&mut Raft, &Head) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let mut committer = self.committer();
        self.refuse_if_latched()?;
        self.reopen_if_closed()?;
        let before = self.present_head();
        let Some(mut after) = plan(&before)? else {
            return Ok(());
        };
        after.commit = before.commit + 1;
        let barrier = committer.barrier;
        let mut slot = self.writing();
        let raft = slot.as_mut().ok_or(StoreError::Closed)?;
        let begun = contained(&self.chunks, Remedy::RejoinUnderNewId, || {
            write(raft, &after)
                .and_then(|()| flush(raft, barrier))
                .map_err(|error| fault(&self.chunks, error))
        });
        // Records that are on their way are behind what the head says is there; what is being removed must not be missed.
        let held = match kind {
            Change::Append => {
                drop(slot);
                None
            }
            Change::Rewrite => Some(slot),
        };
        let synced = begun.and_then(|synced| settled(&synced).map_err(|error| fault(&self.chunks, error)));
        if let Err(error) = synced {
            drop(held);
            return Err(self.settle_failure(error));
        }
        // The log is on stable storage; the watermark follows by itself, and at once where much would hang on it.
        let marked = if barrier {
            committer.mark.follow(after.commit, kind == Change::Rewrite)
        } else {
            committer.mark.advance(after.commit, false)
        };
        if let Err(error) = marked {
            return Err(self.latch(error));
        }
        if kind == Change::Rewrite {
            self.rewrites.fetch_add(1, Ordering::AcqRel);
        }
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(())
    }

    /// A full disk closes raft-log until space returns; every other failed write is final.
    fn settle_failure(&self, error: StoreError) -> StoreError {
        if !matches!(error, StoreError::Full { .. }) {
            return self.latch(error);
        }
        if let Err(reopening) = self.reopen() {
            tracing::warn!(error = %reopening, "the log stays closed until there is space");
            if reopening.is_damage() {
                return self.latch(reopening);
            }
        }
        error
    }

    fn latch(&self, error: StoreError) -> StoreError {
        if self.latched.set(error.to_string()).is_ok() {
            tracing::error!(error = %error, "the log takes no more writes");
        }
        error
    }

    /// Reads at one moment.
    fn reader<T>(&self, read: impl FnOnce(&Raft, &Head) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.refuse_if_latched()?;
        self.reopen_if_closed()?;
        let raft = self.reading();
        let raft = raft.as_ref().ok_or(StoreError::Closed)?;
        let head = self.present_head();
        contained(&self.chunks, Remedy::RejoinUnderNewId, || read(raft, &head))
    }

    /// Reads consecutive records; `range` must lie within the bounds.
    fn records(
        &self,
        raft: &Raft,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        let mut rows = raft.read(range.start, range.end);
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for index in range {
            let lost = || damaged(&self.chunks, format!("record {index} is missing"));
            let (codec::Id(id), payload) = rows
                .next()
                .ok_or_else(lost)?
                .map_err(|error| fault(&self.chunks, error))?;
            if id.index != index {
                return Err(lost());
            }
            bytes = bytes.saturating_add(payload.bytes.len());
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(LogRecord {
                index,
                term: id.term,
                payload: payload.bytes,
            });
        }
        Ok(found)
    }

    fn sweep(
        &self,
        raft: &Raft,
        head: &Head,
        mut visit: impl FnMut(&LogRecord) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = head.bounds.indices();
        while !rest.is_empty() {
            let records = self.records(raft, rest.clone(), SWEEP_BYTES)?;
            rest.start += records.len() as u64;
            records.iter().try_for_each(&mut visit)?;
        }
        Ok(())
    }
}

/// Opens what the survey found to be sound.
fn surveyed(
    chunks: &Path,
    size: ChunkSize,
    acknowledged: u64,
    upto: u64,
) -> Result<(Raft, Head), StoreError> {
    let head = survey::survey(chunks, acknowledged, upto)?;
    let raft = engine::open(chunks, size)?;
    let ends = raft.log_state().last().map(|codec::Id(id)| id.index);
    if ends != head.bounds.last.or(head.bounds.purged).map(|id| id.index) {
        return Err(damaged(chunks, "it changed while it was opened"));
    }
    Ok((raft, head))
}

/// Hands what was appended to raft-log's thread.
fn flush(raft: &mut Raft, sync: bool) -> io::Result<Synced> {
    let (done, synced) = sync_channel(1);
    raft.flush(sync, Some(done))?;
    Ok(synced)
}

fn settled(synced: &Synced) -> io::Result<()> {
    synced
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("raft-log's thread has ended")))
}
