//! The configuration of an instance as observed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{BeyondFacts, Evidence};
use crate::digest::Digest;
use crate::model::{Access, Propagation, Rlimit};

/// What an image's config says of how to run it (OCI image-spec, `config`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImageDefaults {
    /// Entrypoint then Cmd.
    pub command: Vec<String>,
    /// Environment, by name.
    pub env: BTreeMap<String, String>,
    /// `user`, `uid`, `uid:gid` … as written; empty is root.
    pub user: String,
    /// Working directory; empty is `/`.
    pub working_dir: String,
    /// Declared anonymous volumes, which runtimes mount by themselves.
    pub volumes: BTreeSet<String>,
}

/// One observed configuration. Every member is what the kernel or the runtime was given, not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigFacts {
    /// The whole argv of the first process. `docker run --init` shows in it (`/sbin/docker-init -- …`), and nowhere else:
    /// another first process is another command.
    pub command: Evidence<Vec<String>>,
    /// The environment of the first process.
    pub env: Evidence<EnvFacts>,
    /// Ids of the first process, as seen inside.
    pub user: Evidence<UserFacts>,
    /// Working directory of the first process.
    pub working_dir: Evidence<String>,
    /// The capabilities given.
    pub capabilities: Evidence<CapabilityFacts>,
    /// NoNewPrivs.
    pub no_new_privileges: Evidence<bool>,
    /// The seccomp filter.
    pub seccomp: Evidence<SeccompFacts>,
    /// Whether the root file system is read-only.
    pub rootfs_readonly: Evidence<bool>,
    /// Whose namespaces it has.
    pub namespaces: NamespaceFacts,
    /// Mounts, without those every runtime adds itself (recognised by shape), by target.
    pub mounts: Evidence<BTreeMap<String, MountFacts>>,
    /// Devices beyond those every runtime adds itself, by path.
    pub devices: Evidence<BTreeMap<String, DeviceFacts>>,
    /// Kernel parameters set, those that runtimes set themselves included ([`RUNTIME_SYSCTLS`]).
    pub sysctls: Evidence<BTreeMap<String, String>>,
    /// Limits set.
    pub limits: LimitFacts,
    /// Published ports.
    pub ports: Evidence<Vec<PortFacts>>,
    /// Paths hidden.
    pub masked_paths: Evidence<BTreeSet<String>>,
    /// Paths made read-only.
    pub readonly_paths: Evidence<BTreeSet<String>>,
    /// AppArmor profile given, if any.
    pub apparmor: Evidence<Option<String>>,
    /// What the runtime is asked besides.
    pub beyond: Evidence<BeyondFacts>,
}

/// An environment: by name; entries without `=` have an empty value. A variable that is given twice, with different values, has
/// none that all agree on (getenv(3) takes the first, runc(8) hands on the last): its values are joined by NUL, which no value
/// can hold, so that they equal nothing that was blessed.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct EnvFacts(pub BTreeMap<String, String>);

impl EnvFacts {
    /// Adds an entry, `NAME=VALUE` or `NAME`.
    pub(super) fn give(&mut self, name: &str, value: &str) {
        match self.0.get_mut(name) {
            Some(held) if held == value => {}
            Some(held) => {
                held.push('\0');
                held.push_str(value);
            }
            None => {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// A variable that was given twice, with different values.
    pub fn ambiguous(&self) -> Option<&str> {
        let mut given = self.0.iter();
        given
            .find(|(_, value)| value.contains('\0'))
            .map(|(name, _)| name.as_str())
    }
}

// Values of environment variables are often secrets: they never reach a log.
impl std::fmt::Debug for EnvFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Capabilities as given by the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CapabilityFacts {
    /// Bounding, permitted, effective, inheritable and ambient set united, as a mask
    /// ([`capabilities`](super::capabilities)).
    pub given: u64,
    /// The ambient set: what a process that is not root has after execve(2).
    pub ambient: u64,
    /// Names this version does not know.
    pub unnamed: BTreeSet<String>,
}

/// Ids of the first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserFacts {
    /// User id inside.
    pub uid: Evidence<u32>,
    /// Group id inside.
    pub gid: Evidence<u32>,
    /// Supplementary groups inside, without `gid` (which Docker lists among them).
    pub groups: Evidence<BTreeSet<u32>>,
    /// The user as it was asked for (`nobody`, `1000:1000` …), the image's own where nothing was asked for.
    pub requested: Evidence<String>,
    /// Groups asked for beyond those of the image, names or numbers.
    pub added_groups: Evidence<BTreeSet<String>>,
    /// The host's uid that `uid` is mapped to, where a user namespace is used; `uid` itself where none is.
    pub host_uid: Evidence<u32>,
}

/// A seccomp filter, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SeccompFacts {
    /// No filter.
    Unconfined,
    /// A filter.
    Profile {
        /// Digest of the canonical JSON of `linux.seccomp`. Missing where only the runtime was asked.
        digest: Evidence<Digest>,
        /// Whether the runtime says it is its default profile. Missing where only an OCI config was seen.
        runtime_default: Evidence<bool>,
    },
}

/// Whose namespace it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum NamespaceOwner {
    /// Its own.
    Own,
    /// Its own, and nothing but loopback in it (network only). Only the runtime tells this from [`Self::Own`].
    Isolated,
    /// The host's.
    Host,
    /// That of another instance, by full id where it is known.
    Instance(String),
}

