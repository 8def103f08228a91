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

/// Whether an annotation only describes: no runtime does anything because of it. Those of an image do, whatever they say (OCI
/// image-spec, annotations). Of those that Podman writes (libpod `define/annotations.go`) the ones that say what it was asked for do so where what
/// they say is nothing, or is judged by what came of it.
pub(super) fn describes(name: &str, value: &str) -> bool {
    let is_flag = |value: &str| matches!(value, "TRUE" | "FALSE");
    match name {
        "io.container.manager" => value == "libpod",
        "io.kubernetes.cri-o.Created" => value.parse::<jiff::Timestamp>().is_ok(),
        "io.kubernetes.cri-o.TTY" => matches!(value, "true" | "false"),
        "io.podman.annotations.autoremove" | "io.podman.annotations.init" => is_flag(value),
        // Where they are asked for, something follows that is to be told.
        "io.podman.annotations.privileged" | "io.podman.annotations.publish-all" => value == "FALSE",
        // Where its own program writes its id, and which profile was asked for: the profile itself is judged.
        "io.podman.annotations.cid-file" | "io.podman.annotations.seccomp" => true,
        _ => name.starts_with("org.opencontainers.image."),
    }
}

#[cfg(test)]
mod tests {
    use super::describes;

    #[test]
    fn what_podman_writes_describes_where_it_says_nothing_and_what_it_does_not_never_does() {
        for (name, value) in [
            ("io.container.manager", "libpod"),
            ("io.kubernetes.cri-o.Created", "2026-11-26T19:06:07.652752421Z"),
            ("io.kubernetes.cri-o.Created", "2026-11-26T19:06:07.6+02:00"),
            ("io.kubernetes.cri-o.TTY", "true"),
            ("io.podman.annotations.autoremove", "TRUE"),
            ("io.podman.annotations.init", "FALSE"),
            ("io.podman.annotations.privileged", "FALSE"),
            ("io.podman.annotations.publish-all", "FALSE"),
            ("io.podman.annotations.seccomp", "unconfined"),
            ("org.opencontainers.image.stopSignal", "15"),
        ] {
            assert!(describes(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("io.container.manager", "crio"),
            ("io.kubernetes.cri-o.Created", "x"),
            ("io.kubernetes.cri-o.TTY", "TRUE"),
            ("io.kubernetes.cri-o.ContainerType", "container"),
            ("io.kubernetes.cri-o.SandboxID", "x"),
            ("io.podman.annotations.init", "yes"),
            ("io.podman.annotations.privileged", "TRUE"),
            ("io.podman.annotations.publish-all", "TRUE"),
            ("io.podman.annotations.volumes-from", "x"),
            ("io.podman.annotations.label", "disable"),
            ("io.podman.annotations.userns", "auto"),
            ("io.podman.annotations.", ""),
            ("run.oci.handler", "krun"),
            ("run.oci.keep_original_groups", "1"),
            ("org.systemd.property.DefaultDependencies", "false"),
            ("", ""),
        ] {
            assert!(!describes(name, value), "{name}={value}");
        }
    }
}
