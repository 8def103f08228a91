//! Who had what started by an exec: told by the proxy, tied to the process by the gate, and found again in `/proc`.
//!
//! The runtime names an exec to both: the proxy is told its id when it is made, and the gate by the file into which the runtime writes the
//! number of its process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use verger_agent_core::lineage::{Lineage, Seen};
use verger_agent_runtimes::proc::stat_of;
use verger_policy::facts::{Evidence, InstanceId, LiveFacts, StartedBy};
use verger_policy::model::RuntimeKind;

/// Execs whose callers are remembered until the gate asks, which it does while the call that starts them is waiting.
const CALLERS: usize = 4_096;
/// Names of those who asked for one exec are not added to beyond this length, bytes.
const ASKED: usize = 256;
/// A file with a number in it is no longer than this, bytes.
const NUMBER: u64 = 32;

/// The number of a process is looked for at these times: a runtime takes some 100 ms to start one, which may end at once.
const SOON: [Duration; 400] = [Duration::from_millis(5); 400];
/// And then at these.
const LATER: [Duration; 80] = [Duration::from_millis(100); 80];

/// What proxy, gate and reconciler know of execs together.
#[derive(Debug, Default)]
pub(crate) struct Launches(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    callers: HashMap<String, Caller>,
    order: VecDeque<String>,
    lineage: Lineage,
}

#[derive(Debug)]
struct Caller {
    container: String,
    name: String,
}

/// An exec that the gate is asked about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) id: String,
    /// Who has it started; none who came by the proxy.
    pub(crate) caller: Option<String>,
    file: PathBuf,
}

impl Launches {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody may start an exec in a container, and the runtime is about to be told.
    pub(crate) fn started(&self, exec: &str, container: &str, caller: String) {
        let mut known = self.known();
        let Known { callers, order, .. } = &mut *known;
        match callers.get_mut(exec) {
            // Docker starts it once. Whose call that was is not known where two have asked.
            Some(known) if known.name.split(" or ").all(|name| name != caller) => {
                if known.name.len() < ASKED {
                    known.name = format!("{} or {caller}", known.name);
                }
            }
            Some(_) => {}
            None => {
                let caller = Caller {
                    container: container.to_owned(),
                    name: caller,
                };
                callers.insert(exec.to_owned(), caller);
                order.push_back(exec.to_owned());
            }
        }
        while order.len() > CALLERS {
            if let Some(oldest) = order.pop_front() {
                callers.remove(&oldest);
            }
        }
    }

    /// The exec that a runtime is about to launch in a container, by the file for the number of its process. None where that file is
    /// not named after an exec of Docker's.
    pub(crate) fn named(&self, container: &str, file: &Path) -> Option<Exec> {
        let id = file.file_name()?.to_str()?.strip_suffix(".pid")?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id || !file.is_absolute() {
            return None;
        }
        let known = self.known();
        let caller = known
            .callers
            .get(id)
            .filter(|caller| caller.container == container);
        Some(Exec {
            id: id.to_owned(),
            caller: caller.map(|caller| caller.name.clone()),
            file: file.to_owned(),
        })
    }

    /// It is launched. The number of its process is written once there is one, and [waited for](Self::follow).
    pub(crate) fn launched(&self, container: &str, exec: &Exec) {
        let Exec { id, caller, file: _ } = exec;
        let started = StartedBy {
            exec: id.clone(),
            at: Timestamp::now(),
            caller: caller.clone(),
        };
        self.known().lineage.launched(container, started);
    }

    /// Waits for the number of an exec's process. The file is there from before the process runs until the runtime has noticed its end: what
    /// it starts may go on, and is known by that number alone.
    pub(crate) async fn follow(&self, exec: &Exec) {
        for wait in SOON.into_iter().chain(LATER) {
            if let Some(pid) = number(&exec.file) {
                let start = stat_of(pid).map(|(start, ..)| start);
                self.known().lineage.began(&exec.id, pid, start);
                return;
            }
            tokio::time::sleep(wait).await;
        }
        tracing::debug!(exec = exec.id, "the number of an exec's process was not written");
    }

    /// Says of each process what it came of, as far as it is known. Reads `/proc` and files of the runtime's, and blocks for that.
    pub(crate) fn tell(&self, live: &mut BTreeMap<InstanceId, Evidence<LiveFacts>>) {
        for (id, facts) in live {
            if let (RuntimeKind::Docker, Evidence::Seen(facts)) = (id.runtime, facts) {
                self.tell_of(&id.id, facts);
            }
        }
    }

