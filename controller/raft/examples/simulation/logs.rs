//! What is in the logs on all disks, for whoever asks what may be there.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use verger_controller_store::{ExportSummary, LogCheck, LogDb, LogId, LogRecord, MemoryLog, StoreError};

use crate::invariants::log_matching::Entries;

/// The log on one disk.
#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    /// By index, with their terms.
    pub(crate) records: BTreeMap<u64, (u64, Bytes)>,
    /// Up to where it is purged.
    pub(crate) purged: u64,
}

impl OnDisk {
    /// Records that were applied, by index. None as long as the log ends before that: what is applied may not be on the disk yet; or it came
    /// with a snapshot, and what the log holds was never applied, and goes.
    pub(crate) fn applied(&self, indices: RangeInclusive<u64>) -> Option<Vec<(u64, (u64, Bytes))>> {
        let last = self.records.keys().next_back().copied();
        if last.unwrap_or(0).max(self.purged) < *indices.end() {
            return None;
        }
        let records = self.records.range(indices);
        Some(records.map(|(index, record)| (*index, record.clone())).collect())
    }

    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        self.records.get(&index).map(|(term, _)| *term)
    }
}

#[derive(Debug, Default)]
struct Held {
    disks: BTreeMap<u64, OnDisk>,
    entries: Entries,
}

/// Those of all members. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs(Arc<Mutex<Held>>);

impl Logs {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the log of a member.
    pub(crate) fn of<R>(&self, id: u64, look: impl FnOnce(&OnDisk) -> R) -> R {
        look(self.held().disks.entry(id).or_default())
    }

    /// Where two of them do not match.
    pub(crate) fn unmatched(&self) -> Option<String> {
        self.held().entries.found.clone()
    }

    /// Entries that ever were on a disk.
    pub(crate) fn count(&self) -> u64 {
        self.held().entries.count()
    }

    /// Puts itself before a log that was opened: it knows what is there already.
    pub(crate) fn before(&self, id: u64, log: MemoryLog) -> Recorded {
        let records = log.read_range(0..u64::MAX, usize::MAX).unwrap();
        let purged = log.last_purged().unwrap().map_or(0, |purged| purged.index);
        let on_disk = OnDisk {
            records: BTreeMap::new(),
            purged,
        };
        self.held().disks.insert(id, on_disk);
        let recorded = Recorded {
            logs: self.clone(),
            id,
            log,
        };
        recorded.takes(&records);
        recorded
    }
}

/// A log whose changes are noted once they are on the disk.
pub(crate) struct Recorded {
    logs: Logs,
    id: u64,
    log: MemoryLog,
}

impl Recorded {
    fn takes(&self, records: &[LogRecord]) {
        let mut held = self.logs.held();
        let Held { disks, entries } = &mut *held;
        let disk = disks.entry(self.id).or_default();
        for LogRecord { index, term, payload } in records {
            let after = index.checked_sub(1).and_then(|before| disk.term_of(before));
            entries.has(self.id, (*index, *term), payload, after);
            disk.records.insert(*index, (*term, payload.clone()));
        }
    }

    fn changes(&self, change: impl FnOnce(&mut OnDisk)) {
        change(self.logs.held().disks.entry(self.id).or_default());
    }
}

impl LogDb for Recorded {
    fn append(&self, entries: &[LogRecord]) -> Result<(), StoreError> {
        self.log.append(entries)?;
        self.takes(entries);
        Ok(())
    }

    fn read_range(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError> {
        self.log.read_range(range, max_bytes)
    }

    fn truncate_after(&self, keep: Option<u64>) -> Result<(), StoreError> {
        self.log.truncate_after(keep)?;
        let end = keep.map_or(0, |keep| keep + 1);
        self.changes(|disk| drop(disk.records.split_off(&end)));
        Ok(())
    }

    fn purge_to(&self, upto: LogId) -> Result<(), StoreError> {
        self.log.purge_to(upto)?;
        self.changes(|disk| {
            disk.records = disk.records.split_off(&(upto.index + 1));
            disk.purged = disk.purged.max(upto.index);
        });
        Ok(())
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StoreError> {
        self.log.save_vote(vote)
    }

    fn vote(&self) -> Result<Option<Bytes>, StoreError> {
        self.log.vote()
    }

    fn save_committed(&self, committed: &[u8]) -> Result<(), StoreError> {
        self.log.save_committed(committed)
    }

    fn committed(&self) -> Result<Option<Bytes>, StoreError> {
        self.log.committed()
    }

    fn last(&self) -> Result<Option<LogId>, StoreError> {
        self.log.last()
    }

    fn last_purged(&self) -> Result<Option<LogId>, StoreError> {
        self.log.last_purged()
    }

    fn check(&self) -> Result<LogCheck, StoreError> {
        self.log.check()
    }

    fn export(&self, out: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        self.log.export(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_holds_that_ends_before_what_was_applied_was_not() {
        let log = |purged, indices: std::ops::Range<u64>| OnDisk {
            records: indices.map(|index| (index, (1, Bytes::new()))).collect(),
            purged,
        };
        let applied = |log: OnDisk, indices: RangeInclusive<u64>| {
            let records = log.applied(indices)?;
            Some(records.into_iter().map(|(index, _)| index).collect::<Vec<_>>())
        };
        assert_eq!(applied(log(0, 1..9), 3..=5), Some(vec![3, 4, 5]));
        // Of a snapshot, before and after the log is made to begin behind it; and as the log goes on.
        assert_eq!(applied(log(0, 1..9), 3..=12), None);
        assert_eq!(applied(log(12, 13..13), 3..=12), Some(vec![]));
        assert_eq!(applied(log(12, 13..15), 3..=13), Some(vec![13]));
    }
}
