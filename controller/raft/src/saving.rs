//! A snapshot of everything, for somebody to keep elsewhere.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use verger_controller_store::{SnapshotDir, StoreError};

use crate::member::Member;
use crate::reading::ReadError;
use crate::runtime::off_thread;
use crate::snapshot;

/// Where one is written; nothing is left there.
const FOLDER: &str = "saving";

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// One at a time: each takes the disk that all rows take.
    #[error("another snapshot is being saved by this member; wait for it, or ask another member")]
    Busy,
    /// It would not hold everything.
    #[error(transparent)]
    Stale(#[from] ReadError),
    /// It cannot be written.
    #[error("the snapshot cannot be written: {0}")]
    Store(#[from] StoreError),
    /// Its file cannot be read.
    #[error("the snapshot's file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Where snapshots are saved from.
pub(crate) struct Saving {
    folder: PathBuf,
    one: Arc<Mutex<()>>,
}

impl Saving {
    /// Of the member whose files are there.
    pub(crate) fn of(place: &Path) -> Self {
        Self {
            folder: place.join(FOLDER),
            one: Arc::default(),
        }
    }

    /// Removes what was being written when the member stopped.
    pub(crate) fn clear(place: &Path) {
        let folder = place.join(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(?folder, %error, "an unfinished snapshot stays");
            }
            _ => {}
        }
    }
}

/// A snapshot, to be read to its end. It has no name any more: it is gone once this is dropped.
pub struct Saved {
    file: File,
    size: u64,
    _one: OwnedMutexGuard<()>,
}

impl Saved {
    /// Bytes of it.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Reads the next piece, of so many bytes but for the last; empty at its end.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub async fn read(self, most: usize) -> io::Result<(Self, Vec<u8>)> {
        off_thread(move || {
            let mut piece = Vec::with_capacity(most);
            (&self.file).take(most as u64).read_to_end(&mut piece)?;
            Ok((self, piece))
        })
        .await?
    }
}

impl Member {
    /// Draws a snapshot of everything that was acknowledged before this call. It is on disk, and not in memory; writers go on.
    ///
    /// # Errors
    /// When this member cannot tell what was acknowledged, is drawing one already, or cannot write.
    pub async fn save(&self) -> Result<Saved, SaveError> {
        let Saving { folder, one } = self.saving();
        let one = Arc::clone(one).try_lock_owned().map_err(|_| SaveError::Busy)?;
        self.catch_up().await?;
        let (db, folder, room) = (Arc::clone(self.db()), folder.clone(), Arc::clone(self.room()));
        off_thread(move || {
            let dir = SnapshotDir::open(&folder)?;
            dir.discard()?;
            let drawn = snapshot::write(&*db, &dir, &room)?;
            let drawn = drawn.ok_or_else(|| StoreError::Refused {
                what: "nothing is applied yet".to_owned(),
            })?;
            let file = File::open(drawn.path())?;
            // Its bytes stay for as long as it is open, and no longer.
            dir.discard()?;
            let size = file.metadata()?.len();
            Ok(Saved {
                file,
                size,
                _one: one,
            })
        })
        .await?
    }
}
