//! The `config` block of a workload, as stated.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::control::words;
use crate::digest::Digest;

/// What a person said about one field.
///
/// Absent is never "don't care": `compile` reads it as the image's own value or the least-privilege row
/// of the published table. Opting out is the word `any`, and shows as *not evaluated*.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stated<T> {
    /// Nothing was written.
    #[default]
    Absent,
    /// The word `any`.
    Any,
    /// A value.
    Is(T),
}

impl<T> Stated<T> {
    /// Whether nothing was written.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Serialize> Serialize for Stated<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Any => serializer.serialize_str("any"),
            Self::Is(value) => value.serialize(serializer),
        }
    }
}

/// The blessed configuration (03-policy-model, "Workload, in full").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Digests of the OCI image *configs* that are blessed. At least one; `any` is not accepted here.
    pub images: std::collections::BTreeSet<Digest>,
    /// The full argv. Absent: the image's entrypoint and command.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub command: Stated<Vec<String>>,
    /// Absent: exactly the image's environment.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub env: Stated<EnvRule>,
    /// Absent: the image's user.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub user: Stated<UserSpec>,
    /// Absent: the image's working directory.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub working_dir: Stated<String>,
    /// Capabilities kept (`CAP_NET_BIND_SERVICE` …); everything else is dropped. Absent: none.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub capabilities: Stated<std::collections::BTreeSet<String>>,
    /// Absent: true.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub no_new_privileges: Stated<bool>,
    /// Absent: `default`.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub seccomp: Stated<Seccomp>,
    /// Absent: `readOnly`.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub rootfs: Stated<Rootfs>,
    /// Each absent member: `own`.
    #[serde(skip_serializing_if = "Namespaces::is_absent")]
    pub namespaces: Namespaces,
    /// Absent: none, beyond those the runtime adds itself.
    #[serde(skip_serializing_if = "Stated::is_absent", serialize_with = "sorted")]
    pub mounts: Stated<Vec<Mount>>,
    /// Absent: none, beyond those the runtime adds itself.
    #[serde(skip_serializing_if = "Stated::is_absent", serialize_with = "sorted")]
    pub devices: Stated<Vec<Device>>,
    /// Kernel parameters set in the container's namespaces. Absent: none.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub sysctls: Stated<BTreeMap<String, String>>,
    /// Each absent member: no limit set by the runtime.
    #[serde(skip_serializing_if = "Limits::is_absent")]
    pub limits: Limits,
    /// Published ports. Absent: none is published.
    #[serde(skip_serializing_if = "Stated::is_absent", serialize_with = "sorted")]
    pub ports: Stated<Vec<Port>>,
    /// Paths hidden in the container. Absent: at least those of the runtimes' published default.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub masked_paths: Stated<std::collections::BTreeSet<String>>,
    /// Paths made read-only. Absent: at least those of the runtimes' published default.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub readonly_paths: Stated<std::collections::BTreeSet<String>>,
}

// A list that is a set has one spelling in canonical bytes. The derived order of these types is that of their keys.
fn sorted<T: Serialize + Ord, S: Serializer>(
    list: &Stated<Vec<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match list {
        Stated::Is(items) => {
            let mut items: Vec<&T> = items.iter().collect();
            items.sort();
            items.serialize(serializer)
        }
        other => other.serialize(serializer),
    }
}

/// Which environment variables there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvRule {
    /// Must be there with exactly this value. The image's own variables may be there too, with the image's values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub require: BTreeMap<String, String>,
    /// Names (a trailing `*` is a glob) that may have any value. A glob never covers the names that change
    /// how a program is loaded or found: `LD_*`, `PATH` and their like.
    #[serde(skip_serializing_if = "std::collections::BTreeSet::is_empty")]
    pub allow: std::collections::BTreeSet<String>,
}

/// The ids a process starts with, as seen inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserSpec {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    #[serde(skip_serializing_if = "std::collections::BTreeSet::is_empty")]
    pub groups: std::collections::BTreeSet<u32>,
}

/// Which seccomp filter is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// The runtime's default profile.
    Default,
    /// No filter.
    Unconfined,
    /// The profile with this digest (of the canonical JSON of `linux.seccomp` in the OCI config).
    Profile(Digest),
}

impl Serialize for Seccomp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_str("default"),
            Self::Unconfined => serializer.serialize_str("unconfined"),
            Self::Profile(digest) => digest.serialize(serializer),
        }
    }
}

words! {
    /// Whether the root file system may be written.
    Rootfs {
        /// It may not.
        ReadOnly = "readOnly",
        /// It may.
        Writable = "writable",
    }
}

words! {
    /// Whether a mount may be written.
    Access {
        /// Read only.
        Ro = "ro",
        /// Read and write.
        Rw = "rw",
    }
}

words! {
    /// Where mounts that are made below a mount later are passed on to (mount_namespaces(7), "Shared subtrees"). With an `r` it
    /// holds of what is mounted below it too.
    Propagation {
        /// Nowhere.
        Private = "private",
        /// Nowhere.
        Rprivate = "rprivate",
        /// From the host into the container.
        Slave = "slave",
        /// From the host into the container.
        Rslave = "rslave",
        /// Both ways: what the container mounts there, the host sees.
        Shared = "shared",
        /// Both ways: what the container mounts there, the host sees.
        Rshared = "rshared",
    }
}

