//! Who is at the other end of the socket: a user of this host, and nobody in a container.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;
use verger_agent_proxy::Caller;

/// How this host's own processes look.
#[derive(Debug)]
pub(super) struct Peers {
    /// The pid namespace, as its link in `/proc` reads. None where it cannot be read: then nobody is let in.
    pids: Option<String>,
    /// Ids of containers that the agent itself is in.
    own: BTreeSet<String>,
    looked_up: LookedUp,
}

/// How the process of a caller is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookedUp {
    /// The socket gives it (unix(7), SO_PEERPIDFD; Linux 6.5): it is the very process that connected.
    BySocket,
    /// By its number, once it has connected. The number may be another process's by then.
    ByNumber,
}

impl LookedUp {
    /// What this kernel gives.
    fn here() -> Self {
        let asked = std::os::unix::net::UnixStream::pair().map(|(one, _other)| getsockopt(&one, PeerPidfd));
        match asked {
            // Whatever else it says is no word that it does not know the option: each caller will be told.
            Ok(Err(Errno::ENOPROTOOPT)) => Self::ByNumber,
            _ => Self::BySocket,
        }
    }
}

impl Peers {
    pub(super) fn of_this_host() -> Self {
        let looked_up = LookedUp::here();
        if looked_up == LookedUp::ByNumber {
            tracing::warn!(
                "this kernel does not say which process is at the other end of a socket (SO_PEERPIDFD, Linux 6.5): callers of the runtime are looked up by their number"
            );
        }
        Self {
            pids: namespace(Path::new("/proc/self")),
            own: fs::read_to_string("/proc/self/cgroup").map_or_else(|_| BTreeSet::new(), |text| ids(&text)),
            looked_up,
        }
    }

    /// Who connected (unix(7), SO_PEERCRED). A container that has this socket in it shows the number of its own user, root's most
    /// often: it is told by its pid namespace and by its cgroup.
    ///
    /// # Errors
    /// When it is in a container, has ended, or cannot be looked at.
    pub(super) fn caller(&self, stream: &UnixStream) -> Result<Caller, String> {
        let peer = stream
            .peer_cred()
            .map_err(|error| format!("the kernel does not say who calls: {error}"))?;
        let (uid, pid) = (peer.uid(), peer.pid().unwrap_or_default());
        let ended = || {
            format!(
                "process {pid} (uid {uid}) has ended since it connected, so whether it is of the host cannot be told: only processes of the host are served here"
            )
        };
        let unseen = |error: io::Error| format!("process {pid} (uid {uid}) cannot be looked at: {error}");
        // Held while it is looked at: what `/proc` has under its number is of it for as long as it still has that number.
        let held = self.hold(stream, pid).map_err(unseen)?.ok_or_else(ended)?;
        let process = Path::new("/proc").join(pid.to_string());
        let there = namespace(&process);
        let cgroups = fs::read_to_string(process.join("cgroup"));
        if !has_number(&held, pid).map_err(unseen)? {
            return Err(ended());
        }
        if there.is_none() || there != self.pids {
            return Err(format!(
                "process {pid} (uid {uid}) is in a container, or cannot be looked at: only processes of the host are served here"
            ));
        }
        match ids(&cgroups.map_err(unseen)?).difference(&self.own).next() {
            None => Ok(Caller::Local(uid)),
            Some(id) => Err(format!(
                "process {pid} (uid {uid}) is in container {}: only processes of the host are served here",
                &id[..12]
            )),
        }
    }

    /// The caller's process; none where it has ended.
    fn hold(&self, stream: &UnixStream, pid: i32) -> io::Result<Option<OwnedFd>> {
        match self.looked_up {
            LookedUp::BySocket => match getsockopt(stream, PeerPidfd) {
                Ok(held) => Ok(Some(held)),
                // Which one it is depends on the kernel's age; newer ones give what has ended, too.
                Err(Errno::ESRCH | Errno::EINVAL | Errno::ENODATA) => Ok(None),
                Err(error) => Err(error.into()),
            },
            LookedUp::ByNumber => {
                let Some(pid) = Pid::from_raw(pid) else {
                    return Ok(None);
                };
                match pidfd_open(pid, PidfdFlags::empty()) {
                    Ok(held) => Ok(Some(held)),
                    Err(rustix::io::Errno::SRCH) => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

/// Whether a process that is held still has this number (proc(5), `fdinfo` of a pidfd): a number is free for another process once the
/// one before was waited for, and then this says so.
fn has_number(held: &OwnedFd, pid: i32) -> io::Result<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", held.as_raw_fd()))?;
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number: Option<i32> = number.and_then(|number| number.trim().parse().ok());
    match number {
        Some(number) => Ok(pid > 0 && number == pid),
        None => Err(io::Error::other("its fdinfo names no process")),
    }
}

fn namespace(process: &Path) -> Option<String> {
    let link = fs::read_link(process.join("ns/pid")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// The ids of containers in the text of a `/proc/PID/cgroup`: 64 hexadecimal digits, as runtimes name cgroups.
fn ids(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_id =
        |word: &&str| word.len() == 64 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    words.filter(is_id).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn containers_are_told_by_their_cgroups() {
        let id = "a".repeat(64);
        for line in [
            format!("4:memory:/docker/{id}\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/../{id}/sub\n"),
        ] {
            assert_eq!(ids(&line), [id.clone()].into(), "{line}");
        }
        for line in [
            "0::/\n",
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "",
            &"b".repeat(65),
        ] {
            assert!(ids(line).is_empty(), "{line}");
        }
    }

    #[tokio::test]
    async fn this_process_is_of_this_host() {
        let (one, _other) = UnixStream::pair().unwrap();
        for looked_up in [LookedUp::here(), LookedUp::ByNumber] {
            let peers = Peers {
                looked_up,
                ..Peers::of_this_host()
            };
            let caller = peers.caller(&one).unwrap();
            assert_eq!(caller, Caller::Local(rustix::process::geteuid().as_raw()));
        }
    }

    #[tokio::test]
    async fn what_is_in_another_namespace_or_cannot_be_looked_at_is_refused() {
        let (one, _other) = UnixStream::pair().unwrap();
        for pids in [None, Some("pid:[1]".to_owned())] {
            let peers = Peers {
                pids,
                ..Peers::of_this_host()
            };
            assert!(peers.caller(&one).unwrap_err().contains("is in a container"));
        }
    }

    #[test]
    fn a_process_has_its_number_until_it_was_waited_for() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let held = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        assert!(has_number(&held, pid).unwrap());
        assert!(!has_number(&held, pid + 1).unwrap() && !has_number(&held, 0).unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!has_number(&held, pid).unwrap());
        // As a kernel that does not know the number shows it.
        assert!(!has_number(&held, -1).unwrap() && !has_number(&held, 0).unwrap());
    }

    #[test]
    fn what_is_no_process_has_no_number() {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        assert!(has_number(&file, 1).is_err());
    }
}
