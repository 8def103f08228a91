//! Mounts that runtimes add to every container by themselves, recognised by shape.
//!
//! Sources: moby `oci/defaults.go` and `daemon/oci_linux.go`, Podman `libpod/container_internal_common.go`, containerd
//! `pkg/cri/server/container_create_linux.go`. The shape includes the options that matter: a `/sys` that may be
//! written is not the runtime's own.

use super::oci::OciMount;
use crate::model::Access;

/// Files that runtimes write per container and bind into it: target, name in the per-container directory.
const PER_CONTAINER: &[(&str, &str)] = &[
    ("/etc/resolv.conf", "resolv.conf"),
    ("/etc/hostname", "hostname"),
    ("/etc/hosts", "hosts"),
    ("/dev/shm", "mounts/shm"),
    ("/dev/shm", "shm"),
    ("/run/.containerenv", ".containerenv"),
    ("/run/secrets", "run/secrets"),
];

/// What the recognition depends on besides the mount itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// Whether the IPC namespace is the host's: then the host's `/dev/shm` and `/dev/mqueue` come with it.
    pub(super) host_ipc: bool,
    /// Whether argv begins with the runtime's own init.
    pub(super) init: bool,
}

/// Whether the runtime adds this mount by itself.
pub(super) fn is_runtimes_own(mount: &OciMount, around: Surroundings) -> bool {
    let OciMount {
        target,
        fstype,
        source,
        access,
        ..
    } = mount;
    let read_only = *access == Access::Ro;
    match (target.as_str(), fstype.as_str()) {
        ("/proc", "proc") | ("/dev/pts", "devpts") | ("/dev/mqueue", "mqueue") => true,
        ("/dev", "tmpfs") => source == "tmpfs",
        ("/sys", "sysfs") | ("/sys/fs/cgroup", "cgroup" | "cgroup2") => read_only,
        ("/dev/shm", "tmpfs") => source == "shm",
        ("/dev/shm" | "/dev/mqueue", "bind") if source == target => around.host_ipc,
        ("/sbin/docker-init", "bind") => around.init && read_only && source.ends_with("/docker-init"),
        (_, "bind") => PER_CONTAINER
            .iter()
            .any(|(at, file)| at == target && is_per_container(source, file)),
        _ => false,
    }
}

/// Whether a path of the host is the runtime's file `file` for some container. The container may be another one:
/// containers that share a network namespace share these files too.
pub(crate) fn is_per_container(path: &str, file: &str) -> bool {
    let Some(rest) = path.strip_suffix(file).and_then(|rest| rest.strip_suffix('/')) else {
        return false;
    };
    let rest = rest.strip_suffix("/userdata").unwrap_or(rest);
    let mut parts = rest.rsplit('/');
    parts.next().is_some_and(is_id)
        && parts
            .next()
            .is_some_and(|parent| matches!(parent, "containers" | "overlay-containers" | "sandboxes"))
}

