//! Looking at the ways to Docker's runtime on this host: what its daemons, its registered runtimes and the shims of what runs call,
//! and who else has the daemon's ear. What it means is [`verger_agent_core::doors`]'s.
//!
//! Processes are read by pid: one that ends between two reads is looked at again the next time.

#[cfg(test)]
mod fuzz;
mod host;
mod lookup;
mod podman;
mod process;
mod rootless;
mod sockets;
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use verger_agent_core::doors::{DOCKERS, Doors, Fault, Leads, Shim};
use verger_policy::facts::Evidence;

use crate::docker::RegisteredRuntimes;
use crate::podman::PodmanDisk;
use host::Host;
use lookup::Gate;

/// How the name of every shim of containerd begins, as far as the kernel keeps it.
const SHIM: &str = "containerd-shim";
/// Where the system's containerd listens.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// Runtimes of containerd that call a `runc` where none is named.
const RUNC_SHIMS: [&str; 3] = [
    "io.containerd.runc.v2",
    "io.containerd.runc.v1",
    "io.containerd.runtime.v1.linux",
];

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    /// The gate's folder.
    pub gate: PathBuf,
    /// The gate's program, in it.
    pub program: PathBuf,
    /// Docker's socket.
    pub docker_socket: PathBuf,
    /// The file with its daemon's pid, for where somebody else opened the socket.
    pub docker_pid_file: PathBuf,
    /// group(5).
    pub group: PathBuf,
    /// passwd(5).
    pub passwd: PathBuf,
    /// Podman's program; what is not there is not looked at.
    pub podman: PathBuf,
    /// Podman's storage that the agent watches.
    pub podman_storage: PodmanDisk,
    /// Where Podman is told what its runtimes are: files, and folders of files, the last one's word counting (containers.conf(5)).
    pub containers_conf: Vec<PathBuf>,
}

/// Looks at everything but the gate's own files, whose faults are given. Blocks on the file system.
pub fn look(places: &Places, files: Vec<Fault>, registered: &Evidence<RegisteredRuntimes>) -> Doors {
    let gate = Gate::of(&places.program);
    let host = Host::of_this_process();
    let daemons = daemons(&host, places);
    let (called, path, listening) = match &daemons {
        Evidence::Missing(why) => (
            Evidence::Missing(why.clone()),
            Evidence::Missing(why.clone()),
            Evidence::Missing(why.clone()),
        ),
        Evidence::Seen(Daemons { dockerd, containerd }) => {
            let paths = match containerd {
                Evidence::Seen(pids) => pids.iter().map(|pid| process::path(*pid)).collect(),
                Evidence::Missing(why) => vec![Evidence::Missing(why.clone())],
            };
            // What calls the runtimes is containerd, and what it starts.
            let (leads, path) = worst(&gate, paths);
            let of_dockerd = leads_of(&gate, &process::path(*dockerd));
            let called = BTreeMap::from([("dockerd", of_dockerd), ("containerd", leads)]);
            (Evidence::Seen(called), path, sockets::listening(*dockerd))
        }
    };
    Doors {
        gate: places.gate.clone(),
        files,
        daemons: called,
        runtimes: runtimes(&gate, registered, &path),
        podman: podman::runtimes(&gate, places),
        shims: shims(&host, &gate, places),
        listening,
        users: users::of_socket(places),
        rootless: rootless::rootless(),
    }
}

/// The pids of the daemons: Docker's, and the containerd that it uses, or all that it may use.
struct Daemons {
    dockerd: u32,
    containerd: Evidence<Vec<u32>>,
}

fn daemons(host: &Host, places: &Places) -> Evidence<Daemons> {
    let dockerd = match process::behind(&places.docker_socket, "dockerd") {
        Ok(pid) => pid,
        Err(first) => match process::in_file(&places.docker_pid_file, "dockerd") {
            Ok(pid) => pid,
            Err(second) => {
                return Evidence::Missing(format!("Docker's daemon is not found: {first}; {second}"));
            }
        },
    };
    // One of its own is its child; otherwise it is the system's, whose socket only root may open.
    let containerd = process::child(host, dockerd, "containerd")
        .or_else(|| process::behind(Path::new(CONTAINERD), "containerd").ok());
    let containerd = match containerd {
        Some(pid) => Evidence::Seen(vec![pid]),
        None => process::containerds(host, dockerd),
    };
    Evidence::Seen(Daemons { dockerd, containerd })
}

fn leads_of(gate: &Gate, path: &Evidence<Vec<PathBuf>>) -> Evidence<Leads> {
    match path {
        Evidence::Seen(folders) => Evidence::Seen(gate.lookup("runc", folders)),
        Evidence::Missing(why) => Evidence::Missing(why.clone()),
    }
}

