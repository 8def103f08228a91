//! Whether the runtime behind the gate is the one that was there when the gate was put in front of it.
//!
//! A program is some megabytes, and reading it before every launch would cost more than all the rest. Its digest is worked out once
//! for a state of the file (device, inode, size, times of change), and that state is noted in a folder of root's alone. No system
//! call sets the time of the last change back, so a file in a noted state has the noted digest.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::settings::Runtime;

/// Why a runtime is not run.
#[derive(Debug, thiserror::Error)]
pub enum UnfitRuntime {
    /// It cannot be read.
    #[error("the runtime {path} cannot be read: {what}", path = .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// It is another program.
    #[error(
        "{path} is not the runtime that the gate was put in front of: its SHA-256 is {found}; if the package was upgraded, run `verger-agent install-gate` again",
        path = .path.display()
    )]
    Other {
        /// Its path.
        path: PathBuf,
        /// What is there.
        found: String,
    },
}

/// Whether root alone says what a file holds.
///
/// # Errors
/// When somebody else owns it or may write it.
pub fn owned_by_root(metadata: &Metadata) -> io::Result<()> {
    if metadata.uid() != 0 {
        return Err(io::Error::other(format!(
            "it belongs to uid {}, and not to root",
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "others than root may write it (mode {:o})",
            metadata.mode() & 0o7777
        )));
    }
    Ok(())
}

/// Sees to it that a runtime is the right one.
///
/// # Errors
/// When it cannot be read, somebody else than root may write it, or it is another program.
pub fn verify(runtime: &Runtime, state: &Path) -> Result<(), UnfitRuntime> {
    let unreadable = |error: io::Error| UnfitRuntime::Unreadable {
        path: runtime.path.clone(),
        what: error.to_string(),
    };
    let file = File::open(&runtime.path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    owned_by_root(&metadata).map_err(unreadable)?;
    let seen = note(&metadata, &runtime.sha256);
    let place = place(state, &runtime.sha256);
    if crate::file::read(&place, 1 << 10).is_ok_and(|noted| noted == seen.as_bytes()) {
        return Ok(());
    }
    let found = digest(file).map_err(unreadable)?;
    if found != runtime.sha256 {
        return Err(UnfitRuntime::Other {
            path: runtime.path.clone(),
            found,
        });
    }
    // What cannot be noted is worked out again next time.
    let _ = keep(state, &place, &seen);
    Ok(())
}

/// SHA-256 of a program, in hex digits.
///
/// # Errors
/// When it cannot be read.
pub fn digest(mut file: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn note(metadata: &Metadata, sha256: &str) -> String {
    format!(
        "{} {} {} {}.{:09} {}.{:09} {sha256}\n",
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

fn place(state: &Path, sha256: &str) -> PathBuf {
    state.join(format!("runtime-{}", sha256.get(..16).unwrap_or_default()))
}

fn keep(state: &Path, place: &Path, note: &str) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(state) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    owned_by_root(&fs::symlink_metadata(state)?)?;
    let draft = place.with_extension(std::process::id().to_string());
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(note.as_bytes())
        .and_then(|()| fs::rename(&draft, place));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn another_program_is_refused_also_where_the_right_one_was_seen_before() {
        let dir = tempfile::tempdir().unwrap();
        let (path, state) = (dir.path().join("runc"), dir.path().join("state"));
        fs::write(&path, b"the right one").unwrap();
        let sha256 = hex::encode(Sha256::digest(b"the right one"));
        let runtime = Runtime {
            path: path.clone(),
            sha256,
        };
        verify(&runtime, &state).unwrap();
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "it is noted");
        verify(&runtime, &state).unwrap();

        // Of the same size, written in place, its times set back as far as they can be.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let before = note(&fs::metadata(&path).unwrap(), &runtime.sha256);
        while note(&fs::metadata(&path).unwrap(), &runtime.sha256) == before {
            fs::write(&path, b"the wrong one").unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }
        let error = verify(&runtime, &state).unwrap_err().to_string();
        assert!(
            error.contains("is not the runtime") && error.contains("install-gate"),
            "{error}"
        );

        fs::write(&path, b"the right one").unwrap();
        verify(&runtime, &state).unwrap();
    }

    #[test]
    fn a_program_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runc");
        fs::write(&path, b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o722)).unwrap();
        let runtime = Runtime {
            path,
            sha256: hex::encode(Sha256::digest(b"x")),
        };
        let error = verify(&runtime, &dir.path().join("state"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("mode 722"), "{error}");
    }
}
