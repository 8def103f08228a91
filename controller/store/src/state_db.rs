//! The port to the materialised state: rows, and the log record they are the result of.

use bytes::Bytes;

use crate::StoreError;
use crate::log_db::LogId;

/// The largest value of a row, in bytes, its framing left out of the 256 KiB. Larger ones would go to
/// files of their own that the storage engine does not give back.
pub const MAX_ROW_BYTES: usize = (256 << 10) - 64;
/// The longest key, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 4 << 10;
/// The longest name of a tree, in bytes.
pub(crate) const MAX_TREE_BYTES: usize = 64;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The tree: one per purpose, 1 to 64 bytes.
    pub tree: String,
    /// The key, at most 4 KiB.
    pub key: Bytes,
    /// The value, at most [`MAX_ROW_BYTES`].
    pub value: Bytes,
}

/// One change: `Some` stores the value, `None` deletes the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOp {
    /// The tree.
    pub tree: String,
    /// The key.
    pub key: Bytes,
    /// The new value, or `None` to delete.
    pub value: Option<Bytes>,
}

/// The log record whose effect is the last one in the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMark {
    /// The record.
    pub last: LogId,
    /// The membership at that record, as the caller encoded it.
    pub membership: Bytes,
}

impl AppliedMark {
    /// Refuses a mark that does not lie behind the present one.
    pub(crate) fn follows(&self, present: Option<&Self>) -> Result<(), StoreError> {
        match present.filter(|present| present.last.index >= self.last.index) {
            None => Ok(()),
            Some(present) => Err(StoreError::Refused {
                what: format!(
                    "record {} is applied already: the state is at {}",
                    self.last.index, present.last.index
                ),
            }),
        }
    }
}

/// Stores the rows of the applied state.
///
/// Rebuildable: after a crash the rows may stand at an earlier mark, or at none, but never between two marks,
/// never before what [`flush`](Self::flush) or [`replace_all`](Self::replace_all) made durable, and never ahead of
/// what was applied. A caller whose mark lies before the log's beginning rebuilds from the last snapshot.
/// [`conformance::state`](crate::conformance::state) holds what every implementation keeps.
pub trait StateDb: Send + Sync {
    /// Applies changes and moves the mark, in one piece. The mark only moves forward. A later change to the
    /// same row wins. What is refused changes nothing.
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError>;

    /// Reads a row's value.
    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Visits the rows of a tree whose keys begin with `prefix`, by key, until the visitor answers `false`. A
    /// batch applied meanwhile may be seen in part.
    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError>;

    /// Gives the mark; `None` when there is no state yet, or it has to be rebuilt.
    fn applied(&self) -> Result<Option<AppliedMark>, StoreError>;

    /// Tells at which mark it is, and visits every row of the state as it is then: tree by tree, shorter names first, and by key in
    /// each, so that two members make the same snapshot of the same rows. Writers go on meanwhile, and nothing of
    /// theirs is seen; what they change is kept until it is visited, and they wait where that is too much.
    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// The same, for who needs the mark at the end only.
    fn visit_all(
        &self,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<Option<AppliedMark>, StoreError> {
        let mut at = None;
        let mut begin = |mark: Option<&AppliedMark>| {
            at = mark.cloned();
            Ok(())
        };
        self.visit_at(&mut begin, visit)?;
        Ok(at)
    }

    /// Replaces everything by a snapshot's rows, durable on return. The mark may go back here. After a crash in
    /// between, or a failed row, the state is empty and without a mark: the old rows do not come back.
    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError>;

    /// Makes everything applied so far durable. Only a planned stop needs it.
    fn flush(&self) -> Result<(), StoreError>;
}
