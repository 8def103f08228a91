//! What is on the host now, and what it was judged as: looked at anew each time, judged anew only where it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use verger_agent_core::runtime::{Listed, Phase, Runtime};
use verger_agent_runtimes::proc::{Look, MountWatch, Unsettled, look};
use verger_policy::compile::Compiled;
use verger_policy::drift::{Judgement, Peers, judge_among};
use verger_policy::facts::{Evidence, Instance, InstanceId, LiveFacts};
use verger_policy::model::RuntimeKind;

use crate::gate::filters::{Filters, capabilities};
use crate::launches::Launches;

/// The host as it was last seen.
#[derive(Default)]
pub(crate) struct Observation {
    listed: BTreeMap<InstanceId, Arc<Instance>>,
    instances: BTreeMap<InstanceId, Instance>,
    judged: BTreeMap<InstanceId, (Timestamp, Judgement)>,
    unreadable: BTreeMap<RuntimeKind, String>,
    watched: Vec<u32>,
    unsettled: Option<Unsettled>,
    resting: BTreeSet<InstanceId>,
    pids: BTreeMap<InstanceId, u32>,
    launches: Arc<Launches>,
    filters: Arc<Filters>,
}

/// What stands for the live view of an instance whose runtime cannot say which process is its first.
const NO_PID: &str = "the runtime does not say which process is its first";
/// What stands for the live view of an instance that has just been started.
const JUST_STARTED: &str = "its first process has just been started";

impl Observation {
    /// Of a host on which these execs are launched, and the gate puts these filters in.
    pub(crate) fn new(launches: Arc<Launches>, filters: Arc<Filters>) -> Self {
        Self {
            launches,
            filters,
            ..Self::default()
        }
    }

    /// Looks at the runtimes and at `/proc`. What a runtime says is judged at once: processes that are still being set up
    /// are waited for in [`settle`](Self::settle). What is of a runtime that cannot be read stays as it was seen last.
    pub(crate) async fn look(&mut self, runtimes: &[Arc<dyn Runtime>], mounts: &MountWatch) {
        // One that does not answer holds up no other's list.
        let lists = join_all(runtimes.iter().map(|runtime| runtime.list())).await;
        let mut listed = Vec::new();
        let mut read = BTreeSet::new();
        for (runtime, list) in runtimes.iter().zip(lists) {
            let kind = runtime.kind();
            match list {
                Ok(list) => {
                    self.unreadable.remove(&kind);
                    read.insert(kind);
                    listed.extend(list);
                }
                Err(error) => {
                    if self.unreadable.insert(kind, error.to_string()).is_none() {
                        tracing::warn!(%error, "a runtime cannot be read; its instances are not evaluated until it can");
                    }
                }
            }
        }
        if read.is_empty() {
            return;
        }
        // What was made and not started has no process: there is nothing of it to judge yet. What is between two lives is not
        // gone: its findings stay as they are.
        self.resting.retain(|id| !read.contains(&id.runtime));
        let resting = listed.iter().filter(|one| one.phase == Phase::Restarting);
        self.resting.extend(resting.map(|one| one.instance.id.clone()));
        // One that runs and cannot be read is judged all the same: it must not read as gone.
        let running: Vec<(Arc<Instance>, Option<u32>)> = listed
            .into_iter()
            .filter(|one| matches!(one.phase, Phase::Running | Phase::Paused))
            .map(
                |Listed {
                     instance, init_pid, ..
                 }| (instance, init_pid),
            )
            .collect();
        let wanted: Vec<(InstanceId, u32)> = running
            .iter()
            .filter_map(|(instance, pid)| Some((instance.id.clone(), (*pid)?)))
            .collect();
        self.pids.retain(|id, _| !read.contains(&id.runtime));
        self.pids.extend(wanted.iter().cloned());
        let pids: Vec<u32> = self.pids.values().copied().collect();
        if pids != self.watched {
            mounts.set(&pids);
            self.watched = pids;
        }
        let before = self.unsettled.take();
        let launches = Arc::clone(&self.launches);
        launches.keep(|container| self.pids.keys().any(|id| id.id == container));
        let Look { live, unsettled } = told(launches, move || look(&wanted, before))
            .await
            .expect("a look at /proc does not panic, and the runtime outlives it");
        self.unsettled = unsettled;
        self.take(running, live, &read);
    }

