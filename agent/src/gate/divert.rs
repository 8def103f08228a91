//! Moving a runtime aside, so that its path leads to the gate. dpkg keeps it so: an upgrade of the package writes to where the runtime
//! was moved to, where its digest is no longer the one that the gate knows.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use verger_gate_protocol::settings::MOVED;

/// Where a runtime is moved to.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(MOVED);
    path.with_file_name(name)
}

/// Moves what is at `path` aside, unless that was done before, and has the path lead to the gate.
pub(super) fn put(path: &Path, gate: &Path, root: Option<&Path>) -> anyhow::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_symlink()) {
        dpkg(path, root, "--add")?;
    }
    // One that is right stays: its age says since when the gate stands there.
    if fs::read_link(path).is_ok_and(|to| to == gate) {
        return Ok(());
    }
    let fresh = path.with_file_name(".verger-gate.new");
    let _ = fs::remove_file(&fresh);
    symlink(gate, &fresh)
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("putting the gate at {}", path.display()))
}

/// Moves the runtime back. A file that somebody else put at its path stays, and is an error.
pub(super) fn take_back(path: &Path, gate: &Path, root: Option<&Path>) -> anyhow::Result<()> {
    match fs::read_link(path) {
        Ok(to) => {
            ensure!(
                to == gate,
                "{} leads to {}, and not to the gate: see who put it there, remove it, and run this again",
                path.display(),
                to.display()
            );
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    }
    dpkg(path, root, "--remove")
}

fn dpkg(path: &Path, root: Option<&Path>, what: &str) -> anyhow::Result<()> {
    let within = |path: &Path| -> anyhow::Result<PathBuf> {
        let Some(root) = root else {
            return Ok(path.to_owned());
        };
        let below = path
            .strip_prefix(root)
            .with_context(|| format!("{} is not below {}", path.display(), root.display()))?;
        Ok(Path::new("/").join(below))
    };
    let mut command = Command::new("dpkg-divert");
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    command.args(["--local", "--rename", "--quiet", "--divert"]);
    command.arg(within(&aside(path))?).arg(what).arg(within(path)?);
    let output = command.output().context("running dpkg-divert (package dpkg)")?;
    ensure!(
        output.status.success(),
        "dpkg-divert {what} {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    /// A root with a database of packages of its own.
    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["usr/sbin", "var/lib/dpkg", "gate"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("usr/sbin/runc"), b"the runtime").unwrap();
        root
    }

    #[test]
    fn a_runtime_is_moved_aside_once_and_back_again() {
        let root = root();
        let (path, gate) = (root.path().join("usr/sbin/runc"), root.path().join("gate/runc"));
        let mut links = std::collections::BTreeSet::new();
        for _ in 0..2 {
            put(&path, &gate, Some(root.path())).unwrap();
            links.insert(fs::symlink_metadata(&path).unwrap().ino());
            assert_eq!(links.len(), 1, "one that is right stays");
            assert_eq!(fs::read_link(&path).unwrap(), gate);
            assert_eq!(fs::read(aside(&path)).unwrap(), b"the runtime");
        }
        // dpkg knows where the package's file goes from now on.
        let mut truename = Command::new("dpkg-divert");
        truename
            .arg("--root")
            .arg(root.path())
            .args(["--truename", "/usr/sbin/runc"]);
        let listed = truename.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&listed.stdout).trim(),
            "/usr/sbin/runc.verger-real"
        );
        take_back(&path, &gate, Some(root.path())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"the runtime");
        assert!(!aside(&path).exists());
    }

    #[test]
    fn what_somebody_else_put_there_is_left_alone() {
        let root = root();
        let (path, gate) = (root.path().join("usr/sbin/runc"), root.path().join("gate/runc"));
        put(&path, &gate, Some(root.path())).unwrap();
        fs::remove_file(&path).unwrap();
        symlink("/bin/sh", &path).unwrap();
        let error = take_back(&path, &gate, Some(root.path()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("leads to /bin/sh"), "{error}");
        assert_eq!(fs::read(aside(&path)).unwrap(), b"the runtime");
    }
}
