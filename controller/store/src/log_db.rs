//! The port to the Raft log: ordered records, the vote, and what has been purged.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;

use crate::StoreError;

/// The largest payload of one record, in bytes. A proposer packs up to 256 KiB; the rest is head room.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Where a record stands: its index, and the term of the leader that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    /// The position in the log.
    pub index: u64,
    /// The leader's term.
    pub term: u64,
}

/// One entry of the log, its payload opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The position in the log.
    pub index: u64,
    /// The leader's term.
    pub term: u64,
    /// What the caller encoded.
    pub payload: Bytes,
}

impl LogRecord {
    /// Gives where the record stands.
    #[must_use]
    pub fn id(&self) -> LogId {
        LogId {
            index: self.index,
            term: self.term,
        }
    }
}

/// What a full reading of the log found to be sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCheck {
    /// Records read and verified.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// The first record.
    pub first: Option<LogId>,
    /// The last record.
    pub last: Option<LogId>,
    /// Up to where the log was purged.
    pub last_purged: Option<LogId>,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSummary {
    /// Records written.
    pub records: u64,
    /// SHA-256 of everything before the trailer; also the file's own trailer.
    pub sha256: [u8; 32],
}

/// What a writing call does to what is there, to an implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Adds records behind the last.
    Append,
    /// Removes records, or changes what is kept beside them. Seldom.
    Rewrite,
}

/// Stores the Raft log and vote.
///
/// Every writing call is ordered after the one before it and durable when it returns, except
/// [`save_committed`](Self::save_committed). After a failed sync every later call answers
/// [`StoreError::Latched`]. Calls block on the disk: from async code go through
/// [`LogWriter`](crate::LogWriter). [`conformance::log`](crate::conformance::log) holds what every implementation keeps.
pub trait LogDb: Send + Sync {
    /// Appends records in one sync. They must follow the last record (or the purged mark) without a gap; a
    /// log that never held anything starts at any index. All or nothing.
    fn append(&self, entries: &[LogRecord]) -> Result<(), StoreError>;

    /// Reads consecutive records of `range` that exist, stopping before `max_bytes` of payload are exceeded
    /// but never before the first record.
    fn read_range(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError>;

    /// Removes the records after index `keep`, or all with `None`. Nothing purged can be kept.
    fn truncate_after(&self, keep: Option<u64>) -> Result<(), StoreError>;

    /// Removes the records up to and including `upto`, which may lie behind the last record (after a
    /// snapshot from a peer). Never before the snapshot that covers them is durable: see
    /// [`DurableSnapshot::covers`](crate::DurableSnapshot::covers). An older mark than the present one
    /// changes nothing.
    fn purge_to(&self, upto: LogId) -> Result<(), StoreError>;

    /// Stores the vote, durable on return.
    fn save_vote(&self, vote: &[u8]) -> Result<(), StoreError>;

    /// Reads the vote.
    fn vote(&self) -> Result<Option<Bytes>, StoreError>;

    /// Stores a hint of what is committed. It may be lost in a crash, never torn.
    fn save_committed(&self, committed: &[u8]) -> Result<(), StoreError>;

    /// Reads the hint of what is committed.
    fn committed(&self) -> Result<Option<Bytes>, StoreError>;

    /// Gives the last record, if any is left.
    fn last(&self) -> Result<Option<LogId>, StoreError>;

    /// Gives up to where the log was purged.
    fn last_purged(&self) -> Result<Option<LogId>, StoreError>;

    /// Reads everything and verifies every checksum and that no index is missing.
    fn check(&self) -> Result<LogCheck, StoreError>;

    /// Writes the log, oldest first, as a checksummed stream with a SHA-256 trailer. The bounds are those of
    /// one moment; records are read a few at a time.
    fn export(&self, out: &mut dyn Write) -> Result<ExportSummary, StoreError>;
}
