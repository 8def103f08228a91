//! A life of rows that is told by the numbers of its records, and the rows it comes to: what a reader can expect
//! without having seen the writer.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{delete, put};
use crate::log_db::LogId;
use crate::state_db::{AppliedMark, Row, RowOp};

/// Rows of the growing tree that are kept.
const KEPT: u64 = 40;

/// The mark of record `index`.
#[must_use]
pub fn mark(index: u64) -> AppliedMark {
    AppliedMark {
        last: LogId {
            index,
            term: 1 + index / 1000,
        },
        membership: Bytes::from(format!("members at {index}")),
    }
}

/// The changes of record `index`, which is 1 or more: rows that are overwritten, rows that come and go, and a row
/// that is changed twice.
#[must_use]
pub fn changes(index: u64) -> Vec<RowOp> {
    let mut ops = vec![
        put("hosts", name(index % 31), value(index, 1)),
        put("policies", name(index % 17), value(index, 2)),
        put("audit", name(index), value(index, 3)),
    ];
    if index > KEPT {
        ops.push(delete("audit", name(index - KEPT)));
    }
    if index.is_multiple_of(3) {
        ops.push(delete("hosts", name(index * 7 % 31)));
    }
    if index.is_multiple_of(5) {
        ops.push(put("policies", name(index % 17), value(index, 4)));
    }
    ops
}

fn name(number: u64) -> String {
    format!("{number:08}")
}

/// 16 to 300 bytes, and 4 KiB more for each sixteenth record.
fn value(index: u64, part: u64) -> Vec<u8> {
    let mut state = (index << 8 | part).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let large = if index.is_multiple_of(16) { 4096 } else { 0 };
    let length = 16 + (state >> 40) % 284 + large;
    let bytes = (0..length).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.collect()
}

/// The rows at one mark, as they should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// By tree and key.
    rows: BTreeMap<(String, Bytes), Bytes>,
}

impl Image {
    /// The rows after the records 1 to `index`.
    #[must_use]
    pub fn at(index: u64) -> Self {
        let mut image = Self::default();
        (1..=index).for_each(|index| image.apply(&changes(index)));
        image
    }

    /// These rows.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let pairs = rows
            .iter()
            .map(|Row { tree, key, value }| ((tree.clone(), key.clone()), value.clone()));
        Self {
            rows: pairs.collect(),
        }
    }

    /// Applies changes, one after another.
    pub fn apply(&mut self, ops: &[RowOp]) {
        for RowOp { tree, key, value } in ops {
            let place = (tree.clone(), key.clone());
            match value {
                Some(value) => self.rows.insert(place, value.clone()),
                None => self.rows.remove(&place),
            };
        }
    }

    /// The rows, in the order of [`visit_all`](crate::StateDb::visit_all).
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let rows = self.rows.iter().map(|((tree, key), value)| Row {
            tree: tree.clone(),
            key: key.clone(),
            value: value.clone(),
        });
        let mut rows: Vec<_> = rows.collect();
        // Stable: names of one length stay in their order.
        rows.sort_by_key(|row| row.tree.len());
        rows
    }

    /// Names the first row that differs from what is wanted; `None` when none does.
    #[must_use]
    pub fn difference(&self, want: &Self) -> Option<String> {
        let told = |(tree, key): &(String, Bytes), what: &str| {
            format!("row {} of {tree:?} {what}", key.escape_ascii())
        };
        let wrong = want
            .rows
            .iter()
            .find_map(|(place, value)| match self.rows.get(place) {
                None => Some(told(place, "is missing")),
                Some(found) if found != value => Some(told(place, "has another value")),
                Some(_) => None,
            });
        let extra = || self.rows.keys().find(|place| !want.rows.contains_key(*place));
        wrong.or_else(|| extra().map(|place| told(place, "should not be there")))
    }
}
