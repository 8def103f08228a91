//! Which audit rows there are, and the chain over all there ever were.
//!
//! A row holds the head of the chain before it, so that the first row that is kept vouches for every row that was dropped:
//! whoever kept those can show them, and nobody can make them up. Signing heads is left to whoever holds keys.

use std::collections::VecDeque;

use jiff::Timestamp;
use verger_policy::digest::Digest;

/// Domain separation of the chain.
const PREFIX: &[u8] = b"verger/v1/audit\0";

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
        let mut chained = PREFIX.to_vec();
        chained.extend(self.head.head.as_bytes());
        chained.extend(mark.key());
        chained.extend(value);
        self.head.head = Digest::of(&chained);
        self.head.written = self.head.written.saturating_add(1);
        self.kept.push_back(mark);
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
