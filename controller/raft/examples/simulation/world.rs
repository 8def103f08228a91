//! One run: a cluster, its clients, and what goes wrong.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep};
use verger_controller_raft::{Change, Member, MemberConfig, Node, seed};
use verger_controller_state::Response;
use verger_proto::stored::v1 as stored;

use crate::clients::{self, Client};
use crate::defects::Defect;
use crate::disk::Disk;
use crate::invariants::recovery::{self, MENDED};
use crate::invariants::watches::Shown;
use crate::invariants::{self, Broken, Invariant, Seen};
use crate::logs::Logs;
use crate::nemesis::{self, Done};
use crate::pauses::Pauses;
use crate::replacement::{self, Replacement};
use crate::router::Router;
use crate::shared::founding;
use crate::watchers::{self, Watcher};

/// How long things go wrong, and clients go on, in the cluster's time.
pub(crate) const TROUBLE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);
const CLIENTS: usize = 6;
const WATCHERS: usize = 2;

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) broken: Broken,
    pub(crate) done: Done,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    /// Operations on the policy set, on tokens, on logins, and on the audit.
    pub(crate) operations: [u64; 4],
    pub(crate) snapshots: u64,
    pub(crate) leaders: u64,
    /// Entries whose logs were compared, and after which the chain of a member was.
    pub(crate) entries: u64,
    pub(crate) chains: u64,
    /// Rows of the audit that were shown, and streams in which they were.
    pub(crate) rows: u64,
    pub(crate) streams: u64,
    pub(crate) seconds: f64,
    /// Of all messages that were sent: two runs with one are the same.
    pub(crate) trace: u64,
}

impl Told {
    pub(crate) fn add(&mut self, other: &Self) {
        self.done.add(&other.done);
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        for (sum, count) in self.operations.iter_mut().zip(other.operations) {
            *sum += count;
        }
        self.snapshots += other.snapshots;
        self.leaders += other.leaders;
        self.entries += other.entries;
        self.chains += other.chains;
        self.rows += other.rows;
        self.streams += other.streams;
        self.seconds += other.seconds;
    }

    /// Whether as much happened as so many runs are to show.
    pub(crate) fn is_exercised(&self, runs: u64) -> bool {
        self.acknowledged > 100 * runs
            && self.done.least() >= LEAST
            && self.operations.iter().all(|count| *count > 10 * runs)
            && self.snapshots > 2 * runs
            && self.leaders > 2 * runs
            && self.entries > 50 * runs
            && self.chains > 50 * runs
            && self.rows > 50 * runs
            && self.streams > 5 * runs
    }
}

/// How often each fault happens at least, in all runs, or they show nothing.
pub(crate) const LEAST: u64 = 20;

pub(crate) fn name(id: u64) -> String {
    format!("c{id}")
}

/// The member of this name.
pub(crate) fn id_of(name: &str) -> u64 {
    name[1..].parse().unwrap()
}

pub(crate) fn node(id: u64) -> Node {
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
    pub(crate) fn some(&self, lots: &mut StdRng) -> Option<(u64, Arc<Member>)> {
        let mut all = self.all();
        let at = lots.random_range(0..all.len().max(1));
        (at < all.len()).then(|| all.swap_remove(at))
    }
}

pub(crate) struct Cluster {
    pub(crate) router: Arc<Router>,
    pub(crate) running: Running,
    pub(crate) pauses: Pauses,
    pub(crate) replacement: Replacement,
    logs: Logs,
    defect: Option<Defect>,
    /// The highest number that a member ever had.
    newest: u64,
    disks: BTreeMap<u64, Disk>,
    writers: BTreeMap<u64, JoinHandle<()>>,
    runs: u64,
    /// A member that does not open.
    pub(crate) broken: Option<String>,
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

    /// A new one comes, with nothing on its disk, that is no member yet. Its number.
    pub(crate) async fn enlist(&mut self, lots: &mut StdRng) -> u64 {
        self.newest += 1;
        let disk = Disk::new(self.newest, &self.logs, &self.pauses, self.defect);
        self.disks.insert(self.newest, disk);
        self.start(self.newest, lots).await;
        self.newest
    }

