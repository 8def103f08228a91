//! Makes names durable (a file that was synced can still vanish with its directory entry), and what an earlier process left. The stores
//! of members and of agents are built on it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(feature = "rig")]
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Advice;
use rustix::io::Errno;

/// A file or directory that the system did not make durable, or whose name it did not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", file.display())]
pub struct NotDurable {
    /// Which.
    pub file: PathBuf,
    /// What was tried, as a verb.
    pub action: &'static str,
    /// The system's answer.
    pub source: io::Error,
}

impl NotDurable {
    fn new(file: &Path, action: &'static str, source: io::Error) -> Self {
        let file = file.to_owned();
        Self { file, action, source }
    }
}

/// The rig's planted defect.
#[cfg(feature = "rig")]
static SETTLING_IS_LEFT_OUT: AtomicBool = AtomicBool::new(false);

/// Has whatever this process opens from here on be taken for durable as it is found. For the power-cut rig, which must catch exactly
/// that.
#[cfg(feature = "rig")]
pub fn leave_settling_out() {
    SETTLING_IS_LEFT_OUT.store(true, Ordering::Release);
}

/// Whether it was left out from some point on: whoever syncs what was found in another way leaves that out, too.
#[cfg(feature = "rig")]
#[must_use]
pub fn is_settling_left_out() -> bool {
    SETTLING_IS_LEFT_OUT.load(Ordering::Acquire)
}

/// Whether settling is left out, which a program that is no rig's never does.
#[cfg(not(feature = "rig"))]
#[must_use]
pub const fn is_settling_left_out() -> bool {
    false
}

/// Makes durable what an earlier process left in a file, or in all files and folders below a folder, and has it read from the disk from
/// here on. To be called before any of it is read and believed. What is clean costs next to nothing; links are not followed.
///
/// A process that ends between write(2) and fsync(2) leaves in the page cache what no disk has: a power cut takes that away from
/// whoever read it there and went on with it. And after an fsync that failed the kernel takes the pages for clean, and gives out what is
/// not on the disk for as long as it keeps them: so they are dropped, once they are synced.
///
/// Sources: fsync(2); posix_fadvise(2), by which only pages are dropped that are on the disk; Rebello and others, "Can Applications
/// Recover from fsync Failures?", USENIX ATC 2020.
///
/// # Errors
/// When there is nothing of this name, and when a file or folder cannot be read or synced: the error names it.
pub fn settle(place: &Path) -> Result<(), NotDurable> {
    if is_settling_left_out() {
        return Ok(());
    }
    let kind = fs::symlink_metadata(place)
        .map_err(|error| NotDurable::new(place, "look at", error))?
        .file_type();
    if kind.is_file() {
        let file = File::open(place).map_err(|error| NotDurable::new(place, "open", error))?;
        return settle_file(&file, place);
    }
    if !kind.is_dir() {
        return Ok(());
    }
    let unreadable = |error| NotDurable::new(place, "list", error);
    for entry in fs::read_dir(place).map_err(unreadable)? {
        match settle(&entry.map_err(unreadable)?.path()) {
            // Who had the folder before may still take away what is of no use.
            Err(NotDurable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            settled => settled?,
        }
    }
    sync_dir(place)
}

/// As [`settle`], of a file that is open.
///
/// # Errors
/// When it cannot be synced, or its pages cannot be dropped.
pub fn settle_file(file: &File, path: &Path) -> Result<(), NotDurable> {
    if is_settling_left_out() {
        return Ok(());
    }
    file.sync_all()
        .map_err(|error| NotDurable::new(path, "sync", error))?;
    match rustix::fs::fadvise(file, 0, None, Advice::DontNeed) {
        // A kernel without it has no pages to be told of.
        Ok(()) | Err(Errno::NOSYS) => Ok(()),
        Err(errno) => Err(NotDurable::new(path, "drop the cached pages of", errno.into())),
    }
}

/// Creates a directory (and its parents), and makes the new entries durable. One that is there is taken as it is.
///
/// # Errors
/// When one of them cannot be created, or its entry cannot be synced.
pub fn create_dir(dir: &Path) -> Result<(), NotDurable> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(NotDurable::new(dir, "create the directory", error));
        }
        _ => {}
    }
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Makes the entries of a directory durable. Where settling is left out it is, too: a file system's journal takes the data along.
///
/// # Errors
/// When it cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<(), NotDurable> {
    if is_settling_left_out() {
        return Ok(());
    }
    File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| NotDurable::new(dir, "sync the directory", error))
}

