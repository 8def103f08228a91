//! Writes that are durable on a quorum before they are answered, by Verger's members and by Debian's etcd: three processes of each on this
//! machine, with mutual TLS, their data on one file system, the same clients in turn.

mod etcd;
mod failover;
mod floor;
mod load;
mod processes;
mod side;
mod tables;
mod verger;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::{Handle, Runtime};

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use etcd::Etcd;
use load::{Acknowledged, Window, window};
use processes::{Others, Syncs};
use side::{Client, Side, Task};
use tables::Figures;
use verger::Verger;

/// Members of each cluster, that all vote.
const MEMBERS: usize = 3;
/// Who writes at a time: one at the leader, or more that are spread over the members.
const LOADS: [Load; 4] = [
    Load::each(1),
    Load::each(64),
    Load::each(MOST),
    Load {
        clients: MOST,
        connections: SHARED,
    },
];
/// Which of them the goals are about.
const ONE: usize = 0;
const ALL: usize = 2;
/// Clients of the largest loads.
const MOST: usize = 500;
/// Connections of as many clients where they share some.
const SHARED: usize = 15;
/// Rounds, each of one window of every load on both sides.
const ROUNDS: usize = 10;
const WINDOW: Duration = Duration::from_millis(1_000);
/// Windows of every load on both sides in which calls that wait for a disk are counted.
const COUNTED: usize = 2;
/// How long the three raw loops run in a round.
const FLOOR: Duration = Duration::from_millis(500);
/// Times that each side's leader is killed.
const KILLED: usize = 5;

/// What each client writes to: one name of its own.
fn key_of(client: usize) -> String {
    format!("written-{client:04}")
}

/// Who writes at a time, and over how many connections.
#[derive(Clone, Copy, Debug)]
struct Load {
    clients: usize,
    connections: usize,
}

impl Load {
    /// A connection for each.
    const fn each(clients: usize) -> Self {
        Self {
            clients,
            connections: clients,
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.clients == self.connections {
            return write!(f, "{}", self.clients);
        }
        write!(f, "{} over {}", self.clients, self.connections)
    }
}

/// One side, with its clients.
struct Rig<'a> {
    side: &'a mut dyn Side,
    /// With a connection for each; the first three are one at each member.
    clients: Vec<Client>,
    /// With few connections for all.
    shared: Vec<Client>,
    acknowledged: Acknowledged,
    /// What was written before.
    before: u64,
}

impl<'a> Rig<'a> {
    fn of(side: &'a mut dyn Side) -> Result<Self> {
        let clients = (0..MOST).map(|number| Client::connect(side, number, number % MEMBERS));
        let connections = (0..SHARED).map(|number| side.connect(number, number % MEMBERS));
        let connections = connections.collect::<Result<Vec<_>>>()?;
        let shared = (0..MOST).map(|number| Client::over(side, number, connections[number % SHARED].clone()));
        Ok(Self {
            shared: shared.collect(),
            clients: clients.collect::<Result<_>>()?,
            acknowledged: Acknowledged::default(),
            before: side.written(0)?,
            side,
        })
    }

    /// A window of a load of writes.
    fn window(&mut self, handle: &Handle, load: Load) -> Result<Window> {
        let acknowledged = self.acknowledged.clone();
        self.calls(handle, load, Task::Write, &acknowledged)
    }

    fn calls(&mut self, handle: &Handle, load: Load, task: Task, answered: &Acknowledged) -> Result<Window> {
        let first = match load.clients {
            1 => self.side.leader()?,
            _ => 0,
        };
        let clients = match load.connections {
            SHARED => &mut self.shared,
            _ => &mut self.clients,
        };
        let rest = clients.split_off(first + load.clients);
        let chosen = clients.split_off(first);
        let (chosen, window) = window(handle, self.side, (chosen, task), WINDOW, answered)?;
        let clients = match load.connections {
            SHARED => &mut self.shared,
            _ => &mut self.clients,
        };
        clients.extend(chosen);
        clients.extend(rest);
        Ok(window)
    }