    /// Takes away one that is a member no more.
    pub(crate) async fn retire(&mut self, id: u64, lots: &mut StdRng) {
        self.crash(id, lots).await;
        self.disks.remove(&id);
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
        self.pauses.end(Some(id));
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
    let (logs, pauses) = (Logs::default(), Pauses::default());
    let mut cluster = Cluster {
        router: Router::new(StdRng::seed_from_u64(lots.random()), &pauses),
        running: Running::default(),
        disks: (1..=size)
            .map(|id| (id, Disk::new(id, &logs, &pauses, defect)))
            .collect(),
        pauses,
        replacement: Replacement::default(),
        logs: logs.clone(),
        defect,
        newest: size,
        writers: BTreeMap::new(),
        runs: 0,
        broken: None,
    };
    let mut told = Told::default();
    if let Err(why) = founded(&mut cluster, &mut lots).await {
        told.broken.add(Invariant::Recovery, Some(why));
        return told;
    }
    let until = Instant::now() + TROUBLE;
    let client = Client {
        book: clients::Shared::default(),
        running: cluster.running.clone(),
        pauses: cluster.pauses.clone(),
        defect,
    };
    let mut drawn = || StdRng::seed_from_u64(lots.random());
    let asking: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::task::spawn_local(client.clone().ask(drawn(), until)))
        .collect();
    let shown = watchers::Shared::default();
    let watching: Vec<_> = (0..WATCHERS)
        .map(|number| {
            let watcher = Watcher {
                number,
                shown: Rc::clone(&shown),
                running: cluster.running.clone(),
                pauses: cluster.pauses.clone(),
                defect,
                last: 0,
            };
            tokio::task::spawn_local(watcher.watch(drawn(), until))
        })
        .collect();
    let (seen, snapshots) = (Rc::<RefCell<Seen>>::default(), Rc::<Cell<u64>>::default());
    let looking = tokio::task::spawn_local(invariants::watch(
        Rc::clone(&seen),
        cluster.running.clone(),
        logs.clone(),
    ));
    let keeping = tokio::task::spawn_local(nemesis::keep_snapshots(
        cluster.running.clone(),
        Rc::clone(&snapshots),
    ));
    told.done = nemesis::harass(&mut cluster, drawn(), until).await;
    for client in asking {
        client.await.unwrap();
    }
    let unsettled = replacement::settled(&mut cluster, MENDED, &mut lots).await;
    let recovery = unsettled.or(recovery::mended(&mut cluster).await);
    // Everybody reads everything once more.
    for (id, member) in cluster.running.all() {
        client.look_at_all((id, &member)).await;
    }
    for watcher in watching {
        let watcher = watcher.await.unwrap();
        if let Some((_, member)) = cluster.running.some(&mut lots) {
            watcher.ends(&member).await;
        }
    }
    looking.abort();
    keeping.abort();
    let seen = seen.take();
    told.broken = seen.broken;
    told.broken.add(Invariant::Recovery, recovery);
    told.leaders = seen.leaders.count();
    told.chains = seen.applied.chains();
    told.entries = logs.count();
    told.snapshots = snapshots.get();
    told.judge(&client.book.borrow(), &shown.borrow());
    told.seconds = began.elapsed().as_secs_f64();
    told.trace = cluster.router.trace();
    told
}

impl Told {
    /// What clients and watchers saw.
    fn judge(&mut self, book: &clients::Book, shown: &Shown) {
        self.acknowledged = book.acknowledged;
        self.unknown = book.unknown;
        self.refused = book.refused;
        self.operations = book.history.counts();
        self.rows = shown.rows.len() as u64;
        self.streams = shown.streams;
        self.broken.add(Invariant::Watches, shown.found.clone());
        self.broken.add(Invariant::Linearizability, book.strange.clone());
        // Where rows were passed over the audit says nothing of its own order.
        if shown.found.is_none() {
            let audit: Vec<String> = shown.rows.values().map(|row| request_of(row)).collect();
            self.broken
                .add(Invariant::Linearizability, book.history.judged(&audit));
        }
    }
}

/// The request that left a row.
fn request_of(row: &[u8]) -> String {
    stored::AuditRow::decode(row).unwrap().request_id
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
