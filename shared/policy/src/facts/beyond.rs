//! What a config asks of the runtime beyond what a workload can state.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Evidence;

/// What a runtime is given besides the configuration of a container: programs that it runs on the host, the folder that it takes
/// for the root file system, words for itself, and whatever of the config no check reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BeyondFacts {
    /// Programs that the runtime runs as root, outside of the container's root file system or before its own program, each with its
    /// stage. Docker's own is left out (recognised by shape).
    pub hooks: Evidence<BTreeSet<String>>,
    /// The root file system.
    pub root: RootFacts,
    /// Annotations, but for those that only describe (`describes`).
    pub annotations: BTreeMap<String, String>,
    /// The SELinux label of the first process, if any.
    pub selinux: Option<String>,
    /// Paths of fields that are set and that no check reads.
    pub unread: BTreeSet<String>,
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootFacts {
    /// The folder of the host that the runtime is given.
    pub given: String,
    /// Where the runtime's own storage keeps that of this instance.
    pub kept: Evidence<String>,
}

/// Whether an annotation only describes, whatever it says: no runtime does anything because of it (OCI image-spec, annotations).
pub(super) fn describes(name: &str) -> bool {
    name.starts_with("org.opencontainers.image.")
}