    /// Whether instances have processes too young to be judged; [`settle`](Self::settle) looks at them.
    pub(crate) const fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// Looks again at young processes; says whether an instance's live view is known now that was not.
    pub(crate) async fn settle(&mut self) -> bool {
        let Some(before) = self.unsettled.take() else {
            return false;
        };
        let Look { live, unsettled } = told(Arc::clone(&self.launches), move || before.again())
            .await
            .expect("a look at /proc does not panic, and the runtime outlives it");
        self.unsettled = unsettled;
        let anything = !live.is_empty();
        for (id, live) in live {
            if let Some(instance) = self.instances.get_mut(&id)
                && instance.live != live
            {
                instance.live = live;
                self.judged.remove(&id);
            }
        }
        anything
    }

    fn take(
        &mut self,
        running: Vec<(Arc<Instance>, Option<u32>)>,
        mut live: BTreeMap<InstanceId, Evidence<LiveFacts>>,
        read: &BTreeSet<RuntimeKind>,
    ) {
        let is_read = |id: &InstanceId| read.contains(&id.runtime);
        let before: BTreeMap<_, _> = self.listed.extract_if(.., |id, _| is_read(id)).collect();
        let mut instances: BTreeMap<_, _> = self.instances.extract_if(.., |id, _| is_read(id)).collect();
        let mut moved = before.len() != running.len();
        for (listed, init_pid) in running {
            let id = listed.id.clone();
            let known = instances.remove(&id);
            let live = live.remove(&id).unwrap_or_else(|| held(known.as_ref(), init_pid));
            let same = before.get(&id).is_some_and(|known| Arc::ptr_eq(known, &listed));
            moved |= !before.contains_key(&id);
            let instance = match known.filter(|_| same) {
                Some(known) if known.live == live => known,
                Some(known) => {
                    self.judged.remove(&id);
                    Instance { live, ..known }
                }
                None => {
                    self.judged.remove(&id);
                    let mut instance = Instance {
                        live,
                        ..(*listed).clone()
                    };
                    let given = capabilities(&instance);
                    self.filters.recognise(&mut instance, given);
                    instance
                }
            };
            self.instances.insert(id.clone(), instance);
            self.listed.insert(id, listed);
        }
        self.judged.retain(|id, _| self.instances.contains_key(id));
        if moved {
            // Whose namespaces are shared may read differently now.
            self.judged.clear();
        }
    }

    /// Judges every instance; what has not changed since it was judged is not judged again, unless time may have changed
    /// the verdict.
    pub(crate) fn judge(&mut self, compiled: &Compiled, at: Timestamp) -> Vec<Judgement> {
        let peers = Peers::among(&self.instances);
        for (id, instance) in &self.instances {
            let fresh = self
                .judged
                .get(id)
                .is_some_and(|(then, _)| !compiled.time_matters_between(*then, at));
            if !fresh {
                self.judged
                    .insert(id.clone(), (at, judge_among(compiled, instance, peers, at)));
            }
        }
        self.judged
            .values()
            .map(|(_, judgement)| judgement.clone())
            .collect()
    }

    /// Forgets every judgement: the policy is another.
    pub(crate) fn forget_judgements(&mut self) {
        self.judged.clear();
    }

    /// Runtimes that cannot be read, and why.
    pub(crate) const fn unreadable(&self) -> &BTreeMap<RuntimeKind, String> {
        &self.unreadable
    }

    /// Instances that are there and have no process now.
    pub(crate) const fn resting(&self) -> &BTreeSet<InstanceId> {
        &self.resting
    }

    /// The first process of each instance that runs, where the runtime says which it is.
    pub(crate) const fn pids(&self) -> &BTreeMap<InstanceId, u32> {
        &self.pids
    }

    /// The instances.
    pub(crate) const fn instances(&self) -> &BTreeMap<InstanceId, Instance> {
        &self.instances
    }
}

/// A look at `/proc`, and of what execs the processes are.
fn told(
    launches: Arc<Launches>,
    look: impl FnOnce() -> Look + Send + 'static,
) -> tokio::task::JoinHandle<Look> {
    tokio::task::spawn_blocking(move || {
        let mut seen = look();
        launches.tell(&mut seen.live);
        seen
    })
}

