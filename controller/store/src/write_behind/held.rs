//! What is applied and not below yet: layers of rows, each with the mark it leads to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::StoreError;
use crate::row_key;
use crate::state_db::{AppliedMark, Row, RowOp};

/// Bytes of a layer, which is one batch of the state below. Not more: sled hands a batch to its threads in pieces, some three times as long as
/// its rows, and stands still where seven such pieces wait for each other.
const LAYER_BYTES: usize = 512 << 10;
/// Batches that go into a layer: after a crash no more of the log is applied again for a layer.
const LAYER_BATCHES: usize = 4_096;
/// Bytes of all layers; past it writers wait. With the batch that goes over it, and the layer that is being written, that is all the memory
/// there is. What it takes on a disk that fills is within what [`Space`](crate::Space) keeps back.
const HELD_BYTES: usize = 8 << 20;
/// What a row takes beside its key and value, about.
const ROW_BYTES: usize = 128;

/// A row's key, joined, and what becomes of it.
pub(super) type Change = (Vec<u8>, Option<Bytes>);

/// Changes by the row they are of, the last of each; and where they lead.
#[derive(Debug, Default)]
pub(super) struct Layer {
    rows: BTreeMap<Vec<u8>, Option<Bytes>>,
    mark: Option<AppliedMark>,
    batches: usize,
    bytes: usize,
}

impl Layer {
    fn put(&mut self, (key, value): Change) {
        self.bytes += size(&key, value.as_ref());
        let length = key.len();
        if let Some(before) = self.rows.insert(key, value) {
            self.bytes -= ROW_BYTES + length + before.map_or(0, |before| before.len());
        }
    }

    const fn is_full(&self) -> bool {
        self.bytes >= LAYER_BYTES || self.batches >= LAYER_BATCHES
    }

    /// As one batch, and its mark.
    pub(super) fn batch(&self) -> Option<(Vec<RowOp>, &AppliedMark)> {
        let op = |(full, value): (&Vec<u8>, &Option<Bytes>)| {
            let (tree, key) = split(full);
            RowOp {
                tree: tree.to_owned(),
                key: Bytes::copy_from_slice(key),
                value: value.clone(),
            }
        };
        Some((self.rows.iter().map(op).collect(), self.mark.as_ref()?))
    }
}

fn size(key: &[u8], value: Option<&Bytes>) -> usize {
    ROW_BYTES + key.len() + value.map_or(0, Bytes::len)
}

fn split(full: &[u8]) -> (&str, &[u8]) {
    row_key::split(full).expect("it was joined when it was applied")
}

/// The row of a change that puts one.
pub(super) fn row(full: &[u8], value: Bytes) -> Row {
    let (tree, key) = split(full);
    Row {
        tree: tree.to_owned(),
        key: Bytes::copy_from_slice(key),
        value,
    }
}

/// The changes of a batch, unless one is over a limit.
pub(super) fn changes(ops: &[RowOp]) -> Result<Vec<Change>, StoreError> {
    let change = |RowOp { tree, key, value }: &RowOp| {
        value.as_deref().map_or(Ok(()), row_key::limit_value)?;
        Ok((row_key::join(tree, key)?, value.clone()))
    };
    ops.iter().map(change).collect()
}

/// All that is not below yet.
#[derive(Debug)]
pub(super) struct Held {
    /// Full ones, the oldest first.
    full: VecDeque<Arc<Layer>>,
    /// Takes what comes.
    open: Layer,
    /// Of the full ones.
    bytes: usize,
    /// Full ones that there ever were.
    filled: u64,
    /// The last of all that is applied.
    pub(super) mark: Option<AppliedMark>,
}

impl Held {
    /// Nothing, over what stands at this mark.
    pub(super) fn over(mark: Option<AppliedMark>) -> Self {
        Self {
            full: VecDeque::new(),
            open: Layer::default(),
            bytes: 0,
            filled: 0,
            mark,
        }
    }

