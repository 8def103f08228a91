//! Who is at the other end of the socket: a user of this host, and nobody in a container.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tokio::net::UnixStream;
use verger_agent_proxy::Caller;

/// How this host's own processes look.
#[derive(Debug)]
pub(super) struct Peers {
    /// The pid namespace, as its link in `/proc` reads. None where it cannot be read: then nobody is let in.
    pids: Option<String>,
    /// Ids of containers that the agent itself is in.
    own: BTreeSet<String>,
}

impl Peers {
    pub(super) fn of_this_host() -> Self {
        Self {
            pids: namespace(Path::new("/proc/self")),
            own: fs::read_to_string("/proc/self/cgroup").map_or_else(|_| BTreeSet::new(), |text| ids(&text)),
        }
    }

    /// Who connected (unix(7), SO_PEERCRED). A container that has this socket in it shows the number of its own user, root's most
    /// often: it is told by its pid namespace and by its cgroup.
    ///
    /// # Errors
    /// When it is in a container, or cannot be looked at.
    pub(super) fn caller(&self, stream: &UnixStream) -> Result<Caller, String> {
        let peer = stream
            .peer_cred()
            .map_err(|error| format!("the kernel does not say who calls: {error}"))?;
        let (uid, pid) = (peer.uid(), peer.pid().unwrap_or_default());
        let process = Path::new("/proc").join(pid.to_string());
        let there = namespace(&process);
        if there.is_none() || there != self.pids {
            return Err(format!(
                "process {pid} (uid {uid}) is in a container, or cannot be looked at: only processes of the host are served here"
            ));
        }
        let cgroups = fs::read_to_string(process.join("cgroup"))
            .map_err(|error| format!("process {pid} (uid {uid}) cannot be looked at: {error}"))?;
        match ids(&cgroups).difference(&self.own).next() {
            None => Ok(Caller { uid }),
            Some(id) => Err(format!(
                "process {pid} (uid {uid}) is in container {}: only processes of the host are served here",
                &id[..12]
            )),
        }
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
        let caller = Peers::of_this_host().caller(&one).unwrap();
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
    }

    #[tokio::test]
    async fn what_is_in_another_namespace_or_cannot_be_looked_at_is_refused() {
        let (one, _other) = UnixStream::pair().unwrap();
        for pids in [None, Some("pid:[1]".to_owned())] {
            let peers = Peers {
                pids,
                own: BTreeSet::new(),
            };
            assert!(peers.caller(&one).unwrap_err().contains("is in a container"));
        }
    }
}
