//! What an absent field means: one published table.

use crate::facts::MountOrigin;
use crate::model::Propagation;

/// Where the meaning of an absent field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultSource {
    /// The image's own config.
    Image,
    /// The least privilege there is.
    LeastPrivilege,
    /// The field must be stated.
    Required,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Default {
    /// The field, as in a policy file, below `config`.
    pub field: &'static str,
    /// Where its meaning comes from.
    pub source: DefaultSource,
    /// What it means, as it would be written.
    pub value: &'static str,
}

const fn row(field: &'static str, source: DefaultSource, value: &'static str) -> Default {
    Default { field, source, value }
}

/// What each field of the `config` block means when it is not stated.
pub const DEFAULTS: &[Default] = {
    use DefaultSource::{Image, LeastPrivilege, Required};
    &[
        row("images", Required, ""),
        row("command", Image, "its Entrypoint and Cmd"),
        row("env", Image, "exactly its Env"),
        row("user", Image, "its User, no group added"),
        row("workingDir", Image, "its WorkingDir, or /"),
        row("capabilities", LeastPrivilege, "[]"),
        row("noNewPrivileges", LeastPrivilege, "true"),
        row("seccomp", LeastPrivilege, "default"),
        row("rootfs", LeastPrivilege, "readOnly"),
        row("namespaces.network", LeastPrivilege, "own"),
        row("namespaces.ipc", LeastPrivilege, "own"),
        row("namespaces.pid", LeastPrivilege, "own"),
        row("namespaces.uts", LeastPrivilege, "own"),
        row("namespaces.user", LeastPrivilege, "own"),
        row("namespaces.cgroup", LeastPrivilege, "own"),
        row(
            "mounts",
            LeastPrivilege,
            "[], and the anonymous volumes that the image declares",
        ),
        row("devices", LeastPrivilege, "[]"),
        row("sysctls", LeastPrivilege, "{}"),
        row("limits.memory", LeastPrivilege, "no limit is set"),
        row("limits.pids", LeastPrivilege, "no limit is set"),
        row("limits.cpu", LeastPrivilege, "no limit is set"),
        row("limits.rlimits", LeastPrivilege, "{}"),
        row("ports", LeastPrivilege, "[]"),
        row("maskedPaths", LeastPrivilege, "at least the runtimes' default"),
        row("readonlyPaths", LeastPrivilege, "at least the runtimes' default"),
    ]
};

/// Whether a mount's propagation is what an absent one means: `rprivate` for a bind; for a volume, of which runtimes have
/// different habits, whatever passes nothing to the host.
pub(crate) fn passes_as_default(origin: &MountOrigin, seen: Propagation) -> bool {
    match origin {
        MountOrigin::Volume(_) | MountOrigin::AnonymousVolume => {
            !matches!(seen, Propagation::Shared | Propagation::Rshared)
        }
        MountOrigin::Bind(_) => seen == Propagation::Rprivate,
        MountOrigin::Tmpfs | MountOrigin::Other(_) => true,
    }
}
