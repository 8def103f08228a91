//! The configuration of an instance as observed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Evidence;
use crate::digest::Digest;
use crate::model::{Access, Rlimit};

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
    /// The whole argv of the first process.
    pub command: Evidence<Vec<String>>,
    /// The environment of the first process.
    pub env: Evidence<EnvFacts>,
    /// Ids of the first process, as seen inside.
    pub user: Evidence<UserFacts>,
    /// Working directory of the first process.
    pub working_dir: Evidence<String>,
    /// The bounding, permitted and ambient capabilities given, united, upper case with `CAP_`.
    pub capabilities: Evidence<BTreeSet<String>>,
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
    /// Kernel parameters set, without those every runtime sets itself.
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
}

/// An environment: by name; entries without `=` have an empty value; of a doubled name the first counts, as in getenv(3).
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct EnvFacts(pub BTreeMap<String, String>);

// Values of environment variables are often secrets: they never reach a log.
impl std::fmt::Debug for EnvFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserFacts {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups inside.
    pub groups: BTreeSet<u32>,
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
        /// Digest of the canonical JSON of `linux.seccomp`.
        digest: Digest,
        /// Whether the runtime says it is its default profile. Missing where only an OCI config was seen.
        runtime_default: Evidence<bool>,
    },
}

/// Whose namespace it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum NamespaceOwner {
    /// Its own.
    Own,
    /// Its own, and nothing but loopback in it (network only).
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MountFacts {
    /// Where it comes from.
    pub origin: MountOrigin,
    /// Whether it may be written.
    pub access: Access,
    /// Of `nosuid`, `nodev`, `noexec`, those that are on.
    pub options: BTreeSet<String>,
}

/// One observed device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DeviceFacts {
    /// Of `rwm`, in this order.
    pub access: String,
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