/// What `runc` is to the one of several daemons to which it is not the gate, and that one's PATH; then of one that could not be looked at.
fn worst(gate: &Gate, paths: Vec<Evidence<Vec<PathBuf>>>) -> (Evidence<Leads>, Evidence<Vec<PathBuf>>) {
    let each = paths.into_iter().map(|path| (leads_of(gate, &path), path));
    let badness = |leads: &Evidence<Leads>| match leads {
        Evidence::Seen(Leads::Elsewhere(_)) => 2,
        Evidence::Missing(_) => 1,
        Evidence::Seen(Leads::Gate) => 0,
    };
    each.max_by_key(|(leads, _)| badness(leads)).unwrap_or_else(|| {
        let missing = "no containerd was found";
        (Evidence::missing(missing), Evidence::missing(missing))
    })
}

fn runtimes(
    gate: &Gate,
    registered: &Evidence<RegisteredRuntimes>,
    path: &Evidence<Vec<PathBuf>>,
) -> Evidence<BTreeMap<String, Leads>> {
    let (registered, path) = match (registered, path) {
        (Evidence::Missing(why), _) | (_, Evidence::Missing(why)) => return Evidence::Missing(why.clone()),
        (Evidence::Seen(registered), Evidence::Seen(path)) => (registered, path),
    };
    let leads = |(name, runtime): (&String, &crate::docker::RegisteredRuntime)| {
        let kind = runtime.kind.as_deref().unwrap_or(name);
        let is_runc = RUNC_SHIMS.contains(&kind);
        let leads = match runtime.path.as_deref().filter(|path| !path.is_empty()) {
            Some(called) if runtime.kind.is_none() || is_runc => gate.called(called, path),
            None if is_runc => gate.called("runc", path),
            _ => Leads::Elsewhere(format!("the shim {kind}")),
        };
        (name.clone(), leads)
    };
    Evidence::Seen(registered.0.iter().map(leads).collect())
}

/// The shims that hold containers now, and Podman's conmons, and what they call.
fn shims(host: &Host, gate: &Gate, places: &Places) -> Evidence<Vec<Shim>> {
    let named = host
        .named(SHIM)
        .and_then(|shims| Ok((shims, host.named(podman::CONMON)?)));
    let (pids, conmons) = match named {
        Ok(pids) => pids,
        Err(error) => return Evidence::Missing(format!("/proc cannot be read: {error}")),
    };
    let mut shims = podman::shims(gate, places, &conmons);
    for pid in pids {
        // One without an id is only being started, or has ended.
        let Some((namespace, id)) = process::container(pid) else {
            continue;
        };
        let called = process::runtime_of_bundle(pid).map(|named| named.unwrap_or_else(|| "runc".to_owned()));
        let path = match &called {
            Ok(called) if called.starts_with('/') => Evidence::Seen(Vec::new()),
            Ok(_) => process::path(pid),
            Err(why) => Evidence::Missing(why.clone()),
        };
        let (runtime, put) = match (&called, path) {
            (Ok(called), Evidence::Seen(path)) => (
                Evidence::Seen(gate.called(called, &path)),
                gate.since(&places.gate, called, &path),
            ),
            (Err(why), _) => (Evidence::Missing(why.clone()), None),
            (_, Evidence::Missing(why)) => (Evidence::Missing(why), None),
        };
        let started = process::started(pid);
        // Whatever it was read as: a shim that has ended holds nothing any more.
        let Some(started) = started else { continue };
        shims.push(Shim {
            is_watched: namespace == DOCKERS,
            namespace,
            id,
            runtime,
            is_older: put.is_some_and(|put| is_before(started, put)),
        });
    }
    shims.sort_by(|a, b| (&a.namespace, &a.id).cmp(&(&b.namespace, &b.id)));
    Evidence::Seen(shims)
}

/// Times of processes are known to a clock tick.
const TICK: Duration = Duration::from_millis(20);

fn is_before(started: SystemTime, put: SystemTime) -> bool {
    started + TICK < put
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_several_daemons_the_one_past_the_gate_is_told_and_one_not_seen_is_no_sound_one() {
        let gate = Gate::of(Path::new("/nonexistent"));
        let past = || Evidence::Seen(vec![PathBuf::from("/nonexistent")]);
        let unseen = || Evidence::missing("it may not be read");
        let (leads, path) = worst(&gate, vec![unseen(), past(), unseen()]);
        assert!(matches!(leads, Evidence::Seen(Leads::Elsewhere(_))));
        assert_eq!(path, past());
        let (leads, path) = worst(&gate, vec![unseen()]);
        assert_eq!((leads, path), (Evidence::missing("it may not be read"), unseen()));
        assert!(matches!(worst(&gate, Vec::new()).0, Evidence::Missing(_)));
    }
}
