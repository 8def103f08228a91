//! What `verger-agent install-gate` left beside the gate: which runtime stands behind which name, and where the agent listens.
//!
//! The file lies in the gate's own folder and nowhere else: a place that the environment or an argument could name would be a way
//! around.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name, in the folder of the gate's program.
pub const FILE: &str = "gate.json";
/// The most bytes of it that are read.
const LIMIT: u64 = 64 << 10;

/// Where runtimes usually are, in the order in which they are looked for.
pub const USUAL: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// What comes behind the name of a runtime that was moved aside for the gate (dpkg-divert(1)).
pub const MOVED: &str = ".verger-real";

/// The programs of this name in folders, or moved aside there, apart from what is in the gate's own.
pub fn found<'a>(
    name: &'a str,
    folders: &'a [impl AsRef<Path>],
    apart_from: &'a Path,
) -> impl Iterator<Item = PathBuf> + 'a {
    let is_plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    let folders = if is_plain { folders } else { &[] };
    folders
        .iter()
        .flat_map(move |folder| ["", MOVED].map(|behind| folder.as_ref().join(format!("{name}{behind}"))))
        .filter(move |path| {
            fs::canonicalize(path).is_ok_and(|real| real.is_file() && !real.starts_with(apart_from))
        })
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The format: 1.
    pub version: u32,
    /// The agent's socket.
    pub socket: PathBuf,
    /// Who may listen there, besides root.
    pub agent_uid: u32,
    /// Where it keeps which runtime it has seen to be the right one: a folder of root's alone, emptied at boot.
    pub state: PathBuf,
    /// The runtimes by the name the gate is called by.
    pub runtimes: BTreeMap<String, Runtime>,
}

/// One runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Runtime {
    /// Its absolute path.
    pub path: PathBuf,
    /// SHA-256 of the program, 64 hex digits.
    pub sha256: String,
}

/// Settings that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// The file.
    #[error("{path}: {what}; run `verger-agent install-gate` again", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The gate was called by another name.
    #[error("the gate stands in front of no runtime {name:?}; {path} names those it does", path = .path.display())]
    Name {
        /// That name.
        name: String,
        /// The file.
        path: PathBuf,
    },
}

impl Settings {
    /// Reads the file in this folder.
    ///
    /// # Errors
    /// When it is not there, belongs to somebody else than root or may be written by others, or is not understood.
    pub fn read(folder: &Path) -> Result<Self, InvalidSettings> {
        let path = folder.join(FILE);
        let failed = |what: String| InvalidSettings::File {
            path: path.clone(),
            what,
        };
        let bytes = crate::file::read(&path, LIMIT).map_err(|error| failed(error.to_string()))?;
        let settings: Self = serde_json::from_slice(&bytes).map_err(|error| {
            failed(format!(
                "damaged at line {} column {}",
                error.line(),
                error.column()
            ))
        })?;
        if settings.version != 1 {
            return Err(failed(format!("format {} where 1 is known", settings.version)));
        }
        crate::pin::owned_by_root(&fs::metadata(&path).map_err(|error| failed(error.to_string()))?)
            .map_err(|error| failed(error.to_string()))?;
        Ok(settings)
    }

    /// The runtime behind a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn runtime(&self, name: &str, folder: &Path) -> Result<&Runtime, InvalidSettings> {
        let unknown = || InvalidSettings::Name {
            name: name.chars().take(40).collect(),
            path: folder.join(FILE),
        };
        self.runtimes.get(name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_runtime_is_found_in_the_usual_places_and_never_in_the_gates_own() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let [gate, first, second] = ["gate", "first", "second"].map(|name| {
            fs::create_dir(root.join(name)).unwrap();
            root.join(name)
        });
        fs::write(gate.join("runc"), b"the gate").unwrap();
        symlink(gate.join("runc"), first.join("runc")).unwrap();
        fs::create_dir(first.join("crun")).unwrap();
        fs::write(second.join("runc"), b"the runtime").unwrap();
        let folders = [gate.clone(), first, root.join("absent"), second.clone()];
        let found = |name| found(name, &folders, &gate).collect::<Vec<_>>();
        assert_eq!(found("runc"), [second.join("runc")]);
        // Moved aside, it is still there.
        fs::rename(second.join("runc"), second.join("runc.verger-real")).unwrap();
        symlink(gate.join("runc"), second.join("runc")).unwrap();
        assert_eq!(found("runc"), [second.join("runc.verger-real")]);
        for name in ["crun", "", ".", "..", "../second/runc", "verger-gate"] {
            assert_eq!(found(name), Vec::<PathBuf>::new(), "{name}");
        }
    }
}
