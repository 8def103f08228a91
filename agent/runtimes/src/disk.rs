//! What the runtimes of a host keep on their disks of a container that is launched, and of which of them it is.
//!
//! That is told by the folder that the runtime is given, which the kernel says is the one where Docker or Podman keep it for this id; nothing
//! that a container, its name or its labels say of it counts. What is of neither (`ctr`, a builder) is not identified: its image is
//! in containerd's database alone.

use std::fs;
use std::io;
use std::path::Path;

use verger_agent_core::gate::{Bundles, Launch};
use verger_policy::facts::Instance;
use verger_policy::model::printable_within;

use crate::docker::DockerDisk;
use crate::podman::PodmanDisk;

/// The longest name that is told, characters.
const SHOWN: usize = 200;

/// Docker's files and Podman's.
#[derive(Clone, Debug)]
pub struct Disk {
    docker: DockerDisk,
    podman: PodmanDisk,
}

/// Whose a container is.
enum Of {
    Docker,
    Podman,
}

impl Disk {
    /// Of these.
    pub const fn new(docker: DockerDisk, podman: PodmanDisk) -> Self {
        Self { docker, podman }
    }

    /// Whose the container is that is made of this bundle.
    fn of_bundle(&self, bundle: &Path, id: &str) -> Result<Of, String> {
        if self.podman.is_bundle(bundle, id) {
            return Ok(Of::Podman);
        }
        if self.docker.is_bundle(bundle, id) {
            return Ok(Of::Docker);
        }
        Err(format!(
            "its bundle {} is where neither Docker nor Podman keep that of a container of this id, and of others (ctr, a builder) no image is known here; \
             where they keep it elsewhere, the agent's configuration names the place (`oci_roots`, `podman_graph_root`)",
            printable_within(&bundle.display().to_string(), SHOWN)
        ))
    }

    /// Whose the container is that was made under this id. Ids of different runtimes are apart in no way but that they are long: of two that have one
    /// id, which one is meant is not known here.
    fn of_id(&self, id: &str) -> Result<Of, String> {
        if let Some(namespace) = self.docker.stranger(id)? {
            return Err(format!(
                "containerd has a container of this id in its namespace {}, too",
                printable_within(&namespace, SHOWN)
            ));
        }
        match (self.podman.has(id), self.docker.has_bundle(id)) {
            (true, true) => Err("Docker and Podman both have a container of this id".to_owned()),
            (true, false) => Ok(Of::Podman),
            // What it has to say of one that it does not know is said there.
            (false, _) => Ok(Of::Docker),
        }
    }
}

impl Bundles for Disk {
    fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String> {
        let of = match launch {
            Launch::Config { id, bundle, .. } => self.of_bundle(bundle, id)?,
            Launch::Made { id } | Launch::Process { id, .. } => self.of_id(id)?,
        };
        match of {
            Of::Docker => self.docker.launch(launch),
            Of::Podman => self.podman.launch(launch),
        }
    }

    fn init_pid(&self, id: &str) -> Result<u32, String> {
        match self.of_id(id)? {
            Of::Docker => self.docker.init_pid(id),
            Of::Podman => self.podman.init_pid(id),
        }
    }
}

/// Another namespace of containerd's than the one of this folder of bundles that holds a bundle of this id.
///
/// # Errors
/// Why that cannot be told.
pub(crate) fn other_namespace(root: &Path, id: &str) -> Result<Option<String>, String> {
    let (Some(own), Some(all)) = (root.file_name(), root.parent()) else {
        return Ok(None);
    };
    let failed = |error: io::Error| format!("which containers containerd has: {}: {error}", all.display());
    let entries = match fs::read_dir(all) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name() == own || !entry.file_type().map_err(failed)?.is_dir() {
            continue;
        }
        let is_there = entry.path().join(id).join("config.json").try_exists();
        if is_there.map_err(failed)? {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