/// Whose namespace of a type a container has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceMode {
    /// One of its own (network: also `none`, see [`NamespaceMode::None`]).
    Own,
    /// The host's.
    Host,
    /// Network only: one of its own with nothing but loopback.
    None,
    /// That of another workload's container.
    Workload(super::Name),
}

impl Serialize for NamespaceMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own => serializer.serialize_str("own"),
            Self::Host => serializer.serialize_str("host"),
            Self::None => serializer.serialize_str("none"),
            Self::Workload(name) => serializer.collect_str(&format_args!("workload:{name}")),
        }
    }
}

/// The namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// Network.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub network: Stated<NamespaceMode>,
    /// System V IPC and POSIX message queues, and /dev/shm.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub ipc: Stated<NamespaceMode>,
    /// Processes.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub pid: Stated<NamespaceMode>,
    /// Host name.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub uts: Stated<NamespaceMode>,
    /// Users.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub user: Stated<NamespaceMode>,
    /// Control groups.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub cgroup: Stated<NamespaceMode>,
}

impl Namespaces {
    /// Whether nothing was written of any of them.
    pub fn is_absent(&self) -> bool {
        let Self {
            network,
            ipc,
            pid,
            uts,
            user,
            cgroup,
        } = self;
        [network, ipc, pid, uts, user, cgroup]
            .into_iter()
            .all(Stated::is_absent)
    }

    /// The workloads whose namespaces are shared.
    pub fn workloads(&self) -> impl Iterator<Item = &super::Name> {
        let Self {
            network,
            ipc,
            pid,
            uts,
            user,
            cgroup,
        } = self;
        [network, ipc, pid, uts, user, cgroup]
            .into_iter()
            .filter_map(|mode| match mode {
                Stated::Is(NamespaceMode::Workload(name)) => Some(name),
                _ => None,
            })
    }
}

/// Where a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountSource {
    /// `volume:NAME`: a named volume of the runtime.
    Volume(String),
    /// `volume`: an anonymous volume of the runtime.
    AnonymousVolume,
    /// `bind:/PATH`: a path of the host.
    Bind(String),
    /// `tmpfs`.
    Tmpfs,
}

impl Serialize for MountSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Volume(name) => serializer.collect_str(&format_args!("volume:{name}")),
            Self::AnonymousVolume => serializer.serialize_str("volume"),
            Self::Bind(path) => serializer.collect_str(&format_args!("bind:{path}")),
            Self::Tmpfs => serializer.serialize_str("tmpfs"),
        }
    }
}

/// One mount. A list of them is a set keyed by target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// Where it comes from.
    pub source: MountSource,
    /// Read or write. Absent in a file: `ro`.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub access: Stated<Access>,
    /// Options that must be on: of `nosuid`, `nodev`, `noexec`.
    #[serde(skip_serializing_if = "std::collections::BTreeSet::is_empty")]
    pub options: std::collections::BTreeSet<String>,
    /// Where mounts made below it are passed on to. Absent: `rprivate` for a bind; for a volume, whatever passes nothing to the
    /// host. Never stated for a tmpfs.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub propagation: Stated<Propagation>,
}

/// One device node. A list of them is a set keyed by path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Absolute path in the container.
    pub path: String,
    /// Of `r`, `w`, `m` (mknod), in this order.
    pub access: String,
}

/// Limits set by the runtime. Bytes, counts, thousandths of a core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Memory, bytes.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub memory: Stated<u64>,
    /// Number of processes and threads.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub pids: Stated<u64>,
    /// CPU, thousandths of a core (`1500` is one and a half; written `1.5` or `1500m`).
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub cpu: Stated<u64>,
    /// Resource limits (`nofile` …, see getrlimit(2)), by lower-case name without `RLIMIT_`.
    #[serde(skip_serializing_if = "Stated::is_absent")]
    pub rlimits: Stated<BTreeMap<String, Rlimit>>,
}

impl Limits {
    /// Whether nothing was written of any of them.
    pub fn is_absent(&self) -> bool {
        let Self {
            memory,
            pids,
            cpu,
            rlimits,
        } = self;
        memory.is_absent() && pids.is_absent() && cpu.is_absent() && rlimits.is_absent()
    }
}

/// A soft and a hard limit; `u64::MAX` is no limit, written `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rlimit {
    /// What holds.
    #[serde(serialize_with = "number_or_unlimited")]
    pub soft: u64,
    /// What the process may raise it to.
    #[serde(serialize_with = "number_or_unlimited")]
    pub hard: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn number_or_unlimited<S: Serializer>(limit: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match *limit {
        u64::MAX => serializer.serialize_str("unlimited"),
        limit => serializer.serialize_u64(limit),
    }
}

/// One port. A list of them is a set keyed by `listen`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// `8080/tcp`: number and protocol (`tcp`, `udp`, `sctp`) inside the container.
    pub listen: String,
    /// Where the host publishes it.
    pub publish: Publish,
}

/// Where the host publishes a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Publish {
    /// Nowhere.
    None,
    /// `ADDRESS:PORT`; `0.0.0.0` and `::` are one wildcard address, written `*`.
    At(std::collections::BTreeSet<String>),
}

impl Serialize for Publish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::At(places) => places.serialize(serializer),
        }
    }
}
