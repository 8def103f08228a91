//! Rows of which one is not found again: a disk lost it, and says nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use verger_controller_store::{AppliedMark, Row, RowOp, StateDb, StoreError};

/// Rows without this one.
pub(crate) struct Lossy {
    pub(crate) rows: Arc<dyn StateDb>,
    pub(crate) tree: &'static str,
    pub(crate) key: &'static [u8],
    pub(crate) switches: Arc<Switches>,
}

/// What a test has happen to rows.
#[derive(Default)]
pub(crate) struct Switches {
    /// Whether nothing can be written any more: what a thread found that writes behind the answers.
    pub(crate) has_failed: AtomicBool,
    /// Held for as long as a snapshot takes their place, as it were: where they stand is not told meanwhile.
    pub(crate) replacing: Mutex<()>,
}

impl Lossy {
    fn is_lost(&self, tree: &str, key: &[u8]) -> bool {
        (tree, key) == (self.tree, self.key)
    }
}

impl StateDb for Lossy {
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError> {
        self.rows.apply_batch(ops, applied)
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.rows.get(tree, key)?;
        Ok(value.filter(|_| !self.is_lost(tree, key)))
    }

    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.rows.scan_prefix(tree, prefix, visit)
    }

    fn applied(&self) -> Result<Option<AppliedMark>, StoreError> {
        let _held = self.switches.replacing.lock().unwrap();
        match self.switches.has_failed.load(Ordering::Relaxed) {
            true => Err(StoreError::Closed),
            false => self.rows.applied(),
        }
    }

    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.rows
            .visit_at(begin, &mut |row| match self.is_lost(&row.tree, &row.key) {
                true => Ok(()),
                false => visit(row),
            })
    }

    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        self.rows.replace_all(rows, applied)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.rows.flush()
    }
}
