//! Reads the OCI `config.json` the kernel's view of a container was made from, and what else a runtime keeps of a container.
//!
//! Docker keeps the config in containerd's bundle while the container exists for containerd, Podman in its storage. The bundle belongs to root, but
//! its neighbours are reachable from containers by mistakes (a bind of the state directory), so nothing on the way is
//! followed: no symbolic link, no magic link (openat2(2)), no file but a regular one, no more than the limit.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

/// The biggest `config.json` that is read. The kernel gives a process at most some MiB of arguments and environment.
pub(crate) const CONFIG_LIMIT: usize = 8 << 20;

/// Where bundles are, by default: Docker with a containerd of its own, and with the system's.
pub(crate) const DEFAULT_ROOTS: [&str; 2] = [
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
    "/run/containerd/io.containerd.runtime.v2.task/moby",
];

/// What identifies a state of a file without reading it.
///
/// A bundle is made anew for each start of a container, which gives another inode, size or change time. Rewriting
/// the file in place sets the change time, which no system call sets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// When anything of the file was last changed, its name too.
    pub(crate) fn changed_at(&self) -> SystemTime {
        let (seconds, nanos) = self.changed;
        let since = Duration::new(
            u64::try_from(seconds).unwrap_or_default(),
            u32::try_from(nanos).unwrap_or_default(),
        );
        SystemTime::UNIX_EPOCH + since
    }
}

/// The first `ID/config.json` found under `roots`, opened; or why there is none.
fn find(roots: &[PathBuf], id: &str) -> Result<(File, Stamp), String> {
    let mut reasons = Vec::new();
    for root in roots {
        match open_below(root, &format!("{id}/config.json")) {
            Ok(found) => return Ok(found),
            Err(Refusal::Io(Errno::NOENT)) => reasons.push(format!("none in {}", root.display())),
            Err(refusal) => reasons.push(format!("{} in {}", refusal.reason(), root.display())),
        }
    }
    Err(format!(
        "no OCI config.json of this container ({})",
        reasons.join("; ")
    ))
}

/// What identifies the state of the container's `config.json` now, if it has one.
pub(crate) fn stamp(roots: &[PathBuf], id: &str) -> Option<Stamp> {
    find(roots, id).ok().map(|(_, stamp)| stamp)
}

/// The container's `config.json` and what identifies its state, or why there is none. Blocks on the file system.
pub(crate) fn read(roots: &[PathBuf], id: &str) -> Result<(Vec<u8>, Stamp), String> {
    let (file, stamp) = find(roots, id)?;
    let bytes =
        whole(file, CONFIG_LIMIT).map_err(|why| format!("the OCI config.json of this container {why}"))?;
    Ok((bytes, stamp))
}

/// Another file of the container's bundle, the first that is found, or why there is none. Blocks on the file system.
pub(crate) fn read_beside(roots: &[PathBuf], id: &str, name: &str, limit: usize) -> Result<Vec<u8>, String> {
    for root in roots {
        match open_below(root, &format!("{id}/{name}")) {
            Ok((file, _)) => return whole(file, limit).map_err(|why| format!("its {name} {why}")),
            Err(Refusal::Io(Errno::NOENT)) => {}
            Err(refusal) => return Err(format!("its {name} in {}: {}", root.display(), refusal.reason())),
        }
    }
    Err(format!(
        "it has no {name}: nothing of it was made yet, or its bundle is elsewhere"
    ))
}

/// A file below a folder of the runtime's, reached in the same careful way. Blocks on the file system.
pub(crate) fn read_below(root: &Path, path: &str, limit: usize) -> Result<Vec<u8>, String> {
    let (file, _) = open_below(root, path)
        .map_err(|refusal| format!("{path} in {}: {}", root.display(), refusal.reason()))?;
    whole(file, limit).map_err(|why| format!("{path} in {} {why}", root.display()))
}

/// The same, with what identifies the state of the file; none where there is no such file. Blocks on the file system.
pub(crate) fn read_if_there(
    root: &Path,
    path: &str,
    limit: usize,
) -> Result<Option<(Vec<u8>, Stamp)>, String> {
    match open_below(root, path) {
        Ok((file, stamp)) => match whole(file, limit) {
            Ok(bytes) => Ok(Some((bytes, stamp))),
            Err(why) => Err(format!("{path} in {} {why}", root.display())),
        },
        Err(Refusal::Io(Errno::NOENT)) => Ok(None),
        Err(refusal) => Err(format!("{path} in {}: {}", root.display(), refusal.reason())),
    }
}

