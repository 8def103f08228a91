//! What the kernel says of the process that a file names as a container's first.
//!
//! A file outlives the process, and a pid becomes another process's.

use std::io;
use std::time::{Duration, SystemTime};

use verger_policy::facts::proc;

use super::source::{Proc, has_ended};
use super::{CGROUP_LIMIT, age, container_ids, freezer, parse};

/// Times of processes are known to a clock tick, and those of files to a tick of the kernel's.
const TICK: Duration = Duration::from_millis(20);

/// A container's first process, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct First {
    /// When it started, in clock ticks after boot: with the pid, its identity.
    pub(crate) start_ticks: u64,
    /// Whether it is frozen.
    pub(crate) is_frozen: bool,
    /// The inode number of its network namespace, or why that is not known.
    pub(crate) network: Result<u64, String>,
}

/// The process with this pid, if it is the container's: in a cgroup of it, or older than `written`, when the pid was left in a file. None where
/// it has ended. Blocks on `/proc`.
///
/// # Errors
/// When it is there and cannot be read.
pub(crate) fn first(id: &str, pid: u32, written: SystemTime) -> Result<Option<First>, String> {
    match read(id, pid, written) {
        Err(error) if has_ended(&error) => Ok(None),
        read => read.map_err(|error| format!("its first process (pid {pid}) cannot be read: {error}")),
    }
}

fn read(id: &str, pid: u32, written: SystemTime) -> io::Result<Option<First>> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let process = Proc::open()?.running(pid)?;
    let runs = parse::runs_code(process.stat()).ok_or_else(|| invalid("its stat is malformed".to_owned()))?;
    if !runs && !process.goes_on() {
        return Ok(None);
    }
    let start_ticks = proc::start_ticks(process.stat()).map_err(|error| invalid(error.to_string()))?;
    let mut cgroup = Vec::new();
    let cgroup = match process.read(c"cgroup", CGROUP_LIMIT, &mut cgroup) {
        Ok(()) => String::from_utf8_lossy(&cgroup).into_owned(),
        Err(error) if has_ended(&error) => return Ok(None),
        // Whose it is, its age says.
        Err(_) => String::new(),
    };
    if !container_ids(&cgroup).contains(id) && !is_older(start_ticks, written) {
        return Ok(None);
    }
    let network = process
        .network_namespace()
        .map_err(|error| format!("the namespaces of pid {pid} cannot be read: {error}"));
    Ok(Some(First {
        start_ticks,
        is_frozen: freezer::is_frozen(&cgroup),
        network,
    }))
}

/// Whether what started at these ticks did so before `written`, as far as both clocks tell.
fn is_older(start_ticks: u64, written: SystemTime) -> bool {
    let started = SystemTime::now().checked_sub(age::of(start_ticks, age::now()));
    started.is_none_or(|started| started <= written + TICK)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_pid_that_was_left_before_the_process_began_is_another_process_s() {
        let own = std::process::id();
        let found = first(ID, own, SystemTime::now()).unwrap().unwrap();
        assert!(!found.is_frozen && found.network.is_ok());
        let long_ago = SystemTime::now() - Duration::from_secs(365 * 24 * 3600);
        assert_eq!(first(ID, own, long_ago), Ok(None));
    }

    #[test]
    fn what_has_ended_is_none() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        // A zombie until it is waited for.
        while first(ID, pid, SystemTime::now()).unwrap().is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert_eq!(first(ID, pid, SystemTime::now()), Ok(None));
    }
}