/// Renames within one directory and makes the new name durable.
///
/// # Errors
/// When it cannot be renamed, or the directory cannot be synced.
pub fn rename(from: &Path, to: &Path) -> Result<(), NotDurable> {
    fs::rename(from, to).map_err(|error| NotDurable::new(to, "rename into place", error))?;
    match to.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::IoSliceMut;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use rustix::io::{ReadWriteFlags, preadv2};

    use super::*;

    /// Files of a megabyte, two folders deep.
    fn nested(dir: &Path) -> Vec<PathBuf> {
        let below = dir.join("a/b");
        fs::create_dir_all(&below).unwrap();
        let files: Vec<_> = (0..4)
            .flat_map(|number| [dir, &below].map(|dir| dir.join(number.to_string())))
            .collect();
        for file in &files {
            fs::write(file, vec![7; 1 << 20]).unwrap();
        }
        files
    }

    /// Whether the middle of a file is read without waiting for the disk; `None` where the file system does not say.
    fn is_cached(path: &Path) -> Option<bool> {
        let file = File::open(path).unwrap();
        let mut byte = [0];
        match preadv2(
            &file,
            &mut [IoSliceMut::new(&mut byte)],
            1 << 19,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(read) => Some(read == 1),
            Err(Errno::AGAIN) => Some(false),
            Err(Errno::OPNOTSUPP) => None,
            Err(errno) => panic!("{path:?}: {errno}"),
        }
    }

    #[test]
    fn what_is_settled_is_read_from_the_disk_in_nested_folders_too() {
        let dir = tempfile::tempdir().unwrap();
        let files = nested(dir.path());
        let cached = || -> Vec<_> { files.iter().map(|file| is_cached(file)).collect() };
        let before = cached();
        settle(dir.path()).unwrap();
        let after = cached();
        for file in &files {
            assert_eq!(fs::read(file).unwrap(), vec![7; 1 << 20]);
        }
        // In memory alone there is nothing to drop. A disk may be as fast as to have read one of them again already.
        if before.iter().all(|cached| *cached == Some(true)) {
            let dropped = |of: usize| {
                after
                    .iter()
                    .skip(of)
                    .step_by(2)
                    .any(|cached| *cached == Some(false))
            };
            assert!(dropped(0) && dropped(1), "{after:?}");
        }
    }

    #[test]
    fn one_file_is_settled_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = nested(dir.path());
        let (settled, others) = files.split_at(files.len() / 2);
        let cached = |files: &[PathBuf]| -> Vec<_> { files.iter().map(|file| is_cached(file)).collect() };
        let before = cached(&files);
        for file in settled {
            settle(file).unwrap();
        }
        let after = cached(settled);
        // In memory alone there is nothing to drop. A disk may be as fast as to have read some of them again already: looking at one asks for it.
        if before.iter().all(|cached| *cached == Some(true)) {
            assert!(
                after.contains(&Some(false)),
                "none is read from the disk: {after:?}"
            );
        }
        let after = cached(others);
        assert!(!after.contains(&Some(false)), "{after:?}");
    }

    #[test]
    fn what_is_missing_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("log.chunks");
        let error = settle(&missing).unwrap_err();
        assert!(
            matches!(&error, NotDurable { file, .. } if *file == missing),
            "{error}"
        );
    }

    #[test]
    fn links_are_not_followed_and_what_is_no_file_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, vec![7; 1 << 20]).unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        symlink(&inside, inside.join("around")).unwrap();
        symlink("nowhere", inside.join("nowhere")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(inside.join("socket")).unwrap();
        settle(&inside).unwrap();
        settle(&inside.join("link")).unwrap();
        let cached = is_cached(&outside);
        assert!(cached != Some(false), "{cached:?}");
    }

    #[test]
    fn an_error_names_the_file_that_cannot_be_synced() {
        let file = File::open("/proc/self/status").unwrap();
        let path = Path::new("log.redb");
        let error = settle_file(&file, path).unwrap_err();
        assert!(
            matches!(&error, NotDurable { file, action: "sync", .. } if file == path),
            "{error}"
        );
    }
}
