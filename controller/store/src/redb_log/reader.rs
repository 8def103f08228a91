//! Reads one moment of the log file, and trusts nothing of it.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTableMetadata};

use super::engine::{META, RECORDS, damaged, fault};
use super::head::Head;
use crate::bounds::Bounds;
use crate::frame::{decode_record, decode_tagged};
use crate::log_db::{LogCheck, LogRecord};
use crate::{Remedy, StoreError};

/// How much a sweep reads at a time.
const SWEEP_BYTES: usize = 1 << 20;

/// One consistent view of the file.
pub(super) struct Reader<'a> {
    path: &'a Path,
    txn: ReadTransaction,
}

impl<'a> Reader<'a> {
    pub(super) fn begin(path: &'a Path, database: &Database) -> Result<Self, StoreError> {
        let txn = database.begin_read().map_err(|error| fault(path, error.into()))?;
        Ok(Self { path, txn })
    }

    pub(super) fn meta(&self, key: &str) -> Result<Option<(u32, Bytes)>, StoreError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            Ok(self
                .txn
                .open_table(META)?
                .get(key)?
                .map(|row| row.value().to_vec()))
        };
        let Some(bytes) = read().map_err(|error| fault(self.path, error))? else {
            return Ok(None);
        };
        let (crc, payload) = decode_tagged(key.as_bytes(), &bytes).map_err(|invalid| {
            invalid.in_file(self.path, Remedy::RejoinUnderNewId, &format!("the {key} row"))
        })?;
        Ok(Some((crc, Bytes::copy_from_slice(payload))))
    }

    pub(super) fn head(&self) -> Result<Head, StoreError> {
        let (_, payload) = self
            .meta("head")?
            .ok_or_else(|| damaged(self.path, "the head row is missing"))?;
        Head::decode(&payload).ok_or_else(|| damaged(self.path, "the head row does not decode"))
    }

    pub(super) fn vote(&self, head: &Head) -> Result<Option<Bytes>, StoreError> {
        match (head.vote_crc, self.meta("vote")?) {
            (None, None) => Ok(None),
            (Some(expected), Some((found, vote))) if expected == found => Ok(Some(vote)),
            _ => Err(damaged(self.path, "the vote is not the one that was stored last")),
        }
    }

    /// Reads consecutive records; `range` must lie within the bounds.
    pub(super) fn records(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError> {
        let lost = |index| damaged(self.path, &format!("record {index} is missing"));
        let table = self
            .txn
            .open_table(RECORDS)
            .map_err(|error| fault(self.path, error.into()))?;
        let mut rows = table
            .range(range.clone())
            .map_err(|error| fault(self.path, error.into()))?;
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for index in range {
            let row = rows.next().ok_or_else(|| lost(index))?;
            let (key, value) = row.map_err(|error| fault(self.path, error.into()))?;
            if key.value() != index {
                return Err(lost(index));
            }
            let record = decode_record(value.value()).map_err(|invalid| {
                invalid.in_file(self.path, Remedy::RejoinUnderNewId, &format!("record {index}"))
            })?;
            if record.index != index {
                return Err(damaged(
                    self.path,
                    &format!("record {index} says it is record {}", record.index),
                ));
            }
            bytes = bytes.saturating_add(record.payload.len());
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(record);
        }
        Ok(found)
    }

    pub(super) fn sweep(
        &self,
        bounds: &Bounds,
        mut visit: impl FnMut(&LogRecord) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = bounds.indices();
        while !rest.is_empty() {
            let records = self.records(rest.clone(), SWEEP_BYTES)?;
            rest.start += records.len() as u64;
            records.iter().try_for_each(&mut visit)?;
        }
        Ok(())
    }

    pub(super) fn check(&self, head: &Head) -> Result<LogCheck, StoreError> {
        let bounds = head.bounds;
        let mut check = LogCheck {
            records: 0,
            payload_bytes: 0,
            first: None,
            last: None,
            last_purged: bounds.purged,
        };
        self.sweep(&bounds, |record| {
            check.records += 1;
            check.payload_bytes += record.payload.len() as u64;
            check.first.get_or_insert(record.id());
            check.last = Some(record.id());
            Ok(())
        })?;
        if check.last != bounds.last {
            return Err(damaged(
                self.path,
                "the last record is not the one the head row names",
            ));
        }
        let rows = || -> Result<u64, redb::Error> { Ok(self.txn.open_table(RECORDS)?.len()?) };
        if rows().map_err(|error| fault(self.path, error))? != check.records {
            return Err(damaged(self.path, "it holds records outside of its bounds"));
        }
        self.vote(head)?;
        self.meta("committed")?;
        Ok(check)
    }
}
