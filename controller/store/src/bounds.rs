//! Where a log begins and ends, and what may be done to it: pure rules shared by every implementation.

use std::ops::Range;

use crate::StoreError;
use crate::log_db::{LogId, LogRecord, MAX_PAYLOAD_BYTES};

/// The ends of a log. `first` means something only while `last` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    pub(crate) first: u64,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
}

impl Bounds {
    /// Gives the indices that exist.
    pub(crate) fn indices(&self) -> Range<u64> {
        match self.last {
            Some(last) => self.first..last.index + 1,
            None => 0..0,
        }
    }

    /// Cuts a wish down to what exists.
    pub(crate) fn clip(&self, wish: &Range<u64>) -> Range<u64> {
        let have = self.indices();
        let start = wish.start.max(have.start);
        start..wish.end.min(have.end).max(start)
    }

    /// Gives the bounds after an append, or refuses it.
    pub(crate) fn after_append(&self, entries: &[LogRecord]) -> Result<Self, StoreError> {
        let mut next = *self;
        for entry in entries {
            if entry.payload.len() > MAX_PAYLOAD_BYTES {
                let size = entry.payload.len();
                return Err(StoreError::TooLarge {
                    what: "a log record",
                    size,
                    limit: MAX_PAYLOAD_BYTES,
                });
            }
            if entry.index == u64::MAX {
                return Err(StoreError::Refused {
                    what: "no record can follow index 18446744073709551615".into(),
                });
            }
            let expected = match next.last.or(next.purged) {
                Some(before) => before.index.saturating_add(1),
                None => entry.index,
            };
            if entry.index != expected {
                return Err(StoreError::OutOfOrder {
                    expected,
                    found: entry.index,
                });
            }
            if next.last.is_none() {
                next.first = entry.index;
            }
            next.last = Some(entry.id());
        }
        Ok(next)
    }

    /// Gives the bounds after a truncation behind `keep`; `None` when there is nothing to do. `read` gives the record of an index.
    pub(crate) fn truncated(
        &self,
        keep: Option<u64>,
        read: impl FnOnce(u64) -> Result<Option<LogRecord>, StoreError>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(kept) = self.plan_truncate(keep)? else {
            return Ok(None);
        };
        let kept = match kept {
            Some(index) => read(index)?.map(|record| record.id()),
            None => None,
        };
        Ok(Some(self.after_truncate(kept)))
    }

    /// Tells which record stays the last: `Some(None)` none, `None` nothing to do.
    pub(crate) fn plan_truncate(&self, keep: Option<u64>) -> Result<Option<Option<u64>>, StoreError> {
        let Some(last) = self.last else { return Ok(None) };
        match keep {
            Some(keep) if keep >= last.index => Ok(None),
            Some(keep) if keep >= self.first => Ok(Some(Some(keep))),
            Some(keep) if self.purged.is_some_and(|purged| keep < purged.index) => Err(StoreError::Refused {
                what: format!(
                    "the log cannot be cut back to {keep}: it starts at {}",
                    self.first
                ),
            }),
            _ => Ok(Some(None)),
        }
    }

    /// Gives the bounds after a truncation that leaves `kept` as the last record.
    pub(crate) fn after_truncate(&self, kept: Option<LogId>) -> Self {
        Self { last: kept, ..*self }
    }

    /// Gives the bounds after a purge; `None` when there is nothing to do.
    pub(crate) fn after_purge(&self, upto: LogId) -> Option<Self> {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return None;
        }
        let last = self.last.filter(|last| last.index > upto.index);
        // The first record of a log that never was purged may lie behind the mark.
        let first = self.first.max(upto.index.saturating_add(1));
        Some(Self {
            first,
            last,
            purged: Some(upto),
        })
    }
}
