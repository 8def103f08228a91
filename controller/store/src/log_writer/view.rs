//! The log as it reads once everything submitted is done: what the database has, and what is on its way.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::StoreError;
use crate::bounds::Bounds;
use crate::log_db::{LogDb, LogId, LogRecord};

/// The present view. Records on their way carry the ticket of the batch that brings them.
pub(super) struct View {
    pub(super) bounds: Bounds,
    pending: BTreeMap<u64, (u64, LogRecord)>,
    /// Counts truncations, purges and failures: a read that raced with one is done again.
    pub(super) rewrites: u64,
    /// Counts failures: a batch submitted before one may not be written after it.
    pub(super) generation: u64,
}

impl View {
    pub(super) fn of(db: &dyn LogDb) -> Result<Self, StoreError> {
        Ok(Self {
            bounds: stored_bounds(db)?,
            pending: BTreeMap::new(),
            rewrites: 0,
            generation: 0,
        })
    }

    pub(super) fn append(&mut self, ticket: u64, entries: &[LogRecord]) -> Result<(), StoreError> {
        self.bounds = self.bounds.after_append(entries)?;
        self.pending
            .extend(entries.iter().map(|entry| (entry.index, (ticket, entry.clone()))));
        Ok(())
    }

    /// Cuts the view; the kept record's term comes from `stored` unless it is on its way.
    pub(super) fn truncate(
        &mut self,
        keep: Option<u64>,
        stored: impl FnOnce(u64) -> Result<Option<LogId>, StoreError>,
    ) -> Result<(), StoreError> {
        let Some(kept) = self.bounds.plan_truncate(keep)? else {
            return Ok(());
        };
        let kept = match kept {
            Some(index) => match self.pending.get(&index) {
                Some((_, record)) => Some(record.id()),
                None => stored(index)?,
            },
            None => None,
        };
        self.bounds = self.bounds.after_truncate(kept);
        drop(self.pending.split_off(&kept.map_or(0, |kept| kept.index + 1)));
        self.rewrites += 1;
        Ok(())
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        if let Some(bounds) = self.bounds.after_purge(upto) {
            self.bounds = bounds;
            self.pending = self.pending.split_off(&upto.index.saturating_add(1));
            self.rewrites += 1;
        }
    }

    /// Up to which index every record is stored: before the first that is on its way.
    pub(super) fn stored(&self) -> Option<u64> {
        match self.pending.first_key_value() {
            Some((index, _)) => index.checked_sub(1),
            None => self.bounds.last.or(self.bounds.purged).map(|last| last.index),
        }
    }

    /// Forgets the records that a batch has made durable; a later batch's stay.
    pub(super) fn settle(&mut self, ticket: u64, indices: Range<u64>) {
        for index in indices {
            if self
                .pending
                .get(&index)
                .is_some_and(|(bringer, _)| *bringer == ticket)
            {
                self.pending.remove(&index);
            }
        }
    }

    /// Goes back to what is stored, after a failure. Says whether that could be read.
    pub(super) fn reset(&mut self, db: &dyn LogDb) -> bool {
        self.pending.clear();
        self.rewrites += 1;
        self.generation += 1;
        match stored_bounds(db) {
            Ok(bounds) => {
                self.bounds = bounds;
                true
            }
            Err(_) => false,
        }
    }

    /// Gives the part of `range` to read from the database, and what is on its way behind it.
    pub(super) fn split(&self, range: &Range<u64>) -> (Range<u64>, Vec<LogRecord>) {
        let range = self.bounds.clip(range);
        let border = self
            .pending
            .range(range.clone())
            .next()
            .map_or(range.end, |(index, _)| *index);
        let pending = self
            .pending
            .range(border..range.end)
            .map(|(_, (_, record))| record.clone())
            .collect();
        (range.start..border, pending)
    }
}

fn stored_bounds(db: &dyn LogDb) -> Result<Bounds, StoreError> {
    let last = db.last()?;
    let first = match last {
        Some(_) => db
            .read_range(0..u64::MAX, 0)?
            .first()
            .map_or(0, |record| record.index),
        None => 0,
    };
    Ok(Bounds {
        first,
        last,
        purged: db.last_purged()?,
    })
}
