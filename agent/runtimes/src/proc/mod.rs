//! What `/proc` shows of instances now: one pass over all processes serves all instances.

pub(crate) mod age;
mod attribution;
mod budget;
mod first;
mod freezer;
#[cfg(test)]
mod fuzz;
mod membership;
mod mount_watch;
mod mounts;
pub(crate) mod parse;
mod settling;
mod source;
mod threads;

pub(crate) use first::{First, first};
pub(crate) use membership::container_ids;
pub use mount_watch::MountWatch;
pub use settling::{LONGEST_SETTLING, Look, SETTLING_STEP, Unsettled};

use std::collections::BTreeMap;
use std::io;

use verger_policy::facts::{Evidence, InstanceId, LiveFacts, NamespaceIds, ProcessFacts, proc};

use budget::Budget;
use membership::{Bond, Homes};
use mounts::Sources;
use settling::{Deadlines, Seen, Young};
use source::{Proc, ProcessDir, has_ended};

/// `/proc/PID/cgroup`: a line per hierarchy, of which there are a dozen, with paths of at most 4 KiB.
const CGROUP_LIMIT: usize = 64 << 10;
/// `/proc/PID/status`: some KiB, but for up to 65,536 supplementary groups.
const STATUS_LIMIT: usize = 1 << 20;
/// More processes than this in one instance are not shown in part, for the rest could hide behind them.
const MOST_PROCESSES: usize = 65_536;

/// Reads what `/proc` shows of these instances, each given with the pid of its first process, and waits until young
/// processes are settled: [`look`] and [`Unsettled::again`] until nothing is left, at most [`LONGEST_SETTLING`].
pub fn scan(instances: &[(InstanceId, u32)]) -> BTreeMap<InstanceId, Evidence<LiveFacts>> {
    let Look {
        mut live,
        mut unsettled,
    } = look(instances, None);
    while let Some(waiting) = unsettled.take() {
        std::thread::sleep(SETTLING_STEP);
        let next = waiting.again();
        live.extend(next.live);
        unsettled = next.unsettled;
    }
    live
}

/// Reads what `/proc` shows now of these instances, each given with the pid of its first process. `before` is what the
/// look before this one left unsettled.
///
/// Blocks for some 10 ms per hundred processes of the host. An instance with processes so young that a runtime may still
/// be setting them up is left for [`Unsettled::again`]. Processes that end meanwhile are left out; an
/// instance whose first process has ended is [`Evidence::Missing`]. Kernel threads and zombies run no code of an
/// instance and are left out. Needs CAP_SYS_PTRACE for namespaces of other users' processes: without it they are
/// missing, process by process.
pub fn look(instances: &[(InstanceId, u32)], before: Option<Unsettled>) -> Look {
    let deadlines = before.map(|before| before.deadlines()).unwrap_or_default();
    match Scan::begin(instances).and_then(|scan| scan.run(instances, &deadlines)) {
        Ok(found) => found,
        Err(error) => {
            let reason = format!("/proc cannot be read: {error}");
            let missing = |(id, _): &(InstanceId, u32)| (id.clone(), Evidence::Missing(reason.clone()));
            Look {
                live: instances.iter().map(missing).collect(),
                unsettled: None,
            }
        }
    }
}

/// When a process started (clock ticks after boot), its parent's pid and its session, as `/proc` has them now. None where it has ended or
/// cannot be read.
pub fn stat_of(pid: u32) -> Option<(u64, u32, u32)> {
    let process = Proc::open().ok()?.running(pid).ok()?;
    let stat = process.stat();
    let started = proc::start_ticks(stat).ok()?;
    Some((started, parse::parent(stat)?, parse::session(stat)?))
}

#[derive(Debug)]
struct Scan {
    proc: Proc,
    host: NamespaceIds,
    homes: Homes,
    found: Vec<Evidence<LiveFacts>>,
    sources: Sources,
    threads: Budget,
    buffer: Vec<u8>,
}

