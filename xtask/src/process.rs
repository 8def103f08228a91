//! Processes named by pid *and* start time, so that a reused pid is never mistaken for the one that was started.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// One process, for good: after its end no later process equals it.
///
/// The start time is field 22 of `/proc/PID/stat`, in clock ticks since boot (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRef {
    pid: i32,
    start: u64,
}

/// The fields of `/proc/PID/stat` that are needed here.
struct Stat {
    state: char,
    parent: i32,
    start: u64,
}

impl ProcessRef {
    /// Names the process that has `pid` now; `None` when there is none.
    pub(crate) fn of(pid: u32) -> io::Result<Option<Self>> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        Ok(read_stat(pid)?.map(|stat| Self {
            pid,
            start: stat.start,
        }))
    }

    /// Names the calling process.
    pub(crate) fn current() -> Result<Self> {
        Self::of(std::process::id())?.context("/proc has no entry for this very process; is /proc mounted?")
    }

    /// Tells whether it still runs. A zombie does not.
    pub(crate) fn alive(self) -> bool {
        matches!(read_stat(self.pid), Ok(Some(stat)) if stat.start == self.start && stat.state != 'Z')
    }

    /// Ends it: SIGTERM, then SIGKILL when it is still there after `grace`. Does nothing when it is already gone.
    pub(crate) fn stop(self, grace: Duration) -> Result<()> {
        let Some(handle) = self.open()? else { return Ok(()) };
        send(&handle, Signal::TERM)?;
        if exits_within(&handle, grace)? {
            return Ok(());
        }
        send(&handle, Signal::KILL)?;
        if exits_within(&handle, Duration::from_secs(20))? {
            return Ok(());
        }
        bail!("process {} is still there 20 s after SIGKILL", self.pid)
    }

    /// Ends it at once with SIGKILL and waits for its end.
    pub(crate) fn kill(self) -> Result<()> {
        let Some(handle) = self.open()? else { return Ok(()) };
        send(&handle, Signal::KILL)?;
        if exits_within(&handle, Duration::from_secs(20))? {
            return Ok(());
        }
        bail!("process {} is still there 20 s after SIGKILL", self.pid)
    }

    /// Opens a pidfd, then compares the start time: from there on the handle cannot mean another process.
    fn open(self) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("opening a handle on process {}", self.pid));
            }
        };
        Ok(self.alive().then_some(handle))
    }
}

fn send(handle: &OwnedFd, signal: Signal) -> Result<()> {
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("sending a signal"),
    }
}

/// Waits for the end of a process; a pidfd turns readable then, parent or not (pidfd_open(2)).
fn exits_within(handle: &OwnedFd, limit: Duration) -> Result<bool> {
    let timeout = Timespec::try_from(limit).context("time limit out of range")?;
    let mut fds = [PollFd::new(handle, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for a process to end"),
        }
    }
}

fn read_stat(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => Ok(parse_stat(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Parses a stat line. The command name may hold spaces and parentheses, so everything is counted from the last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// Everything in `/proc` now: pid to reference and parent.
fn all() -> Result<BTreeMap<i32, (ProcessRef, i32)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        if let Ok(Some(stat)) = read_stat(pid) {
            found.insert(
                pid,
                (
                    ProcessRef {
                        pid,
                        start: stat.start,
                    },
                    stat.parent,
                ),
            );
        }
    }
    Ok(found)
}

/// The processes that a network namespace ties together.
#[derive(Debug)]
pub(crate) struct Tied {
    /// Those in it.
    pub(crate) members: Vec<ProcessRef>,
    /// Their descendants that are not: containers have namespaces of their own but are children of a shim that has not.
    pub(crate) descendants: Vec<ProcessRef>,
}

/// Lists the processes in the network namespace at `namespace`, and their descendants. The caller is never listed.
pub(crate) fn tied_to(namespace: &Path) -> Result<Tied> {
    use std::os::unix::fs::MetadataExt;
    let wanted = fs::metadata(namespace).with_context(|| format!("reading {}", namespace.display()))?;
    let processes = all()?;
    let is_member = |pid: i32| {
        fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|at| at.ino() == wanted.ino() && at.dev() == wanted.dev())
    };
    let own = i32::try_from(std::process::id()).context("own pid")?;
    let members: BTreeSet<i32> = processes
        .keys()
        .copied()
        .filter(|pid| *pid != own && is_member(*pid))
        .collect();
    let mut tied = members.clone();
    loop {
        let before = tied.len();
        tied.extend(
            processes
                .iter()
                .filter(|(_, (_, parent))| tied.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if tied.len() == before {
            break;
        }
    }
    let named = |pid: &i32| processes[pid].0;
    Ok(Tied {
        members: members.iter().map(named).collect(),
        descendants: tied
            .difference(&members)
            .filter(|pid| **pid != own)
            .map(named)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) S (b) R 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99887 1 2 3";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.start), ('R', 7, 99887));
    }

    #[test]
    fn a_stopped_process_is_gone_and_stopping_it_again_is_no_error() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = ProcessRef::of(child.id()).unwrap().unwrap();
        assert!(process.alive());
        process.stop(Duration::from_secs(10)).unwrap();
        assert!(!process.alive());
        child.wait().unwrap();
        process.stop(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_process_that_ignores_sigterm_is_killed() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; exec sleep 600"]) // an ignored signal stays ignored over exec
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0u8; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let process = ProcessRef::of(child.id()).unwrap().unwrap();
        process.stop(Duration::from_millis(200)).unwrap();
        assert!(!process.alive());
        child.wait().unwrap();
    }

    #[test]
    fn another_start_time_is_another_process() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mut imposter = ProcessRef::of(child.id()).unwrap().unwrap();
        imposter.start += 1;
        assert!(!imposter.alive());
        imposter.stop(Duration::from_secs(1)).unwrap();
        assert!(
            child.try_wait().unwrap().is_none(),
            "the real process must not be signalled"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
