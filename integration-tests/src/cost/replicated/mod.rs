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
/// Clients that write at a time. One writes at the leader; more are spread over the members.
const CLIENTS: [usize; 3] = [1, 64, 500];
const MOST: usize = CLIENTS[CLIENTS.len() - 1];
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

/// One side, with its clients.
struct Rig<'a> {
    side: &'a mut dyn Side,
    /// All of them; the first three are one at each member.
    clients: Vec<Client>,
    acknowledged: Acknowledged,
    /// What was written before.
    before: u64,
}

impl<'a> Rig<'a> {
    fn of(side: &'a mut dyn Side) -> Result<Self> {
        let clients = (0..MOST).map(|number| Client::connect(side, number, number % MEMBERS));
        Ok(Self {
            clients: clients.collect::<Result<_>>()?,
            acknowledged: Acknowledged::default(),
            before: side.written(0)?,
            side,
        })
    }

    /// A window of so many clients that write.
    fn window(&mut self, handle: &Handle, count: usize) -> Result<Window> {
        let acknowledged = self.acknowledged.clone();
        self.calls(handle, count, Task::Write, &acknowledged)
    }

    fn calls(
        &mut self,
        handle: &Handle,
        count: usize,
        task: Task,
        answered: &Acknowledged,
    ) -> Result<Window> {
        let first = match count {
            1 => self.side.leader()?,
            _ => 0,
        };
        let rest = self.clients.split_off(first + count);
        let chosen = self.clients.split_off(first);
        let (chosen, window) = window(handle, self.side, (chosen, task), WINDOW, answered)?;
        self.clients.extend(chosen);
        self.clients.extend(rest);
        Ok(window)
    }

    /// Calls that wait for a disk for each write, of all members, while so many clients write.
    fn syncs(&mut self, handle: &Handle, folder: &Path, count: usize) -> Result<[f64; 2]> {
        let before = self.acknowledged.count();
        let syncs = Syncs::count(folder, &self.side.pids()?)?;
        self.window(handle, count)?;
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
        for (load, clients) in CLIENTS.into_iter().enumerate() {
            for turn in 0..rigs.len() {
                // Who is first changes.
                let place = (round + turn) % rigs.len();
                let window = rigs[place].window(handle, clients)?;
                figures.windows[load][place].push(window);
            }
        }
        for turn in 0..rigs.len() {
            let place = (round + turn) % rigs.len();
            let nothing = Acknowledged::default();
            let window = rigs[place].calls(handle, MOST, Task::Ask, &nothing)?;
            figures.asked[place].push(window);
        }
        tell(&figures.round());
    }
    figures.others = others.cores(&pids(&rigs)?)?;
    for _ in 0..COUNTED {
        for (load, clients) in CLIENTS.into_iter().enumerate() {
            for (place, rig) in rigs.iter_mut().enumerate() {
                figures.syncs[load][place].push(rig.syncs(handle, &data, clients)?);
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