    fn tell_of(&self, container: &str, facts: &mut LiveFacts) {
        if !self.known().lineage.knows(container) {
            return;
        }
        let mut processes: Vec<Seen> = facts
            .processes
            .iter()
            .filter(|process| process.thread.is_none())
            .filter_map(|process| {
                let (start_ticks, parent, session) = stat_of(process.pid)?;
                // Another has its number by now.
                (start_ticks == process.start_ticks).then_some(Seen {
                    pid: process.pid,
                    start_ticks,
                    parent,
                    session,
                })
            })
            .collect();
        processes.sort_by_key(|seen| seen.pid);
        let told = self.known().lineage.tell(container, &processes, Timestamp::now());
        for process in &mut facts.processes {
            process.started_by = told.get(&process.pid).cloned();
        }
    }

    /// Forgets what is of containers that do not run any more.
    pub(crate) fn keep(&self, running: impl Fn(&str) -> bool) {
        self.known().lineage.keep(running);
    }
}

/// The number in a file.
fn number(file: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(file)
        .ok()?
        .take(NUMBER)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::process::{Command, Stdio};

    use verger_policy::facts::{CapSets, ProcessFacts, SeccompMode};

    use super::*;

    fn exec_id(digit: &str) -> String {
        digit.repeat(64)
    }

    fn file(folder: &Path, digit: &str) -> PathBuf {
        folder.join(format!("{}.pid", exec_id(digit)))
    }

    /// A process of this host's, as it would be of an instance.
    fn process(pid: u32) -> ProcessFacts {
        let (start_ticks, ..) = stat_of(pid).unwrap();
        ProcessFacts {
            pid,
            thread: None,
            start_ticks,
            comm: "cat".to_owned(),
            in_cgroup: true,
            shared_namespaces: Default::default(),
            namespaces: Evidence::missing("not read"),
            uids: [0; 4],
            gids: [0; 4],
            groups: Default::default(),
            caps: CapSets::default(),
            no_new_privs: false,
            seccomp: SeccompMode::Disabled,
            host_user_namespace: Evidence::missing("not read"),
            limits: Evidence::missing("not read"),
            started_by: None,
        }
    }

    #[test]
    fn the_gate_is_told_who_by_the_name_of_the_file_and_by_the_container() {
        let (launches, folder) = (Launches::default(), Path::new("/run/b"));
        launches.started(&exec_id("a"), "c1", "local/1000".to_owned());
        let caller =
            |container: &str, digit: &str| launches.named(container, &file(folder, digit)).unwrap().caller;
        assert_eq!(caller("c1", "a").as_deref(), Some("local/1000"));
        assert_eq!(caller("c2", "a"), None, "another container's");
        for other in ["local/1001", "local/1000"] {
            launches.started(&exec_id("a"), "c1", other.to_owned());
        }
        assert_eq!(caller("c1", "a").as_deref(), Some("local/1000 or local/1001"));
        assert_eq!(caller("c1", "b"), None, "nobody had it started");
        let short = format!("{}.pid", &exec_id("a")[1..]);
        for other in ["", "/", "/run/b/init.pid", "e.pid", &short] {
            assert_eq!(launches.named("c1", Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn callers_that_are_remembered_are_bounded() {
        let launches = Launches::default();
        for number in 0..=CALLERS {
            launches.started(&number.to_string(), "c", "local/1".to_owned());
        }
        let known = launches.known();
        assert_eq!((known.callers.len(), known.order.len()), (CALLERS, CALLERS));
        assert!(!known.callers.contains_key("0"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_is_tied_to_its_exec_by_the_number_that_the_runtime_wrote() {
        let (launches, folder) = (Launches::default(), tempfile::tempdir().unwrap());
        let path = file(folder.path(), "a");
        launches.started(&exec_id("a"), "c1", "local/1000".to_owned());
        let exec = launches.named("c1", &path).unwrap();
        launches.launched("c1", &exec);
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let id = InstanceId {
            runtime: RuntimeKind::Docker,
            id: "c1".to_owned(),
        };
        let mut live = BTreeMap::from([(
            id.clone(),
            Evidence::Seen(LiveFacts {
                init_pid: 1,
                processes: vec![process(std::process::id()), process(child.id())],
                mounts: Evidence::missing("not read"),
                kernel_paths: Evidence::missing("not read"),
            }),
        )]);
        let by = |live: &BTreeMap<InstanceId, Evidence<LiveFacts>>| -> Vec<Option<String>> {
            let processes = &live[&id].seen().unwrap().processes;
            let by = processes.iter().map(|process| process.started_by.as_ref());
            by.map(|by| by.and_then(|by| by.caller.clone())).collect()
        };
        // The runtime has not written it.
        for wrong in ["", "x", "-1", "0", "99999999999999999999"] {
            fs::write(&path, wrong).unwrap();
            launches.follow(&exec).await;
            launches.tell(&mut live);
            assert_eq!(by(&live), [None, None], "{wrong}");
        }
        fs::write(&path, child.id().to_string()).unwrap();
        launches.follow(&exec).await;
        launches.tell(&mut live);
        assert_eq!(by(&live), [None, Some("local/1000".to_owned())]);
        launches.keep(|_| false);
        assert!(!launches.known().lineage.knows("c1"));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
