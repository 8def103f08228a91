//! Makes durable what an earlier process left, before any of it is believed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
#[cfg(feature = "rig")]
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Advice;
use rustix::io::Errno;
use verger_agent_core::store::StoreError;

/// The rig's planted defect.
#[cfg(feature = "rig")]
static SETTLING_IS_LEFT_OUT: AtomicBool = AtomicBool::new(false);

/// Has whatever this process opens from here on be taken for durable as it is found. For the power-cut rig, which must catch exactly
/// that.
#[cfg(feature = "rig")]
pub fn leave_settling_out() {
    SETTLING_IS_LEFT_OUT.store(true, Ordering::Release);
}

#[cfg(feature = "rig")]
pub(crate) fn is_settling_left_out() -> bool {
    SETTLING_IS_LEFT_OUT.load(Ordering::Acquire)
}

#[cfg(not(feature = "rig"))]
pub(crate) const fn is_settling_left_out() -> bool {
    false
}

/// Makes durable all files and folders below a folder, and has them read from the disk from here on. Links are not followed.
///
/// A process that ends between write(2) and fsync(2) leaves in the page cache what no disk has, and a power cut takes it away from whoever
/// read it there and went on with it. After an fsync that failed the kernel even takes such pages for clean, and gives them out for as
/// long as it keeps them: so they are dropped, once they are synced.
///
/// Sources: fsync(2); posix_fadvise(2); Rebello and others, "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
pub(crate) fn settle(folder: &Path) -> Result<(), StoreError> {
    if is_settling_left_out() {
        return Ok(());
    }
    let unreadable = |source| StoreError::io("list", folder, source);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
        let settled = if kind.is_dir() {
            settle(&path)
        } else if kind.is_file() {
            File::open(&path)
                .map_err(|source| StoreError::io("open", &path, source))
                .and_then(|file| settle_file(&file, &path))
        } else {
            Ok(())
        };
        match settled {
            // Who had the folder before may still take away what is of no use.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            settled => settled?,
        }
    }
    sync_folder(folder)
}

/// As [`settle`], of a file that is open.
pub(crate) fn settle_file(file: &File, path: &Path) -> Result<(), StoreError> {
    if is_settling_left_out() {
        return Ok(());
    }
    file.sync_all()
        .map_err(|source| StoreError::io("sync", path, source))?;
    match rustix::fs::fadvise(file, 0, None, Advice::DontNeed) {
        // A kernel without it has no pages to be told of.
        Ok(()) | Err(Errno::NOSYS) => Ok(()),
        Err(errno) => Err(StoreError::io("drop the cached pages of", path, errno.into())),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    if is_settling_left_out() {
        return Ok(());
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::io("sync", folder, source))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_not_followed_and_files_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let nested = dir.path().join("blobs");
        fs::create_dir(&nested).unwrap();
        fs::write(dir.path().join("db"), "a page").unwrap();
        fs::write(nested.join("7"), "a blob").unwrap();
        symlink("nowhere", dir.path().join("link")).unwrap();
        symlink(dir.path(), nested.join("up")).unwrap();
        settle(dir.path()).unwrap();
        assert_eq!(fs::read(nested.join("7")).unwrap(), b"a blob");
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("sled");
        let error = settle(&missing).unwrap_err();
        assert!(
            matches!(&error, StoreError::Io { doing: "list", file, .. } if *file == missing),
            "{error}"
        );
    }
}
