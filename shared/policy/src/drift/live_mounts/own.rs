//! Mounts that runtimes make in every container by themselves, as the kernel shows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{ConfigFacts, Evidence, LiveMount, MountFacts, NamespaceOwner, is_per_container};
use crate::model::Access;

/// Whether a mount is the runtime's own.
pub(super) enum Own {
    /// It is.
    Yes,
    /// It was, and has been made writable.
    Writable,
    /// It is not.
    No,
}

/// Device nodes that are bound from the host where a container may not make nodes (own user namespace).
const NODES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
const CGROUPS: &str = "/sys/fs/cgroup";
/// Where Podman keeps what it writes for its containers.
const PODMANS: &str = "/overlay-containers/";

/// Whether a file system is of the type that was given: a `cgroup` is a cgroup2 where the host has that, and a tmpfs with one
/// cgroup mount per controller where it has version 1.
pub(super) fn is_type(given: &str, live: &str) -> bool {
    match given {
        "" => true,
        "cgroup" | "cgroup2" => matches!(live, "cgroup" | "cgroup2" | "tmpfs"),
        given => given == live,
    }
}

pub(super) fn judge(config: &ConfigFacts, given: &BTreeMap<&str, &MountFacts>, mount: &LiveMount) -> Own {
    let LiveMount {
        target,
        fstype,
        root,
        options,
        source,
        ..
    } = mount;
    let (target, fstype, read_only) = (target.as_str(), fstype.as_str(), options.contains("ro"));
    let own = |holds: bool| if holds { Own::Yes } else { Own::No };
    let own_read_only = |holds: bool| match (holds, read_only) {
        (false, _) => Own::No,
        (true, true) => Own::Yes,
        (true, false) => Own::Writable,
    };
    let holds = |paths: &Evidence<BTreeSet<String>>| paths.seen().is_some_and(|paths| paths.contains(target));
    match target {
        "/proc" => return own(fstype == "proc"),
        "/dev" => return own(fstype == "tmpfs"),
        "/dev/pts" | "/dev/console" => return own(fstype == "devpts"),
        "/dev/mqueue" => return own(fstype == "mqueue"),
        // The host's own comes with its IPC namespace.
        "/dev/shm" => {
            let hosts = config.namespaces.ipc != Evidence::Seen(NamespaceOwner::Own);
            return own(fstype == "tmpfs" && (source == "shm" || hosts));
        }
        // Writable they were given, and so are among the mounts given.
        "/sys" => return own_read_only(fstype == "sysfs"),
        // Version 1 has an empty, writable tmpfs there, in which the controllers are mounted.
        CGROUPS if fstype == "tmpfs" => return Own::Yes,
        CGROUPS => return own_read_only(matches!(fstype, "cgroup" | "cgroup2")),
        _ => {}
    }
    if target.starts_with("/sys/fs/cgroup/") {
        let writable = given.get(CGROUPS).is_some_and(|given| given.access == Access::Rw);
        let cgroup = matches!(fstype, "cgroup" | "cgroup2");
        return if writable {
            own(cgroup)
        } else {
            own_read_only(cgroup)
        };
    }
    // A mask: an empty read-only tmpfs over a directory, /dev/null over a file.
    if holds(&config.masked_paths) {
        let null = matches!(fstype, "tmpfs" | "devtmpfs") && root == "/null";
        return if null {
            Own::Yes
        } else {
            own_read_only(fstype == "tmpfs")
        };
    }
    if holds(&config.readonly_paths) {
        let kernels = [("/proc/", "proc"), ("/sys/", "sysfs")];
        let of_kernel = kernels.iter().find(|(path, _)| target.starts_with(path));
        return own_read_only(of_kernel.is_none_or(|(_, wanted)| *wanted == fstype));
    }
    if let Some(node) = target.strip_prefix("/dev/") {
        let known = NODES.contains(&node)
            || config
                .devices
                .seen()
                .is_some_and(|devices| devices.contains_key(target));
        return own(known && fstype == "devtmpfs" && root.rsplit('/').next() == node.rsplit('/').next());
    }
    let init = || {
        let argv = config.command.seen();
        argv.and_then(|argv| argv.first())
            .is_some_and(|first| first == target)
    };
    match target {
        "/sbin/docker-init" => own_read_only(init()),
        "/etc/resolv.conf" => own(is_per_container(root, "resolv.conf")),
        "/etc/hostname" => own(is_per_container(root, "hostname")),
        "/etc/hosts" => own(is_per_container(root, "hosts")),
        "/run/.containerenv" => own(is_per_container(root, ".containerenv")),
        // Podman alone binds these.
        "/etc/passwd" => own(root.contains(PODMANS) && is_per_container(root, "passwd")),
        "/etc/group" => own(root.contains(PODMANS) && is_per_container(root, "group")),
        _ => Own::No,
    }
}
