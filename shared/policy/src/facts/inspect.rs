//! What Docker says of a container (`docker inspect`): what was asked for, and what only the runtime knows.
//!
//! Settings of the daemon itself (its default seccomp profile, ulimits and no-new-privileges in `daemon.json`) are not
//! in the document: where there is no OCI config to tell, Docker's own defaults are taken to hold.

mod document;
mod fallback;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::{ConfigFacts, Evidence, InvalidFacts, MountFacts, NamespaceOwner, PortFacts};
use crate::digest::Digest;
use crate::model::Labels;

const DOCUMENT: &str = "the output of `docker inspect` for one container";

/// A read inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The full id.
    pub id: String,
    /// The name, without the slash in front. Hostile bytes.
    pub name: String,
    /// Digest of the image config.
    pub image: Evidence<Digest>,
    /// Repository name the launcher used, without tag and digest; none where an id was used.
    pub image_name: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// The pid of the first process on the host; none while nothing runs.
    pub pid: Option<u32>,
    /// All that the inspection says of the configuration, for want of an OCI config.
    pub config: ConfigFacts,
    /// Where the storage keeps its root file system while it is mounted.
    pub root: Evidence<String>,
    /// The control group asked for above its own; empty where none was.
    pub cgroup_parent: String,
    /// Published ports.
    pub ports: Vec<PortFacts>,
    /// The user asked for, the image's own where none was.
    pub requested_user: String,
    /// Groups asked for.
    pub added_groups: BTreeSet<String>,
    /// Whether the seccomp profile is Docker's default one.
    pub default_seccomp: bool,
    /// The network's owner: whether there is only loopback, or whose it is.
    pub network: NamespaceOwner,
    /// The IPC namespace's owner.
    pub ipc: NamespaceOwner,
    /// The PID namespace's owner.
    pub pid_namespace: NamespaceOwner,
    /// Mounts asked for, by target.
    pub mounts: BTreeMap<String, MountFacts>,
    /// Devices asked for: path in the container to path on the host.
    pub devices: BTreeMap<String, String>,
    /// Devices asked for by capability instead of path (GPUs).
    pub device_requests: BTreeSet<String>,
}

/// Reads one inspection: the object of the API, or the array with one element that the command line prints.
///
/// # Errors
/// When the bytes are something else; names the line and column.
pub fn parse(bytes: &[u8]) -> Result<Inspected, InvalidFacts> {
    let document: document::Container = one(bytes, DOCUMENT)?;
    Ok(fallback::inspected(document))
}

/// Reads an object, or an array that holds just one.
pub(super) fn one<T: DeserializeOwned>(bytes: &[u8], document: &'static str) -> Result<T, InvalidFacts> {
    let invalid = |error: serde_json::Error| InvalidFacts::new(document, &error.to_string());
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        return serde_json::from_slice(bytes).map_err(invalid);
    }
    let mut list: Vec<T> = serde_json::from_slice(bytes).map_err(invalid)?;
    match (list.pop(), list.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(InvalidFacts::new(
            document,
            "the list is empty: nothing of that name was found",
        )),
        (Some(_), more) => Err(InvalidFacts::new(
            document,
            &format!("the list holds {}: give them one at a time", more + 1),
        )),
    }
}

/// The repository name in an image reference, without tag and digest; none where it is an image id.
pub fn repository(reference: &str, image: Option<&Digest>) -> Option<String> {
    let name = reference.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((before, after)) if !after.contains('/') => before,
        _ => name,
    };
    let is_id =
        name == "sha256" || image.is_some_and(|digest| name.len() >= 4 && digest.hex().starts_with(name));
    (!name.is_empty() && !is_id).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_lose_tag_and_digest() {
        let image = Digest::of(b"");
        for (reference, name) in [
            ("busybox", Some("busybox")),
            ("busybox:1.36", Some("busybox")),
            ("registry:5000/a/b", Some("registry:5000/a/b")),
            ("registry:5000/a/b:v1", Some("registry:5000/a/b")),
            ("registry/a@sha256:00", Some("registry/a")),
            ("registry/a:v1@sha256:00", Some("registry/a")),
            ("sha256:e3b0c44298fc", None),
            ("e3b0c44298fc", None),
            ("", None),
        ] {
            assert_eq!(
                repository(reference, Some(&image)).as_deref(),
                name,
                "{reference}"
            );
        }
    }
}