    /// Bytes that are held, about.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes + self.open.bytes
    }

    pub(super) const fn has_room(&self) -> bool {
        self.bytes() <= HELD_BYTES
    }

    /// Takes a batch, whole: a layer ends at a mark.
    pub(super) fn take(&mut self, changes: Vec<Change>, applied: &AppliedMark) {
        let more: usize = changes.iter().map(|(key, value)| size(key, value.as_ref())).sum();
        if self.open.bytes + more > LAYER_BYTES {
            self.fill();
        }
        changes.into_iter().for_each(|change| self.open.put(change));
        self.open.batches += 1;
        self.open.mark = Some(applied.clone());
        self.mark = Some(applied.clone());
        if self.open.is_full() {
            self.fill();
        }
    }

    /// Ends the layer that takes what comes, if anything came.
    pub(super) fn fill(&mut self) {
        if self.open.batches > 0 {
            let layer = std::mem::take(&mut self.open);
            self.bytes += layer.bytes;
            self.filled += 1;
            self.full.push_back(Arc::new(layer));
        }
    }

    /// The number of the last full layer.
    pub(super) const fn last(&self) -> u64 {
        self.filled
    }

    /// Whether the layers up to this number are below.
    pub(super) fn is_below(&self, last: u64) -> bool {
        self.filled - self.full.len() as u64 >= last
    }

    /// The next layer that goes below.
    pub(super) fn next(&self) -> Option<Arc<Layer>> {
        self.full.front().cloned()
    }

    /// Lets go of it: it is below.
    pub(super) fn let_go(&mut self) {
        if let Some(layer) = self.full.pop_front() {
            self.bytes -= layer.bytes;
        }
    }

    /// The newest first.
    fn layers(&self) -> impl DoubleEndedIterator<Item = &Layer> {
        self.full.iter().map(|layer| &**layer).chain([&self.open]).rev()
    }

    /// What became of a row; `None` where nothing here is about it.
    pub(super) fn find(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.layers().find_map(|layer| layer.rows.get(key).cloned())
    }

    /// What became of the rows whose joined keys begin so, by key.
    pub(super) fn within(&self, prefix: &[u8]) -> BTreeMap<Vec<u8>, Option<Bytes>> {
        let mut found = BTreeMap::new();
        for layer in self.layers().rev() {
            let from = layer.rows.range(prefix.to_vec()..);
            let inside = from.take_while(|(key, _)| key.starts_with(prefix));
            found.extend(inside.map(|(key, value)| (key.clone(), value.clone())));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance::state::mark;

    fn change(key: &str, value: Option<usize>) -> Change {
        let value = value.map(|length| Bytes::from(vec![7; length]));
        (row_key::join("t", key.as_bytes()).unwrap(), value)
    }

    /// The marks and numbers of rows of the layers, as they go below.
    fn batches(held: &mut Held) -> Vec<(u64, usize)> {
        let mut batches = Vec::new();
        while let Some(layer) = held.next() {
            let (ops, mark) = layer.batch().unwrap();
            batches.push((mark.last.index, ops.len()));
            held.let_go();
        }
        batches
    }

    #[test]
    fn a_row_that_is_changed_again_goes_below_once_and_counts_once() {
        let mut held = Held::over(None);
        for index in 1..=100 {
            held.take(vec![change("head", Some(8)), change("gone", None)], &mark(index));
        }
        assert_eq!(held.bytes(), 2 * (ROW_BYTES + 2 + 4) + 8);
        assert_eq!(held.find(&change("gone", None).0), Some(None));
        assert_eq!(held.find(&change("other", None).0), None);
        held.fill();
        assert_eq!(batches(&mut held), [(100, 2)]);
        assert_eq!((held.bytes(), held.mark), (0, Some(mark(100))));
    }

    #[test]
    fn a_layer_ends_at_a_mark_before_it_is_too_large() {
        let mut held = Held::over(None);
        let third = |index: u64| vec![change(&index.to_string(), Some(LAYER_BYTES / 3))];
        for index in 1..=5 {
            held.take(third(index), &mark(index));
        }
        // One that is too large by itself is one by itself.
        let large = (0..8).flat_map(|part| third(100 + part)).collect();
        held.take(large, &mark(6));
        held.take(third(7), &mark(7));
        assert_eq!(held.last(), 4);
        held.fill();
        held.fill();
        assert_eq!(batches(&mut held), [(2, 2), (4, 2), (5, 1), (6, 8), (7, 1)]);
    }

    #[test]
    fn a_layer_ends_after_so_many_batches_also_where_they_change_nothing() {
        let mut held = Held::over(None);
        for index in 1..=2 * LAYER_BATCHES as u64 + 1 {
            held.take(vec![], &mark(index));
        }
        let each = LAYER_BATCHES as u64;
        assert_eq!(batches(&mut held), [(each, 0), (2 * each, 0)]);
        assert!(held.is_below(2) && !held.is_below(3));
    }

    #[test]
    fn there_is_room_until_more_is_held_than_may_be() {
        let mut held = Held::over(None);
        let mut index = 0;
        while held.has_room() {
            index += 1;
            held.take(vec![change(&index.to_string(), Some(100_000))], &mark(index));
            assert!(held.bytes() <= HELD_BYTES + 100_000 + 200);
        }
        while !held.has_room() {
            held.let_go();
        }
        assert!(held.bytes() > HELD_BYTES - 2 * LAYER_BYTES);
    }
}