/// What identifies the state of a file below a folder of the runtime's now, if it is there and can be opened.
pub(crate) fn stamp_below(root: &Path, path: &str) -> Option<Stamp> {
    open_below(root, path).ok().map(|(_, stamp)| stamp)
}

/// Whether two paths lead to one folder. Blocks on the file system.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fstat(open(path, flags, Mode::empty())?).map(|stat| (stat.st_dev, stat.st_ino))
    };
    matches!((folder(one), folder(other)), (Ok(one), Ok(other)) if one == other)
}

fn whole(file: File, limit: usize) -> Result<Vec<u8>, String> {
    // Room for all of it at once, and for the read that finds its end.
    let length = file
        .metadata()
        .map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(limit));
    let mut bytes = Vec::with_capacity(length.min(limit) + 1);
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("is bigger than {limit} bytes"));
    }
    Ok(bytes)
}

enum Refusal {
    Io(Errno),
    NotRegular,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

impl Refusal {
    fn reason(&self) -> String {
        match self {
            Self::NotRegular => "it is not a regular file".to_owned(),
            Self::Io(Errno::LOOP) => "a symbolic link is on the way".to_owned(),
            Self::Io(Errno::ACCESS | Errno::PERM) => {
                "the agent may not read it (it needs CAP_DAC_READ_SEARCH)".to_owned()
            }
            Self::Io(errno) => errno.to_string(),
        }
    }
}

fn open_below(root: &Path, path: &str) -> Result<(File, Stamp), Refusal> {
    let root = open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let fd = openat2(
        &root,
        path,
        // NONBLOCK: opening a pipe that somebody put there must not wait for its writer.
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Refusal::NotRegular);
    }
    let stamp = Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size,
        modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
    };
    Ok((File::from(fd), stamp))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn roots_with(make: impl FnOnce(&Path)) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(ID)).unwrap();
        make(&dir.path().join(ID));
        let roots = vec![dir.path().join("absent"), dir.path().to_path_buf()];
        (dir, roots)
    }

    #[test]
    fn the_second_root_is_searched_too() {
        let (_dir, roots) = roots_with(|bundle| fs::write(bundle.join("config.json"), b"{}").unwrap());
        assert_eq!(read(&roots, ID).unwrap().0, b"{}");
        assert_eq!(read(&roots, ID).unwrap().1, stamp(&roots, ID).unwrap());
    }

    #[test]
    fn a_rewritten_file_has_another_stamp() {
        let (dir, roots) = roots_with(|bundle| fs::write(bundle.join("config.json"), b"{}").unwrap());
        let before = stamp(&roots, ID).unwrap();
        let path = dir.path().join(ID).join("config.json");
        let kept = fs::metadata(&path).unwrap().modified().unwrap();
        // The clock of file times ticks in milliseconds: rewrite until it has moved on.
        while stamp(&roots, ID).unwrap() == before {
            fs::write(&path, b"[]").unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(kept)
                .unwrap();
        }
    }

    #[test]
    fn symbolic_links_pipes_and_big_files_are_refused() {
        let (_dir, roots) =
            roots_with(|bundle| symlink("/etc/hostname", bundle.join("config.json")).unwrap());
        let reason = read(&roots, ID).unwrap_err();
        assert!(reason.contains("symbolic link"), "{reason}");
        assert_eq!(stamp(&roots, ID), None);

        let (_dir, roots) = roots_with(|bundle| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                bundle.join("config.json"),
                FileType::Fifo,
                0o600.into(),
                0,
            )
            .unwrap();
        });
        let reason = read(&roots, ID).unwrap_err();
        assert!(reason.contains("not a regular file"), "{reason}");

        let (_dir, roots) = roots_with(|bundle| {
            File::create(bundle.join("config.json"))
                .unwrap()
                .set_len(CONFIG_LIMIT as u64 + 1)
                .unwrap();
        });
        let reason = read(&roots, ID).unwrap_err();
        assert!(reason.contains("bigger than"), "{reason}");
    }

    #[test]
    fn a_linked_bundle_directory_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("config.json"), b"{}").unwrap();
        let dir = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join(ID)).unwrap();
        assert!(
            read(&[dir.path().to_path_buf()], ID)
                .unwrap_err()
                .contains("symbolic link")
        );
    }

    #[test]
    fn a_missing_one_names_where_it_was_sought() {
        let reason = read(&[PathBuf::from("/nonexistent")], ID).unwrap_err();
        assert_eq!(
            reason,
            "no OCI config.json of this container (none in /nonexistent)"
        );
    }
}
