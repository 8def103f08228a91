//! One run: a cluster, its clients, and what goes wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep};
use verger_controller_raft::{Change, Member, MemberConfig, Node, seed};
use verger_controller_state::{Response, State};

use crate::check::{self, Verdict};
use crate::clients::{self, PEOPLE, Shared};
use crate::defects::Defect;
use crate::disk::Disk;
use crate::nemesis::{self, Done};
use crate::router::Router;
use crate::shared::founding;
use crate::watch::{self, Seen};

/// How long things go wrong, and clients go on, in the cluster's time.
const TROUBLE: Duration = Duration::from_secs(15);
/// How long members may take to be one again.
const MENDED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
const CLIENTS: usize = 4;

/// What may not be, in a sentence.
#[derive(Debug)]
pub(crate) struct Found(pub(crate) String);

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) found: Option<Found>,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    pub(crate) crashes: u64,
    pub(crate) partitions: u64,
    pub(crate) changes: u64,
    pub(crate) snapshots: u64,
    pub(crate) leaders: u64,
    /// Entries after which the chain of a member was seen.
    pub(crate) chains: u64,
    pub(crate) seconds: f64,
    /// Of all messages that were sent: two runs with one are the same.
    pub(crate) trace: u64,
}

impl Told {
    pub(crate) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.changes += other.changes;
        self.snapshots += other.snapshots;
        self.leaders += other.leaders;
        self.chains += other.chains;
        self.seconds += other.seconds;
    }

    /// Whether as much happened as so many runs are to show.
    pub(crate) const fn is_exercised(&self, runs: u64) -> bool {
        self.acknowledged > 100 * runs
            && self.crashes > runs
            && self.partitions > runs
            && self.snapshots > runs / 2
            && self.changes > runs / 4
            && self.leaders > 2 * runs
            && self.chains > 50 * runs
    }
}

pub(crate) fn name(id: u64) -> String {
    format!("c{id}")
}

fn node(id: u64) -> Node {
    Node {
        name: name(id),
        address: format!("host-{id}:1"),
        ..Node::default()
    }
}

/// The members that run. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Running(Rc<RefCell<BTreeMap<u64, Arc<Member>>>>);

impl Running {
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Member>> {
        self.0.borrow().get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<(u64, Arc<Member>)> {
        let all = self.0.borrow();
        all.iter().map(|(id, member)| (*id, Arc::clone(member))).collect()
    }

    /// One of them.
    pub(crate) fn some(&self, lots: &mut StdRng) -> Option<Arc<Member>> {
        let all = self.all();
        let at = lots.random_range(0..all.len().max(1));
        all.get(at).map(|(_, member)| Arc::clone(member))
    }
}

pub(crate) struct Cluster {
    pub(crate) router: Arc<Router>,
    pub(crate) running: Running,
    disks: BTreeMap<u64, Disk>,
    writers: BTreeMap<u64, JoinHandle<()>>,
    runs: u64,
    /// A member that does not open.
    broken: Option<String>,
}

impl Cluster {
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.disks.keys().copied().collect()
    }

    /// Whether every member opened that was started.
    pub(crate) const fn is_whole(&self) -> bool {
        self.broken.is_none()
    }

    /// Who leads, as whoever leads knows.
    pub(crate) fn leader(&self) -> Option<u64> {
        let all = self.running.all();
        let leader = all.iter().find(|(_, member)| member.is_leading());
        leader.map(|(id, _)| *id)
    }

    /// Cuts every way between these and the others.
    pub(crate) fn part(&self, some: &[u64]) {
        for one in self.ids() {
            for other in self.ids() {
                if some.contains(&one) != some.contains(&other) {
                    self.router.cut(&name(one), &name(other));
                }
            }
        }
    }

    pub(crate) async fn start(&mut self, id: u64, lots: &mut StdRng) {
        let (stores, writing) = self.disks[&id].open(StdRng::seed_from_u64(lots.random()));
        self.runs += 1;
        let config = MemberConfig {
            id,
            node: node(id),
            is_first: id == 1,
            start: self.runs,
        };
        let run = self.router.begin(&name(id));
        let peers = self.router.peers_of(&name(id), run);
        let member = match Member::open_on(config, stores, peers).await {
            Ok(member) => Arc::new(member),
            Err(error) => {
                let why = format!("member {id} does not open: {}", chain(&error));
                self.broken.get_or_insert(why);
                return;
            }
        };
        self.router.seat(&name(id), run, Arc::clone(&member));
        self.running.0.borrow_mut().insert(id, member);
        self.writers.insert(id, writing);
    }

    /// Cuts a member's power: nothing that is on its way is written, and nothing is said.
    pub(crate) async fn crash(&mut self, id: u64, lots: &mut StdRng) {
        self.router.unseat(&name(id));
        let member = self.running.0.borrow_mut().remove(&id);
        if let Some(writing) = self.writers.remove(&id) {
            writing.abort();
            let _ = writing.await;
        }
        if let (Some(member), Some(disk)) = (member, self.disks.get_mut(&id)) {
            member.abandon();
            disk.crash(lots);
        }
    }
}