impl Scan {
    fn begin(instances: &[(InstanceId, u32)]) -> io::Result<Self> {
        let proc = Proc::open()?;
        // The agent runs in the host's namespaces. Those of pid 1 would say the same, but are not always readable.
        let host = proc.myself()?.namespaces()?;
        let mut scan = Self {
            proc,
            host,
            homes: Homes::default(),
            found: Vec::with_capacity(instances.len()),
            sources: Sources::new(host.mnt),
            threads: Budget::default(),
            buffer: Vec::new(),
        };
        let kernel_paths = mounts::kernel_paths();
        for (place, (id, init_pid)) in instances.iter().enumerate() {
            let live = scan
                .home(place, &id.id, *init_pid, &kernel_paths)
                .map_or_else(Evidence::Missing, Evidence::Seen);
            scan.found.push(live);
        }
        Ok(scan)
    }

    /// Learns where an instance is at home, and reads its mounts.
    fn home(
        &mut self,
        place: usize,
        id: &str,
        init_pid: u32,
        kernel_paths: &Evidence<BTreeMap<String, bool>>,
    ) -> Result<LiveFacts, String> {
        let unreadable = |error: io::Error| match has_ended(&error) {
            true => "its first process has ended".to_owned(),
            false => format!("its first process (pid {init_pid}) cannot be read: {error}"),
        };
        let init = self.proc.running(init_pid).map_err(unreadable)?;
        init.read(c"cgroup", CGROUP_LIMIT, &mut self.buffer)
            .map_err(unreadable)?;
        let cgroup = String::from_utf8_lossy(&self.buffer).into_owned();
        let namespaces = init.namespaces().map_err(unreadable)?;
        self.homes.add(place, id, &cgroup, &namespaces, &self.host)?;
        Ok(LiveFacts {
            init_pid,
            processes: Vec::new(),
            mounts: self.sources.mounts(&self.proc, &init),
            kernel_paths: kernel_paths.clone(),
        })
    }

    fn run(mut self, instances: &[(InstanceId, u32)], deadlines: &Deadlines) -> io::Result<Look> {
        let mut young = Vec::new();
        for pid in self.proc.pids()? {
            if let Some(seen) = self.visit(pid)? {
                let over = |bond: &Bond| deadlines.is_over(&instances[bond.place].0);
                if seen.is_settled(age::now()) || seen.bonds().any(over) {
                    self.bind(seen);
                } else {
                    young.push(Young::of(pid, &seen));
                }
            }
        }
        let ids = instances.iter().map(|(id, _)| id.clone()).collect();
        Ok(Unsettled::begin(self, ids, young, deadlines))
    }

    /// Reads a process; `None` if it is of no instance, or has ended.
    ///
    /// # Errors
    /// When it is there and cannot be read, and nothing tells whose it is: then nothing can be said of any instance.
    fn visit(&mut self, pid: u32) -> io::Result<Option<Seen>> {
        let ended = |error: io::Error| if has_ended(&error) { Ok(None) } else { Err(error) };
        let process = match self.proc.running(pid) {
            Ok(process) => process,
            Err(error) => return ended(error),
        };
        match process.read(c"cgroup", CGROUP_LIMIT, &mut self.buffer) {
            Ok(()) => {}
            Err(error) if has_ended(&error) => return Ok(None),
            Err(error) => return self.attribute(pid, &process, error).map(|()| None),
        }
        let cgroup = String::from_utf8_lossy(&self.buffer).into_owned();
        let namespaces = match process.namespaces() {
            Ok(ids) => Evidence::Seen(ids),
            Err(error) if has_ended(&error) => return Ok(None),
            Err(error) => Evidence::Missing(format!("the namespaces of pid {pid} cannot be read: {error}")),
        };
        let bonds = self.homes.bonds(&cgroup, namespaces.seen());
        if bonds.is_empty() {
            return Ok(None);
        }
        Ok(match self.whole(pid, &process, namespaces, &cgroup, &bonds) {
            Ok(Some((facts, threads))) => Some(Seen {
                facts,
                bonds,
                threads,
            }),
            Ok(None) => None,
            Err(error) if has_ended(&error) => None,
            Err(error) => {
                // Not shown in part: what cannot be read could be what is sought.
                for Bond { place, .. } in bonds {
                    self.found[place] =
                        Evidence::Missing(format!("its process {pid} cannot be read: {error}"));
                }
                None
            }
        })
    }