/// 64 hex digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name of the volume whose data directory a path is, if it is one by its shape (`…/volumes/NAME/_data`).
pub(super) fn volume_name(path: &str) -> Option<&str> {
    let rest = path.strip_suffix("/_data")?;
    let (parent, name) = rest.rsplit_once('/')?;
    parent.ends_with("/volumes").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4ac6d75b77a681a84328abde48b92a324f2d5c9fa48fde906920bef335f0280d";

    fn mount(target: &str, fstype: &str, source: &str, access: Access) -> OciMount {
        OciMount {
            target: target.to_owned(),
            fstype: fstype.to_owned(),
            source: source.to_owned(),
            access,
            options: std::collections::BTreeSet::new(),
            propagation: crate::model::Propagation::Rprivate,
        }
    }

    /// The list: what Docker, Podman and containerd add themselves.
    #[test]
    fn the_runtimes_own_mounts_are_these() {
        let docker = format!("/var/lib/docker/containers/{ID}");
        let podman = format!("/var/lib/containers/storage/overlay-containers/{ID}/userdata");
        let cri = format!("/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}");
        let list = [
            mount("/proc", "proc", "proc", Access::Rw),
            mount("/dev", "tmpfs", "tmpfs", Access::Rw),
            mount("/dev/pts", "devpts", "devpts", Access::Rw),
            mount("/sys", "sysfs", "sysfs", Access::Ro),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", Access::Ro),
            mount("/sys/fs/cgroup", "cgroup2", "cgroup2", Access::Ro),
            mount("/dev/mqueue", "mqueue", "mqueue", Access::Rw),
            mount("/dev/shm", "tmpfs", "shm", Access::Rw),
            mount("/dev/shm", "bind", &format!("{docker}/mounts/shm"), Access::Rw),
            mount(
                "/etc/resolv.conf",
                "bind",
                &format!("{docker}/resolv.conf"),
                Access::Rw,
            ),
            mount("/etc/hostname", "bind", &format!("{docker}/hostname"), Access::Ro),
            mount("/etc/hosts", "bind", &format!("{docker}/hosts"), Access::Rw),
            mount("/etc/hosts", "bind", &format!("{podman}/hosts"), Access::Rw),
            mount(
                "/run/.containerenv",
                "bind",
                &format!("{podman}/.containerenv"),
                Access::Rw,
            ),
            mount(
                "/etc/resolv.conf",
                "bind",
                &format!("{cri}/resolv.conf"),
                Access::Rw,
            ),
            mount("/dev/shm", "bind", &format!("{cri}/shm"), Access::Rw),
        ];
        for mount in list {
            assert!(
                is_runtimes_own(
                    &mount,
                    Surroundings {
                        host_ipc: false,
                        init: false
                    }
                ),
                "{mount:?}"
            );
        }
    }

    #[test]
    fn look_alikes_are_not_the_runtimes_own() {
        let docker = format!("/var/lib/docker/containers/{ID}");
        let list = [
            mount("/sys", "sysfs", "sysfs", Access::Rw),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", Access::Rw),
            mount("/proc", "bind", "/proc", Access::Rw),
            mount("/dev", "bind", "/dev", Access::Rw),
            mount("/dev/shm", "bind", "/dev/shm", Access::Rw),
            mount("/dev/shm", "tmpfs", "tmpfs", Access::Rw),
            mount("/etc/hosts", "bind", "/etc/hosts", Access::Rw),
            mount("/etc/hosts", "bind", &format!("{docker}/hostname"), Access::Rw),
            mount("/etc/hosts", "bind", "/tmp/containers/short/hosts", Access::Rw),
            mount("/etc/passwd", "bind", &format!("{docker}/hosts"), Access::Rw),
            mount("/sbin/docker-init", "bind", "/usr/bin/docker-init", Access::Ro),
            mount("/data", "tmpfs", "tmpfs", Access::Rw),
        ];
        for mount in list {
            assert!(
                !is_runtimes_own(
                    &mount,
                    Surroundings {
                        host_ipc: false,
                        init: false
                    }
                ),
                "{mount:?}"
            );
        }
    }

    #[test]
    fn host_ipc_and_init_bring_their_own_mounts() {
        let around = Surroundings {
            host_ipc: true,
            init: true,
        };
        for mount in [
            mount("/dev/shm", "bind", "/dev/shm", Access::Rw),
            mount("/dev/mqueue", "bind", "/dev/mqueue", Access::Rw),
            mount("/sbin/docker-init", "bind", "/usr/bin/docker-init", Access::Ro),
        ] {
            assert!(is_runtimes_own(&mount, around), "{mount:?}");
        }
        assert!(!is_runtimes_own(
            &mount("/sbin/docker-init", "bind", "/tmp/evil", Access::Ro),
            around
        ));
    }

    #[test]
    fn volumes_are_known_by_their_directory() {
        assert_eq!(volume_name("/var/lib/docker/volumes/data/_data"), Some("data"));
        assert_eq!(volume_name("/srv/data/_data"), None);
        assert_eq!(volume_name("/volumes/x"), None);
    }
}
