//! Where a private daemon keeps its things, and the record by which a later run finds them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::ProcessRef;

const RUN_ROOT: &str = "/run/verger-dockerd";
const DATA_ROOT: &str = "/var/lib/verger-dockerd";

/// The paths of one daemon. The socket path stays short: a Unix socket address holds 107 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    name: String,
    run: PathBuf,
    data: PathBuf,
}

/// Written before anything is made, so that nothing can be made that no record names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Who needs the daemon: when that process is gone, the daemon is abandoned. `None`: until somebody stops it.
    pub(super) owner: Option<ProcessRef>,
    pub(super) dockerd: Option<ProcessRef>,
}

impl Layout {
    /// Lays out the daemon called `name`.
    pub(crate) fn of(name: &str) -> Result<Self> {
        parse_name(name).map_err(anyhow::Error::msg)?;
        Ok(Self {
            name: name.to_owned(),
            run: Path::new(RUN_ROOT).join(name),
            data: Path::new(DATA_ROOT).join(name),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The network namespace's name, as `ip netns` knows it.
    pub(super) fn namespace(&self) -> String {
        format!("verger-dockerd-{}", self.name)
    }

    /// A file of the network namespace that the daemon's bridges are in.
    pub(crate) fn namespace_path(&self) -> PathBuf {
        Path::new("/run/netns").join(self.namespace())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("docker.sock")
    }

    /// Where the daemon's containerd keeps the OCI configuration of each running container, `ID/config.json`.
    pub(crate) fn bundles(&self) -> PathBuf {
        self.exec_root()
            .join("containerd/daemon/io.containerd.runtime.v2.task/moby")
    }

    /// Docker's `--exec-root`: the OCI bundles lie in `containerd/daemon/io.containerd.runtime.v2.task/moby/ID` below.
    pub(crate) fn exec_root(&self) -> PathBuf {
        self.run.join("exec")
    }

    pub(super) fn data_root(&self) -> &Path {
        &self.data
    }

    pub(super) fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Comes first in the daemon's PATH, and is empty: what is put here stands in front of the runtime of that name.
    pub(super) fn front(&self) -> PathBuf {
        self.run.join("front")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.run.join("dockerd.log")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.run.join("docker.pid")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.run.join("daemon.json")
    }

    fn record_file(&self) -> PathBuf {
        self.run.join("record.json")
    }

    pub(super) fn write_record(&self, record: &Record) -> Result<()> {
        let path = self.record_file();
        fs::create_dir_all(&self.run).with_context(|| format!("making {}", self.run.display()))?;
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(record)?)
            .with_context(|| format!("writing {}", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// Reads the record; `None` when this daemon was never started or is removed.
    pub(super) fn read_record(&self) -> Result<Option<Record>> {
        let path = self.record_file();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged; remove {} once its dockerd is stopped",
                    path.display(),
                    self.run.display()
                )
            })?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Every daemon of which anything is left on this machine.
    pub(super) fn records() -> Result<Vec<Self>> {
        let mut names = std::collections::BTreeSet::new();
        for root in [RUN_ROOT, DATA_ROOT] {
            let entries = match fs::read_dir(root) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("reading {root}")),
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    names.insert(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        names
            .iter()
            .filter(|name| parse_name(name).is_ok())
            .map(|name| Self::of(name))
            .collect()
    }
}

/// Accepts what is safe as a directory and as a namespace name.
pub(super) fn parse_name(name: &str) -> Result<String, String> {
    let fits = (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-');
    if fits {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "{name:?} is no daemon name: use 1 to 40 of a-z, 0-9 and '-', not '-' first"
        ))
    }
}

/// Held while a daemon is started or removed; other runs wait. One lock for all daemons: a lock file per daemon could
/// never be removed safely.
pub(super) struct Lock {
    _file: fs::File,
}

impl Lock {
    pub(super) fn take() -> Result<Self> {
        let path = Path::new(RUN_ROOT).join("lock");
        if let Err(error) = fs::create_dir_all(RUN_ROOT) {
            bail!("cannot make {RUN_ROOT}: {error}; a private dockerd needs root (or use --no-docker)");
        }
        let file = fs::File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .with_context(|| format!("locking {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_that_leaves_its_directory_is_refused() {
        for bad in ["", "..", "a/b", "-x", "UP", "a b", &"x".repeat(41)] {
            assert!(parse_name(bad).is_err(), "{bad:?}");
        }
        assert!(parse_name("test-123").is_ok());
    }

    #[test]
    fn the_longest_name_leaves_the_socket_addressable() {
        let layout = Layout::of(&"x".repeat(40)).unwrap();
        assert!(layout.socket().as_os_str().len() <= 107);
    }
}
