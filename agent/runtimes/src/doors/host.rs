//! Which processes are root's on this host and in no container. Read of files that everybody may read, so that a name alone, which
//! any process may give itself (`PR_SET_NAME`), makes nobody a daemon or a shim.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::proc::container_ids;

/// This host, as this process is on it.
#[derive(Debug)]
pub(super) struct Host {
    /// Ids of containers that this process itself is in.
    own: BTreeSet<String>,
}

impl Host {
    pub(super) fn of_this_process() -> Self {
        Self {
            own: container_ids(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default()),
        }
    }

    /// Processes of root's on this host whose name, of which the kernel keeps 15 bytes, begins so.
    pub(super) fn named(&self, name: &str) -> io::Result<Vec<u32>> {
        let name = name.get(..15).unwrap_or(name).as_bytes();
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if comm(pid).is_some_and(|comm| comm.starts_with(name)) && self.has(pid) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }

    /// Whether a process is root's, of this host. One that has ended is not.
    pub(super) fn has(&self, pid: u32) -> bool {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}"));
        match (read("status"), read("cgroup")) {
            (Ok(status), Ok(cgroup)) => {
                is_roots(&status) && container_ids(&String::from_utf8_lossy(&cgroup)).is_subset(&self.own)
            }
            _ => false,
        }
    }
}

/// The name of a process, without the line's end.
pub(super) fn comm(pid: u32) -> Option<Vec<u8>> {
    let mut comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    comm.pop_if(|last| *last == b'\n');
    Some(comm)
}

/// Whether `/proc/PID/status` (proc_pid_status(5)) is of a process that is uid 0 in every way, and has one pid only: it is in the
/// pid namespace that is looked from. A name in it has no line ends: the kernel writes them as `\n`.
pub(super) fn is_roots(status: &[u8]) -> bool {
    let values = |key: &[u8]| {
        let mut lines = status.split(|byte| *byte == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(key))?;
        Some(
            std::str::from_utf8(line)
                .ok()?
                .split_ascii_whitespace()
                .collect::<Vec<_>>(),
        )
    };
    values(b"Uid:").is_some_and(|uids| uids == ["0"; 4])
        && values(b"NSpid:").is_some_and(|pids| pids.len() == 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    #[test]
    fn only_root_of_this_pid_namespace_counts() {
        for (status, expected) in [
            ("Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t7\n", true),
            ("Name:\tx\nUid:\t1000\t0\t0\t0\nNSpid:\t7\n", false),
            ("Name:\tx\nUid:\t0\t0\t0\t1000\nNSpid:\t7\n", false),
            ("Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t7\t1\n", false),
            ("Name:\tUid:\t0\t0\t0\t0\nUid:\t1\t1\t1\t1\nNSpid:\t7\n", false),
            ("Uid:\t0\t0\t0\t0\n", false),
            ("", false),
        ] {
            assert_eq!(is_roots(status.as_bytes()), expected, "{status:?}");
        }
    }

    #[test]
    fn a_name_alone_makes_nobody_a_shim() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("containerd-shim-test");
        fs::copy("/bin/sleep", &program).unwrap();
        let host = Host::of_this_process();
        if !host.has(std::process::id()) {
            // Only root can be, and can start, both.
            return;
        }
        let begin = |uid: u32| -> Child { Command::new(&program).arg("60").uid(uid).spawn().unwrap() };
        let (mut roots, mut other) = (begin(0), begin(65_534));
        let found = host.named("containerd-shim").unwrap();
        for child in [&mut roots, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let among = |child: &Child| found.contains(&child.id());
        assert_eq!((among(&roots), among(&other)), (true, false));
        assert!(!host.has(roots.id()), "it has ended");
    }
}