/// Runs one seed.
pub(crate) fn run(number: u64, defect: Option<Defect>) -> Told {
    seed(number);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let local = LocalSet::new();
    let told = local.block_on(&runtime, one(number, defect));
    // What is left of crashed members ends with it.
    drop(local);
    runtime.shutdown_background();
    told
}

async fn one(number: u64, defect: Option<Defect>) -> Told {
    let began = Instant::now();
    let mut lots = StdRng::seed_from_u64(number);
    let size = if lots.random_range(0..3) == 0 { 5 } else { 3 };
    let mut cluster = Cluster {
        router: Router::new(StdRng::seed_from_u64(lots.random())),
        running: Running::default(),
        disks: (1..=size).map(|id| (id, Disk::new(defect))).collect(),
        writers: BTreeMap::new(),
        runs: 0,
        broken: None,
    };
    if let Err(why) = founded(&mut cluster, &mut lots).await {
        return Told {
            found: Some(Found(why)),
            ..Told::default()
        };
    }
    let until = Instant::now() + TROUBLE;
    let history: Shared = Rc::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let lots = StdRng::seed_from_u64(lots.random());
            tokio::task::spawn_local(clients::client(
                Rc::clone(&history),
                cluster.running.clone(),
                lots,
                defect,
                until,
            ))
        })
        .collect();
    let seen: Rc<RefCell<Seen>> = Rc::default();
    let watching = tokio::task::spawn_local(watch::watch(Rc::clone(&seen), cluster.running.clone()));
    let done = nemesis::harass(&mut cluster, StdRng::seed_from_u64(lots.random()), until).await;
    for client in clients {
        client.await.unwrap();
    }
    let mended = match cluster.broken.take() {
        Some(broken) => Err(broken),
        None => mended(&cluster).await,
    };
    // Everybody reads everything once more.
    for (person, _) in PEOPLE.iter().enumerate() {
        for (_, member) in cluster.running.all() {
            clients::read(&history, &member, person, defect).await;
        }
    }
    watching.abort();
    let seen = seen.borrow();
    let found = mended
        .err()
        .or_else(|| seen.found.clone())
        .or_else(|| judged(&history));
    told(&history, &seen, done, found, began, cluster.router.trace())
}

fn told(
    history: &Shared,
    seen: &Seen,
    done: Done,
    found: Option<String>,
    began: Instant,
    trace: u64,
) -> Told {
    let history = history.borrow();
    Told {
        found: found.map(Found),
        acknowledged: history.acknowledged,
        unknown: history.unknown,
        refused: history.refused,
        crashes: done.crashes,
        partitions: done.partitions,
        changes: done.changes,
        snapshots: done.snapshots,
        leaders: seen.leaders(),
        chains: seen.chains(),
        seconds: began.elapsed().as_secs_f64(),
        trace,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Member 1 founds the cluster, and the others join and vote.
async fn founded(cluster: &mut Cluster, lots: &mut StdRng) -> Result<(), String> {
    for id in cluster.ids() {
        cluster.start(id, lots).await;
    }
    for id in cluster.ids() {
        let first = cluster.running.get(1).ok_or("the first is there")?;
        let within = Instant::now() + MENDED;
        if id == 1 {
            first
                .wait_until_leading(MENDED)
                .await
                .map_err(|error| error.to_string())?;
            let answer = first.propose(&founding()).await;
            match answer {
                Ok(Response::Founded(_)) => continue,
                other => return Err(format!("it is not founded: {other:?}")),
            }
        }
        let add = Change::Add { id, node: node(id) };
        for change in [add, Change::Promote(id)] {
            while let Err(error) = first.change(change.clone(), false).await {
                if Instant::now() > within {
                    return Err(format!("{change:?} is not made: {error}"));
                }
                sleep(LOOK).await;
            }
        }
    }
    Ok(())
}

/// Waits until all are one again.
async fn mended(cluster: &Cluster) -> Result<(), String> {
    let deadline = Instant::now() + MENDED;
    loop {
        let all = cluster.running.all();
        let states: Vec<State> = all.iter().map(|(_, member)| member.read(State::clone)).collect();
        let is_one = states.windows(2).all(|two| two[0] == two[1]);
        if is_one && cluster.leader().is_some() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let standings: Vec<_> = all.iter().map(|(_, member)| member.standing()).collect();
            return Err(format!("the members do not become one again: {standings:?}"));
        }
        sleep(LOOK).await;
    }
}

fn judged(history: &Shared) -> Option<String> {
    let history = history.borrow();
    if let Some(strange) = &history.strange {
        return Some(strange.clone());
    }
    history
        .operations
        .iter()
        .find_map(|(person, operations)| match check::linearizable(operations) {
            Verdict::Linearizable => None,
            verdict => Some(format!(
                "the history of {} is {verdict:?}: {} operations, the last of those that do not fit {:?}",
                PEOPLE[*person],
                operations.len(),
                check::shortest(operations)
            )),
        })
}
