//! A log in memory that can forget what was not synced, for simulation and to test the tests.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::StoreError;
use crate::bounds::Bounds;
use crate::chunk_stream::{ChunkSink, StreamKind};
use crate::frame::encode_record;
use crate::log_db::{ExportSummary, LogCheck, LogDb, LogId, LogRecord};

/// The name errors give to a log that has no file.
const NO_FILE: &str = "memory";

#[derive(Debug, Clone, Default)]
struct Image {
    records: BTreeMap<u64, LogRecord>,
    bounds: Bounds,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
}

#[derive(Debug, Clone)]
enum Change {
    Append(Vec<LogRecord>),
    Truncate(Option<u64>),
    Purge(LogId),
    Vote(Bytes),
    Committed(Bytes),
}

impl Image {
    fn change(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Append(entries) => {
                self.bounds = self.bounds.after_append(entries)?;
                self.records
                    .extend(entries.iter().map(|entry| (entry.index, entry.clone())));
            }
            Change::Truncate(keep) => {
                if let Some(kept) = self.bounds.plan_truncate(*keep)? {
                    match kept {
                        Some(index) => drop(self.records.split_off(&(index + 1))),
                        None => self.records.clear(),
                    }
                    let last = self.records.last_key_value().map(|(_, record)| record.id());
                    self.bounds = self.bounds.after_truncate(last);
                }
            }
            Change::Purge(upto) => {
                if let Some(bounds) = self.bounds.after_purge(*upto) {
                    self.bounds = bounds;
                    self.records = self.records.split_off(&upto.index.saturating_add(1));
                }
            }
            Change::Vote(vote) => self.vote = Some(vote.clone()),
            Change::Committed(committed) => self.committed = Some(committed.clone()),
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Platters {
    cached: Image,
    stable: Image,
    unsynced: Vec<Change>,
    /// Syncs answer without syncing: the planted defect.
    lies: bool,
    syncs: u64,
}

impl Platters {
    fn sync(&mut self) {
        self.syncs += 1;
        if self.lies {
            return;
        }
        for change in std::mem::take(&mut self.unsynced) {
            self.stable
                .change(&change)
                .expect("what the cached image took, the stable one takes in the same order");
        }
    }
}

/// The disk under a [`MemoryLog`]: it outlives the log and a crash. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    platters: Arc<Mutex<Platters>>,
}

impl MemoryDisk {
    /// Makes an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: what was not synced is gone. Drop every [`MemoryLog`] and
    /// [`LogWriter`](crate::LogWriter) of the member, and open the log again.
    pub fn crash(&self) {
        let mut platters = self.platters();
        platters.unsynced.clear();
        platters.cached = platters.stable.clone();
    }

    /// Makes syncs answer at once and do nothing, from now on, or makes them honest again.
    pub fn lie_about_syncs(&self, lies: bool) {
        self.platters().lies = lies;
    }

    /// Gives how many syncs were asked for.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.platters().syncs
    }

    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.platters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of one simulated member.
#[derive(Debug)]
pub struct MemoryLog {
    disk: MemoryDisk,
}

impl MemoryLog {
    /// Opens the log on a disk.
    #[must_use]
    pub fn open(disk: &MemoryDisk) -> Self {
        Self { disk: disk.clone() }
    }

    fn change(&self, change: Change, sync: bool) -> Result<(), StoreError> {
        let mut platters = self.disk.platters();
        platters.cached.change(&change)?;
        platters.unsynced.push(change);
        if sync {
            platters.sync();
        }
        Ok(())
    }
}

impl LogDb for MemoryLog {
    fn append(&self, entries: &[LogRecord]) -> Result<(), StoreError> {
        self.change(Change::Append(entries.to_vec()), true)
    }

    fn read_range(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError> {
        let platters = self.disk.platters();
        let mut bytes = 0_usize;
        let mut found = Vec::new();
        for (_, record) in platters.cached.records.range(platters.cached.bounds.clip(&range)) {
            bytes = bytes.saturating_add(record.payload.len());
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(record.clone());
        }
        Ok(found)
    }

    fn truncate_after(&self, keep: Option<u64>) -> Result<(), StoreError> {
        self.change(Change::Truncate(keep), true)
    }

    fn purge_to(&self, upto: LogId) -> Result<(), StoreError> {
        self.change(Change::Purge(upto), true)
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StoreError> {
        self.change(Change::Vote(Bytes::copy_from_slice(vote)), true)
    }

    fn vote(&self) -> Result<Option<Bytes>, StoreError> {
        Ok(self.disk.platters().cached.vote.clone())
    }

    fn save_committed(&self, committed: &[u8]) -> Result<(), StoreError> {
        self.change(Change::Committed(Bytes::copy_from_slice(committed)), false)
    }

    fn committed(&self) -> Result<Option<Bytes>, StoreError> {
        Ok(self.disk.platters().cached.committed.clone())
    }

    fn last(&self) -> Result<Option<LogId>, StoreError> {
        Ok(self.disk.platters().cached.bounds.last)
    }

    fn last_purged(&self) -> Result<Option<LogId>, StoreError> {
        Ok(self.disk.platters().cached.bounds.purged)
    }

    fn check(&self) -> Result<LogCheck, StoreError> {
        let platters = self.disk.platters();
        let Image { records, bounds, .. } = &platters.cached;
        if !records.keys().copied().eq(bounds.indices()) {
            return Err(StoreError::damaged(
                Path::new(NO_FILE),
                crate::Remedy::RejoinUnderNewId,
                "its records do not fill its bounds",
            ));
        }
        Ok(LogCheck {
            records: records.len() as u64,
            payload_bytes: records.values().map(|record| record.payload.len() as u64).sum(),
            first: records.first_key_value().map(|(_, record)| record.id()),
            last: records.last_key_value().map(|(_, record)| record.id()),
            last_purged: bounds.purged,
        })
    }

    fn export(&self, out: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        let records: Vec<_> = self.disk.platters().cached.records.values().cloned().collect();
        let mut sink = ChunkSink::begin(out, Path::new(NO_FILE), StreamKind::Log, &[])?;
        for record in &records {
            sink.chunk(&encode_record(record))?;
        }
        let (records, sha256) = sink.finish()?;
        Ok(ExportSummary { records, sha256 })
    }
}
