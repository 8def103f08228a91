//! What `/proc` shows of an instance now (proc(5), user_namespaces(7), capabilities(7)).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::Evidence;
use crate::model::{Rlimit, printable_within};

/// The live view of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveFacts {
    /// The process the runtime calls the first.
    pub init_pid: u32,
    /// Every process found by cgroup or by a namespace it shares with the first process, and after it each of its threads that
    /// is not like it: on Linux ids, capabilities, seccomp and most namespaces are a thread's own.
    pub processes: Vec<ProcessFacts>,
    /// The mounts the first process sees now.
    pub mounts: Evidence<Vec<LiveMount>>,
    /// Of the paths below `/proc` and `/sys` that runtimes hide or make read-only, whether this kernel has them.
    pub kernel_paths: Evidence<BTreeMap<String, bool>>,
}

/// One process, or one of its threads that is not like it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessFacts {
    /// Its pid on the host.
    pub pid: u32,
    /// The thread (its tid on the host) that this is about, where it is not like the first one that runs. Of threads that are
    /// like each other there is one.
    pub thread: Option<u32>,
    /// Its start time in clock ticks after boot: with the pid, its identity.
    pub start_ticks: u64,
    /// Its command name; hostile bytes.
    pub comm: String,
    /// Whether it is in the instance's cgroup (or below).
    pub in_cgroup: bool,
    /// Namespaces it shares with the first process, of `mnt pid net ipc uts user cgroup`.
    pub shared_namespaces: BTreeSet<&'static str>,
    /// Its namespaces.
    pub namespaces: Evidence<NamespaceIds>,
    /// Real, effective, saved and file-system uid, as the host sees them.
    pub uids: [u32; 4],
    /// Real, effective, saved and file-system gid, as the host sees them.
    pub gids: [u32; 4],
    /// Supplementary groups, as the host sees them.
    pub groups: BTreeSet<u32>,
    /// Capability sets.
    pub caps: CapSets,
    /// NoNewPrivs.
    pub no_new_privs: bool,
    /// Seccomp mode.
    pub seccomp: SeccompMode,
    /// Whether its user namespace is the host's.
    pub host_user_namespace: Evidence<bool>,
    /// Resource limits by lower-case name without `RLIMIT_`; `u64::MAX` is unlimited.
    pub limits: Evidence<BTreeMap<&'static str, Rlimit>>,
    /// The exec that it came of, where one is known: as evidence. What is found of a process does not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_by: Option<StartedBy>,
}

/// The exec that started a process, or one that it descends from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StartedBy {
    /// The runtime's id of it: 64 hexadecimal digits.
    pub exec: String,
    /// When the runtime was let launch it.
    pub at: Timestamp,
    /// Who had it started, as roles name them (`local/1000`, `person/ada`). None: it did not come by the proxy.
    pub caller: Option<String>,
}

impl fmt::Display for StartedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exec, at, caller } = self;
        let caller = caller.as_deref().unwrap_or("somebody past the proxy");
        let exec = exec.get(..12).unwrap_or(exec);
        write!(
            f,
            "{} at {} (exec {})",
            printable_within(caller, 300),
            at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            printable_within(exec, 12)
        )
    }
}

/// Inode numbers of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct NamespaceIds {
    pub mnt: u64,
    pub pid: u64,
    pub net: u64,
    pub ipc: u64,
    pub uts: u64,
    pub user: u64,
    pub cgroup: u64,
}

/// Capability sets as bit masks (bit n is capability number n of capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct CapSets {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
}

/// `Seccomp:` of /proc/PID/status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SeccompMode {
    /// 0.
    Disabled,
    /// 1.
    Strict,
    /// 2.
    Filter,
}

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveMount {
    /// Where it is mounted, as the process sees it.
    pub target: String,
    /// File system type.
    pub fstype: String,
    /// Path inside the file system that is mounted.
    pub root: String,
    /// Mount source.
    pub source: String,
    /// Per-mount options.
    pub options: BTreeSet<String>,
    /// `major:minor`.
    pub device: String,
    /// Whether it passes mounts made below it on to its peers, and takes theirs (`shared:N`).
    pub shared: bool,
    /// Whether it takes mounts made below its master (`master:N`).
    pub slave: bool,
    /// Every path of the host where the same directory or file of the same file system is mounted now, also one that another mount
    /// covers. Empty: the host has it nowhere.
    pub host_paths: Evidence<BTreeSet<String>>,
}
