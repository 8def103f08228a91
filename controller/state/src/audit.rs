//! Which audit rows there are, and the chain over all there ever were.
//!
//! A row holds the head of the chain before it, so that the first row that is kept vouches for every row that was dropped:
//! whoever kept those can show them, and nobody can make them up. Signing heads is left to whoever holds keys.

use std::collections::VecDeque;
use std::ops::Range;

use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_seal::ChainHead;

/// Where a row is, and when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AuditMark {
    pub(crate) revision: u64,
    pub(crate) ordinal: u32,
    pub(crate) at: Timestamp,
}

impl AuditMark {
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = self.revision.to_be_bytes().to_vec();
        key.extend(self.ordinal.to_be_bytes());
        key
    }
}

/// How a command ended, for its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// `ok`, or a stable word.
    pub(crate) outcome: String,
    /// The root of the policy set before, where it was changed; else the digest of the record that the command was about, if
    /// that changed and was there.
    pub(crate) before: Option<Digest>,
    /// The same, after.
    pub(crate) after: Option<Digest>,
}

/// A row that is kept: its number, 1 for the first that ever was, and the key of the store's row with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlace {
    /// Its number.
    pub number: u64,
    /// In the log.
    pub revision: u64,
    /// In the tree of the audit.
    pub key: Vec<u8>,
}

/// Where the audit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Rows ever written.
    pub written: u64,
    /// The oldest of them, which are dropped.
    pub dropped: u64,
    /// Digest over all that were written: of the head before, the last row's key and its value.
    pub head: Digest,
}

impl AuditHead {
    /// As it is kept elsewhere.
    pub const fn chain(&self) -> ChainHead {
        ChainHead {
            count: self.written,
            digest: self.head,
        }
    }
}

/// The audit, without the content of its rows, which is on disk only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Oldest first.
    pub(crate) kept: VecDeque<AuditMark>,
    pub(crate) head: AuditHead,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            head: AuditHead {
                written: 0,
                dropped: 0,
                head: Digest::from_bytes([0; 32]),
            },
        }
    }
}

impl Audit {
    /// Takes in a row that was written.
    pub(crate) fn append(&mut self, mark: AuditMark, value: &[u8]) {
        let ChainHead { count, digest } = self.head.chain().then(&mark.key(), value);
        self.head.head = digest;
        self.head.written = count;
        self.kept.push_back(mark);
    }

    /// Those of the rows with these numbers that are kept, in order.
    pub(crate) fn places(&self, numbers: Range<u64>) -> impl DoubleEndedIterator<Item = AuditPlace> {
        let first = self.head.dropped.saturating_add(1);
        let place = |number: u64| usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        let most = self.kept.len();
        let (start, end) = (place(numbers.start).min(most), place(numbers.end).min(most));
        let kept = self.kept.range(start..end.max(start));
        kept.enumerate().map(move |(place, mark)| AuditPlace {
            number: first.saturating_add((start + place) as u64),
            revision: mark.revision,
            key: mark.key(),
        })
    }

    /// The numbers of the rows that were written from `since` on and before `until`.
    pub(crate) fn numbers(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Range<u64> {
        let first = self.head.dropped.saturating_add(1);
        // Time never goes back.
        let before = |at: Timestamp| self.kept.partition_point(|mark| mark.at < at) as u64;
        let start = first.saturating_add(since.map_or(0, before));
        let end = first.saturating_add(until.map_or(self.kept.len() as u64, before));
        start..end.max(start)
    }

    /// Drops the oldest row, where there are more than `most` or it is from before `horizon`.
    pub(crate) fn drop_oldest(&mut self, most: usize, horizon: Timestamp) -> Option<AuditMark> {
        let oldest = *self.kept.front()?;
        if self.kept.len() <= most && oldest.at >= horizon {
            return None;
        }
        self.kept.pop_front();
        self.head.dropped = self.head.dropped.saturating_add(1);
        Some(oldest)
    }
}
