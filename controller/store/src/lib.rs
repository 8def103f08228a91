//! Keeps what a controller member must not lose: the Raft log and vote, the applied state, snapshot files.
//!
//! The crate knows bytes, indices and terms; neither openraft nor a domain type is named here, and none of
//! raft-log, redb and sled leaves it. Three ports stand side by side:
//!
//! - [`LogDb`]: log, vote and committed mark. [`RedbLog`] and [`ChunkedLog`] on disk, [`MemoryLog`] for simulation.
//!   [`open_log`] takes a member's, of whichever kind it is. [`LogWriter`] puts a thread in front: one batch, one sync, then callbacks.
//! - [`StateDb`]: the rows of the applied state, rebuildable from the last snapshot and the log.
//!   [`SledState`] on disk, [`MemoryState`] for simulation. [`WriteBehind`] puts memory and a thread in front: answers
//!   wait for no disk.
//! - [`SnapshotDir`]: snapshot files. The log is purged only up to a [`DurableSnapshot`].
//!
//! [`Space`] watches how much of the disk is left, and keeps some of it back.
//!
//! One [`conformance`] suite per port runs over all of its implementations.
//!
//! What is there when one of them is opened is made durable, and read from the disk, before it is believed: what a process wrote that was
//! ended before its sync may be in memory alone (`verger_durable::settle`).
//!
//! Every stored form carries a format version and a CRC32C; damage is a typed [`StoreError`] that names the
//! file and the remedy, never an empty start.

mod bounds;
mod chunk_stream;
mod chunked_log;
pub mod conformance;
mod containment;
mod error;
mod frame;
#[cfg(test)]
mod fuzz;
mod log_db;
mod log_writer;
mod member_log;
mod memory_log;
mod memory_state;
mod patience;
mod reached;
mod redb_backend;
mod redb_log;
mod row_key;
mod sled_state;
mod snapshot_file;
mod space;
mod state_db;
mod watermark;
mod write_behind;

pub use chunked_log::ChunkedLog;
pub use error::{Remedy, StoreError};
pub use log_db::{ExportSummary, LogCheck, LogDb, LogId, LogRecord, MAX_PAYLOAD_BYTES};
pub use log_writer::{Callback, LogWriter, Pump};
pub use member_log::{create_log, log_bytes, log_exists, open_log};
pub use memory_log::{MemoryDisk, MemoryLog};
pub use memory_state::MemoryState;
pub use reached::Reached;
pub use redb_log::RedbLog;
pub use sled_state::SledState;
pub use snapshot_file::{
    DurableSnapshot, Incoming, SnapshotDir, SnapshotId, SnapshotMeta, SnapshotReader, SnapshotWriter,
};
pub use space::Space;
pub use state_db::{AppliedMark, MAX_ROW_BYTES, Row, RowOp, StateDb};
pub use write_behind::WriteBehind;