    /// Calls that wait for a disk for each write, of all members, under a load.
    fn syncs(&mut self, handle: &Handle, folder: &Path, load: Load) -> Result<[f64; 2]> {
        let before = self.acknowledged.count();
        let syncs = Syncs::count(folder, &self.side.pids()?)?;
        self.window(handle, load)?;
        let syncs = syncs.end()?;
        let writes = self.acknowledged.count() - before;
        ensure!(writes > 0, "{}: nothing was written", self.side.name());
        Ok(syncs.map(|syncs| syncs as f64 / writes as f64))
    }

    /// Everything that was acknowledged is at every member, which all have as much.
    fn has_all(&self) -> Result<()> {
        let name = self.side.name();
        let written: Vec<u64> = (0..MEMBERS)
            .map(|member| self.side.written(member))
            .collect::<Result<_>>()?;
        let acknowledged = self.acknowledged.count();
        tell(&format!(
            "{name}: {acknowledged} writes acknowledged; written, by member: {written:?}"
        ));
        for written in &written {
            ensure!(
                written - self.before >= acknowledged,
                "{name}: {acknowledged} writes were acknowledged, and a member has {}",
                written - self.before
            );
        }
        ensure!(
            written.iter().all(|other| Some(other) == written.first()),
            "{name}: the members have different numbers of writes: {written:?}"
        );
        Ok(())
    }
}

/// Measures; writes a table into `folder`.
///
/// # Errors
/// When a cluster does not work, or has not all that it acknowledged.
pub fn run(folder: &Path) -> Result<Verdict> {
    super::is_optimised()?;
    verger_transport::install_crypto_provider();
    let programs = Programs::find_optimised(&["verger-controller"])?;
    let runtime = Runtime::new().context("starting the clients' threads")?;
    let handle = runtime.handle();
    let mut verger = Verger::found(&programs, handle)?;
    let data = verger.folder("etcd");
    let mut etcd = Etcd::found(&data, handle)?;
    tell(&format!(
        "{} x {MEMBERS} beside Verger's {MEMBERS} members",
        etcd.version
    ));
    let version = etcd.version.clone();
    let mut rigs = [Rig::of(&mut verger)?, Rig::of(&mut etcd)?];
    let pids = |rigs: &[Rig<'_>]| -> Result<Vec<u32>> {
        Ok(rigs
            .iter()
            .map(|rig| rig.side.pids())
            .collect::<Result<Vec<_>>>()?
            .concat())
    };

    let mut figures = Figures::of(version);
    let others = Others::watch(&pids(&rigs)?)?;
    for round in 0..ROUNDS {
        figures.floor.push(floor::append_and_sync(&data, FLOOR)?);
        for (place_of, load) in LOADS.into_iter().enumerate() {
            for turn in 0..rigs.len() {
                // Who is first changes.
                let place = (round + turn) % rigs.len();
                let window = rigs[place].window(handle, load)?;
                figures.windows[place_of][place].push(window);
            }
        }
        for turn in 0..rigs.len() {
            let place = (round + turn) % rigs.len();
            let nothing = Acknowledged::default();
            let window = rigs[place].calls(handle, LOADS[ALL], Task::Ask, &nothing)?;
            figures.asked[place].push(window);
        }
        tell(&figures.round());
    }
    figures.others = others.cores(&pids(&rigs)?)?;
    for _ in 0..COUNTED {
        for (place_of, load) in LOADS.into_iter().enumerate() {
            for (place, rig) in rigs.iter_mut().enumerate() {
                figures.syncs[place_of][place].push(rig.syncs(handle, &data, load)?);
            }
        }
    }
    for (place, rig) in rigs.iter().enumerate() {
        figures.memory[place] = processes::resident(&rig.side.pids()?)?;
    }
    for _ in 0..KILLED {
        for (place, rig) in rigs.iter_mut().enumerate() {
            let took = failover::once(handle, rig.side, &rig.acknowledged)?;
            tell(&format!(
                "{}: writes again {:.2} s after the leader was killed",
                rig.side.name(),
                took.as_secs_f64()
            ));
            figures.failovers[place].push(took.as_secs_f64());
        }
    }
    for rig in &rigs {
        rig.has_all()?;
    }
    drop(rigs);
    let (figure, holds) = figures.verdict();
    super::write(
        folder,
        "replicated_writes",
        &format!("{}\n{figure}\n", figures.table()),
    )?;
    Ok(Verdict { figure, holds })
}