/// The live view of an instance whose processes are not settled: what it was, so that nothing is taken for better or
/// worse meanwhile. Of another first process it says nothing.
fn held(known: Option<&Instance>, init_pid: Option<u32>) -> Evidence<LiveFacts> {
    let Some(init_pid) = init_pid else {
        return Evidence::missing(NO_PID);
    };
    match known.map(|known| &known.live) {
        Some(Evidence::Seen(live)) if live.init_pid == init_pid => Evidence::Seen(live.clone()),
        _ => Evidence::missing(JUST_STARTED),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use verger_agent_core::runtime::{RuntimeError, RuntimeProblem};
    use verger_agent_runtimes::fake::{FakeRuntime, instance};

    #[tokio::test]
    async fn what_runs_and_cannot_be_read_is_neither_gone_nor_clean() {
        let runtime = FakeRuntime::new();
        let (mounts, _changed) = MountWatch::start().unwrap();
        let (blind, resting) = (instance("a", "blind"), instance("b", "resting"));
        runtime.put(blind.clone(), Phase::Running, None);
        runtime.put(resting.clone(), Phase::Restarting, None);
        let mut observation = Observation::default();
        let runtimes: [Arc<dyn Runtime>; 1] = [Arc::new(runtime)];
        observation.look(&runtimes, &mounts).await;
        assert_eq!(observation.instances()[&blind.id].live, Evidence::missing(NO_PID));
        assert_eq!(observation.resting().iter().collect::<Vec<_>>(), [&resting.id]);
        assert!(!observation.instances().contains_key(&resting.id));
    }

    #[tokio::test]
    async fn what_is_of_a_runtime_that_cannot_be_read_stays_and_the_others_go_on() {
        let (docker, podman) = (FakeRuntime::new(), FakeRuntime::of(RuntimeKind::Podman));
        let of = |kind, digit: &str, name: &str| {
            let mut made = instance(digit, name);
            made.id.runtime = kind;
            made
        };
        let one = of(RuntimeKind::Docker, "a", "one");
        let (two, three) = (
            of(RuntimeKind::Podman, "b", "two"),
            of(RuntimeKind::Podman, "c", "three"),
        );
        docker.put(one.clone(), Phase::Running, None);
        podman.put(two.clone(), Phase::Running, None);
        let runtimes: [Arc<dyn Runtime>; 2] = [Arc::new(docker.clone()), Arc::new(podman.clone())];
        let (mounts, _changed) = MountWatch::start().unwrap();
        let mut observation = Observation::default();
        observation.look(&runtimes, &mounts).await;
        let ids = |observation: &Observation| observation.instances().keys().cloned().collect::<Vec<_>>();
        assert_eq!(ids(&observation), [one.id.clone(), two.id.clone()]);

        docker.remove(&one.id);
        docker.fail(Some(RuntimeError {
            runtime: RuntimeKind::Docker,
            endpoint: "/x".to_owned(),
            problem: RuntimeProblem::TimedOut(1),
        }));
        podman.remove(&two.id);
        podman.put(three.clone(), Phase::Restarting, None);
        observation.look(&runtimes, &mounts).await;
        assert_eq!(ids(&observation), std::slice::from_ref(&one.id));
        assert!(observation.resting().contains(&three.id));
        let unreadable: Vec<_> = observation.unreadable().keys().collect();
        assert_eq!(unreadable, [&RuntimeKind::Docker]);

        docker.fail(None);
        observation.look(&runtimes, &mounts).await;
        assert!(ids(&observation).is_empty() && observation.unreadable().is_empty());
    }

    #[test]
    fn another_first_process_is_not_known_by_what_the_one_before_it_did() {
        let live = LiveFacts {
            init_pid: 7,
            processes: Vec::new(),
            mounts: Evidence::Seen(Vec::new()),
            kernel_paths: Evidence::missing("not read"),
        };
        let known = Instance {
            live: Evidence::Seen(live.clone()),
            ..instance("a", "known")
        };
        assert_eq!(held(Some(&known), Some(7)), Evidence::Seen(live));
        assert_eq!(held(Some(&known), Some(8)), Evidence::missing(JUST_STARTED));
        assert_eq!(held(None, Some(7)), Evidence::missing(JUST_STARTED));
        assert_eq!(held(Some(&known), None), Evidence::missing(NO_PID));
    }
}
