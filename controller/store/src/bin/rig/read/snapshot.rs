//! The newest snapshot is no older than the last one acknowledged, no newer than what was begun, and every file that
//! has a snapshot's name is whole.

use std::fs;
use std::io;
use std::path::Path;

use verger_controller_store::{DurableSnapshot, SnapshotDir, StoreError};

use crate::snapshot_content::{chunks, meta};
use crate::{Found, Wish, shown};

pub(crate) fn verify(wish: &Wish) -> Result<Found, StoreError> {
    let dir = wish.dir.join("snapshots");
    let snapshots = SnapshotDir::open(&dir)?;
    let latest = snapshots.latest()?;
    let last = latest.as_ref().map(|latest| latest.meta().last.index);
    let mut matches = true;
    let mut files = 0;
    // Each file on its own is the newest of a folder: whatever a member would take, it has to be whole.
    for name in names(&dir).map_err(|error| failed(&dir, error))? {
        let apart = wish.dir.join("apart");
        fs::create_dir(&apart)
            .and_then(|()| fs::hard_link(dir.join(&name), apart.join(&name)))
            .map_err(|error| failed(&apart, error))?;
        let alone = SnapshotDir::open(&apart)?;
        if let Some(snapshot) = alone.latest()? {
            matches &= whole(&alone, &snapshot)?;
            files += 1;
        }
        fs::remove_dir_all(&apart).map_err(|error| failed(&apart, error))?;
    }
    Ok(Found {
        line: format!("last {} files {files}", shown(last)),
        sound: matches && wish.acked <= last && last <= wish.begun.max(wish.acked),
    })
}

fn whole(dir: &SnapshotDir, snapshot: &DurableSnapshot) -> Result<bool, StoreError> {
    let index = snapshot.meta().last.index;
    let mut reader = dir.read(snapshot)?;
    let mut wanted = chunks(index);
    while let Some(chunk) = reader.next_chunk()? {
        if wanted.next() != Some(chunk) {
            return Ok(false);
        }
    }
    Ok(wanted.next().is_none() && *snapshot.meta() == meta(index))
}

fn names(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn failed(file: &Path, error: io::Error) -> StoreError {
    StoreError::Io {
        file: file.to_owned(),
        action: "look at",
        source: error.into(),
    }
}
