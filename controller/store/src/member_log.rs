//! Which kind of log a member has: new ones get chunks, and one that began with redb goes on with it.
//!
//! Nothing is converted: a member that is to have the other kind joins anew, under another name.

use std::path::Path;
use std::sync::Arc;

use crate::{ChunkedLog, LogDb, RedbLog, StoreError};

/// Makes an empty log in `dir`, as new members have it. Refused where a log of any kind exists.
///
/// # Errors
/// Those of [`ChunkedLog::create`].
pub fn create_log(dir: &Path) -> Result<Arc<dyn LogDb>, StoreError> {
    Ok(Arc::new(ChunkedLog::create(dir)?))
}

/// Opens the log in `dir`, of whichever kind it is, and reads all of it.
///
/// # Errors
/// Those of [`ChunkedLog::open`] and [`RedbLog::open`].
pub fn open_log(dir: &Path) -> Result<Arc<dyn LogDb>, StoreError> {
    Ok(if ChunkedLog::exists(dir) {
        Arc::new(ChunkedLog::open(dir)?)
    } else {
        Arc::new(RedbLog::open(dir)?)
    })
}

/// Tells whether `dir` holds a log of any kind.
#[must_use]
pub fn log_exists(dir: &Path) -> bool {
    ChunkedLog::exists(dir) || RedbLog::exists(dir)
}

/// What the log in `dir` takes on the disk, bytes; none of one that gives nothing back when it is purged (redb).
#[must_use]
pub fn log_bytes(dir: &Path) -> Option<u64> {
    let chunks = std::fs::read_dir(ChunkedLog::chunks_of(dir)).ok()?;
    let sizes = chunks
        .flatten()
        .filter_map(|chunk| Some(chunk.metadata().ok()?.len()));
    Some(sizes.sum())
}
