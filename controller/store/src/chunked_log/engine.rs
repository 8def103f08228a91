//! Opens raft-log over a folder of chunks, and maps its errors.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use raft_log::{Config, RaftLog};

use super::codec::Format;
use crate::{Remedy, StoreError};

/// When a chunk is closed. Disk is given back by whole chunks, a chunk is read as a whole at start, and all payloads of the newest are
/// in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkSize {
    bytes: usize,
    records: usize,
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            records: 64 << 10,
        }
    }
}

impl ChunkSize {
    #[cfg(any(test, feature = "rig"))]
    pub(super) fn of_records(records: usize) -> Self {
        Self {
            records,
            ..Self::default()
        }
    }
}

/// Payloads kept in memory of older chunks. The log's hot end is also in the writer's.
const CACHE_BYTES: usize = 4 << 20;
const READ_BYTES: usize = 256 << 10;

/// How raft-log is to run in this folder.
pub(super) fn config(dir: &Path, size: ChunkSize) -> Result<Config, StoreError> {
    let name = dir.to_str().ok_or_else(|| StoreError::Refused {
        what: format!("{dir:?} is not UTF-8: choose another directory"),
    })?;
    let mut config = Config::new(name);
    config.wal.chunk_max_size = Some(size.bytes);
    config.wal.chunk_max_records = Some(size.records);
    config.wal.read_buffer_size = Some(READ_BYTES);
    // What a power cut left half written is cut off before it is opened, once it is known to be no damage.
    config.wal.truncate_incomplete_record = Some(false);
    // The writer in front has gathered what there is: nothing to wait for.
    config.wal.flush_batch_wait = Some(Duration::ZERO);
    config.log_cache_capacity = Some(CACHE_BYTES);
    Ok(config)
}

/// Opens what [`survey`](super::survey) found to be sound.
pub(super) fn open(dir: &Path, size: ChunkSize) -> Result<RaftLog<Format>, StoreError> {
    RaftLog::open(Arc::new(config(dir, size)?)).map_err(|error| match error.kind() {
        // No word of the system's.
        io::ErrorKind::Other => unreadable(dir, &error),
        _ => fault(dir, error),
    })
}

/// Maps raft-log's errors. Whether a failed write latches is decided where it happened.
pub(super) fn fault(dir: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::WouldBlock => StoreError::InUse { file: dir.to_owned() },
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            unreadable(dir, &error)
        }
        _ => StoreError::io(dir, "read or write", error),
    }
}

fn unreadable(dir: &Path, error: &io::Error) -> StoreError {
    let what = error.to_string().chars().take(300).collect::<String>();
    damaged(
        dir,
        format!("the log does not read as one: {}", what.escape_debug()),
    )
}

pub(super) fn damaged(file: &Path, what: impl Into<String>) -> StoreError {
    StoreError::damaged(file, Remedy::RejoinUnderNewId, what)
}