/// The namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamespaceFacts {
    /// Network.
    pub network: Evidence<NamespaceOwner>,
    /// IPC.
    pub ipc: Evidence<NamespaceOwner>,
    /// PID.
    pub pid: Evidence<NamespaceOwner>,
    /// UTS.
    pub uts: Evidence<NamespaceOwner>,
    /// User.
    pub user: Evidence<NamespaceOwner>,
    /// Cgroup.
    pub cgroup: Evidence<NamespaceOwner>,
}

/// Where a mount comes from, as observed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum MountOrigin {
    /// A named volume.
    Volume(String),
    /// A volume the runtime named.
    AnonymousVolume,
    /// A path of the host.
    Bind(String),
    /// A tmpfs.
    Tmpfs,
    /// Another file system type.
    Other(String),
}

/// One observed mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountFacts {
    /// Where it comes from.
    pub origin: MountOrigin,
    /// Whether it may be written.
    pub access: Access,
    /// Of `nosuid`, `nodev`, `noexec`, those that are on.
    pub options: BTreeSet<String>,
    /// Where mounts made below it are passed on to. Of no account for what is no bind and no volume.
    pub propagation: Evidence<Propagation>,
    /// The path of the host that is mounted, as the runtime was given it: symbolic links in it are not resolved. None for what is
    /// no bind and no volume.
    pub host_path: Option<String>,
}

impl MountFacts {
    /// Whether what is mounted below it in the container shows on the host.
    pub fn is_shared(&self) -> bool {
        matches!(
            self.propagation,
            Evidence::Seen(Propagation::Shared | Propagation::Rshared)
        )
    }
}

/// One observed device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceFacts {
    /// Of `rwm`, in this order.
    pub access: String,
    /// The device of the host it is. Missing where only an OCI config was seen.
    pub host_path: Evidence<String>,
}

/// Observed limits; `Seen(None)` is "no limit".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitFacts {
    /// Bytes.
    pub memory: Evidence<Option<u64>>,
    /// Processes and threads.
    pub pids: Evidence<Option<u64>>,
    /// Thousandths of a core.
    pub cpu: Evidence<Option<u64>>,
    /// By lower-case name without `RLIMIT_`; `u64::MAX` is unlimited.
    pub rlimits: Evidence<BTreeMap<String, Rlimit>>,
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PortFacts {
    /// `8080/tcp`.
    pub listen: String,
    /// `ADDRESS:PORT` on the host; wildcard addresses are `*`.
    pub publish: BTreeSet<String>,
}

/// Kernel parameters that runtimes set in a network namespace without being asked.
pub const RUNTIME_SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// Paths that every release of Docker, Podman and containerd hides by default (moby `oci/defaults.go`); later ones hide
/// more.
pub const RUNTIME_MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

/// Paths that every release of them makes read-only by default.
pub const RUNTIME_READONLY_PATHS: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Paths of the kernel's own file systems that later runtimes, or Podman (`pkg/specgen/generate/config_linux.go`), hide besides. For each
/// processor later ones also hide `/sys/devices/system/cpu/cpuN/thermal_throttle`.
pub const LATER_MASKED_PATHS: &[&str] = &[
    "/proc/interrupts",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/fs/selinux",
];

/// The search path that runtimes set where nothing else does.
pub const RUNTIME_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl ConfigFacts {
    /// Facts of which nothing could be observed, for this reason.
    pub fn missing(reason: &str) -> Self {
        Self {
            command: Evidence::missing(reason),
            env: Evidence::missing(reason),
            user: Evidence::missing(reason),
            working_dir: Evidence::missing(reason),
            capabilities: Evidence::missing(reason),
            no_new_privileges: Evidence::missing(reason),
            seccomp: Evidence::missing(reason),
            rootfs_readonly: Evidence::missing(reason),
            namespaces: NamespaceFacts {
                network: Evidence::missing(reason),
                ipc: Evidence::missing(reason),
                pid: Evidence::missing(reason),
                uts: Evidence::missing(reason),
                user: Evidence::missing(reason),
                cgroup: Evidence::missing(reason),
            },
            mounts: Evidence::missing(reason),
            devices: Evidence::missing(reason),
            sysctls: Evidence::missing(reason),
            limits: LimitFacts {
                memory: Evidence::missing(reason),
                pids: Evidence::missing(reason),
                cpu: Evidence::missing(reason),
                rlimits: Evidence::missing(reason),
            },
            ports: Evidence::missing(reason),
            masked_paths: Evidence::missing(reason),
            readonly_paths: Evidence::missing(reason),
            apparmor: Evidence::missing(reason),
            beyond: Evidence::missing(reason),
        }
    }
}
