//! The agent's disk: its ledger and its findings spool, on sled. The only crate of the agent that names sled.
//!
//! sled alone keeps neither promise an agent needs: its `flush` does not survive a power cut, and damaged files
//! open without a word, shorter or empty (09-raft-evidence). So `journal` adds a barrier, checksums and a
//! watermark outside of sled, and every open proves all records against them: the contents are what was
//! acknowledged, or the error is [`StoreError::Damaged`]. Before that, what is there is made durable and read from the disk
//! ([`verger_durable::settle`]): an agent that was killed may have left it in memory alone. An agent never starts empty under its old
//! identity.
//!
//! In the folder: `sled/` (the database), `ledger.watermark` and `spool.watermark`.

mod barrier;
#[cfg(test)]
mod fuzz;
mod journal;
mod ledger;
mod parts;
mod record;
mod spool;
mod stored;
mod watermark;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use ledger::SledLedger;
pub use spool::SledSpool;
use verger_agent_core::store::StoreError;
use verger_durable::{NotDurable, sync_dir};

use crate::barrier::Barrier;
use crate::journal::Journal;
use crate::watermark::Watermark;

/// The most bytes one object's canonical form, or one seal, may have.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// The limits of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most bytes of transitions that may wait for a controller. On disk sled takes up to seven times that.
    pub spool_bytes: u64,
    /// Free space below which nothing is written, bytes.
    pub reserve_bytes: u64,
    /// sled's page cache, bytes.
    pub cache_bytes: u64,
    /// The rig's planted defect: acknowledges without waiting for the disk.
    #[cfg(feature = "rig")]
    pub without_barrier: bool,
}

impl Default for Options {
    /// 64 MiB of transitions, 16 MiB of reserve and of cache.
    fn default() -> Self {
        Self {
            spool_bytes: 64 << 20,
            reserve_bytes: 16 << 20,
            cache_bytes: 16 << 20,
            #[cfg(feature = "rig")]
            without_barrier: false,
        }
    }
}

/// Opens the store in `dir`, making it if it was never there, and proves every record. Blocks for as long as
/// reading everything takes.
///
/// # Errors
/// [`StoreError::Damaged`] when what is there is not what was acknowledged, [`StoreError::Busy`] when another
/// process has it.
pub fn open(dir: &Path, options: &Options) -> Result<(SledLedger, SledSpool), StoreError> {
    let (ledger_mark, spool_mark) = (dir.join("ledger.watermark"), dir.join("spool.watermark"));
    let place = dir.join("sled");
    let started = place
        .join("db")
        .try_exists()
        .map_err(|source| StoreError::io("look for", &place, source))?;
    if !started {
        make(dir)?;
    }
    for path in [&ledger_mark, &spool_mark] {
        lay(path, started)?;
    }
    if !started {
        for path in [&ledger_mark, &spool_mark] {
            let acknowledged = Watermark::open(path)?.mark().commit;
            if acknowledged > 0 {
                return Err(damage(
                    &place,
                    format!("it is gone, and {acknowledged} commits were acknowledged"),
                ));
            }
        }
    }
    let barrier = Arc::new(Barrier::open(&place, options)?);
    let ledger = Journal::open(Arc::clone(&barrier), "ledger", &ledger_mark)?;
    let spool = Journal::open(barrier, "spool", &spool_mark)?;
    // Whoever made them may have been ended before it came to this.
    for folder in [&place, dir] {
        sync_dir(folder).map_err(not_durable)?;
    }
    Ok((
        SledLedger::open(ledger)?,
        SledSpool::open(spool, options.spool_bytes)?,
    ))
}

fn make(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| StoreError::io("create", dir, source))?;
    dir.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), sync_dir)
        .map_err(not_durable)
}

/// Makes a watermark of a store that is just being made; of one that was there before, it must be there.
fn lay(path: &Path, started: bool) -> Result<(), StoreError> {
    if path
        .try_exists()
        .map_err(|source| StoreError::io("look for", path, source))?
    {
        return Ok(());
    }
    if started {
        return Err(damage(path, "it is gone".to_owned()));
    }
    let draft = PathBuf::from(format!("{}.new", path.display()));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("remove", &draft, error));
        }
        _ => Watermark::create(&draft)?,
    }
    verger_durable::rename(&draft, path).map_err(not_durable)
}

fn not_durable(NotDurable { file, action, source }: NotDurable) -> StoreError {
    StoreError::io(action, &file, source)
}

/// The one error about bytes that are not what was acknowledged.
fn damage(file: &Path, what: String) -> StoreError {
    StoreError::Damaged {
        file: file.to_owned(),
        what,
        remedy: "stop the agent, move its state folder away, and enrol the host again with a new join token",
    }
}