    /// What the process and those of its threads are that are not like it; `None` for what runs no code of an instance.
    #[allow(clippy::type_complexity)]
    fn whole(
        &mut self,
        pid: u32,
        process: &ProcessDir,
        namespaces: Evidence<NamespaceIds>,
        cgroup: &str,
        bonds: &[Bond],
    ) -> io::Result<Option<(ProcessFacts, Vec<(ProcessFacts, Vec<Bond>)>)>> {
        let Some(facts) = self.facts(pid, process, namespaces)? else {
            return Ok(None);
        };
        // Most processes have one thread: nothing more is read of them.
        let threads = match parse::threads(process.stat()) {
            Some(1) => Vec::new(),
            _ => threads::unlike(self, process, &facts, cgroup, bonds)?,
        };
        Ok(Some((facts, threads)))
    }

    /// What the process is, by its first thread that runs; `None` for what runs no code of an instance.
    fn facts(
        &mut self,
        pid: u32,
        process: &ProcessDir,
        namespaces: Evidence<NamespaceIds>,
    ) -> io::Result<Option<ProcessFacts>> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let start_ticks = proc::start_ticks(process.stat()).map_err(|e| invalid(e.to_string()))?;
        match parse::runs_code(process.stat()) {
            Some(true) => {}
            Some(false) if process.goes_on() => {}
            Some(false) => return Ok(None),
            None => return Err(invalid("its stat is malformed".to_owned())),
        }
        process.read(c"status", STATUS_LIMIT, &mut self.buffer)?;
        let status = proc::status(&self.buffer).map_err(|e| invalid(e.to_string()))?;
        let limits = match process.read(c"limits", STATUS_LIMIT, &mut self.buffer) {
            Ok(()) => match proc::limits(&self.buffer) {
                Ok(limits) => Evidence::Seen(limits),
                Err(error) => Evidence::Missing(error.to_string()),
            },
            Err(error) if has_ended(&error) => return Err(error),
            Err(error) => Evidence::Missing(format!("the limits of pid {pid} cannot be read: {error}")),
        };
        let host_user_namespace = match &namespaces {
            Evidence::Seen(ids) => Evidence::Seen(ids.user == self.host.user),
            Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
        };
        Ok(Some(ProcessFacts {
            pid,
            thread: None,
            start_ticks,
            comm: status.comm,
            in_cgroup: false,
            shared_namespaces: Default::default(),
            namespaces,
            uids: status.uids,
            gids: status.gids,
            groups: status.groups,
            caps: status.caps,
            no_new_privs: status.no_new_privs,
            seccomp: status.seccomp,
            host_user_namespace,
            limits,
            // The agent knows; `/proc` does not.
            started_by: None,
        }))
    }

    fn blind(&mut self, place: usize, error: &io::Error) {
        self.found[place] = Evidence::Missing(format!("one of its processes cannot be read: {error}"));
    }

    /// Takes what was found at a place, which is not asked for again.
    fn give(&mut self, place: usize) -> Evidence<LiveFacts> {
        std::mem::replace(&mut self.found[place], Evidence::missing("it was given already"))
    }

    fn bind(&mut self, seen: Seen) {
        let Seen {
            facts,
            bonds,
            threads,
        } = seen;
        for (facts, bonds) in std::iter::once((facts, bonds)).chain(threads) {
            for bond in bonds {
                self.bind_to(&facts, bond);
            }
        }
    }

    fn bind_to(&mut self, facts: &ProcessFacts, bond: Bond) {
        let Bond {
            place,
            in_cgroup,
            shared,
        } = bond;
        let Evidence::Seen(live) = &mut self.found[place] else {
            return;
        };
        if live.processes.len() == MOST_PROCESSES {
            let reason = format!("it has more than {MOST_PROCESSES} processes");
            self.found[place] = Evidence::Missing(reason);
            return;
        }
        live.processes.push(ProcessFacts {
            in_cgroup,
            shared_namespaces: shared,
            ..facts.clone()
        });
    }
}

#[cfg(test)]
mod tests;
