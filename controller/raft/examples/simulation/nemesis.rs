//! Whatever can go wrong with members and the network between them.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};
use verger_controller_raft::{Change, Part};

use crate::replacement;
use crate::world::{Cluster, Running, name};

/// Between two things that go wrong, milliseconds.
const REST: std::ops::Range<u64> = 100..1_200;
/// How long a member is away, hangs, or everything is late, milliseconds.
const AWAY: std::ops::Range<u64> = 50..3_000;
/// How long a change of members may take.
const CHANGE: Duration = Duration::from_secs(3);
/// Entries after which a member writes a snapshot, and how often that is looked at.
const SNAPSHOT_EVERY: u64 = 100;
const LOOK: Duration = Duration::from_millis(50);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The power of one member.
    Crash,
    /// The power of the whole room.
    CrashAll,
    /// Who leads is cut off with a minority.
    MinorityWithLeader,
    /// A minority is cut off from who leads.
    MinorityWithoutLeader,
    /// One does not hear another, which hears it.
    OneWay,
    /// A member hangs.
    Pause,
    /// Everything comes late.
    Late,
    /// Another is asked to lead.
    HandOver,
    /// Who votes votes no more, or again.
    Membership,
    /// A member goes for good, and another comes in its place.
    Replace,
}

impl Fault {
    /// Each, as often as it is to be drawn.
    const DRAWN: [Self; 15] = [
        Self::Crash,
        Self::Crash,
        Self::CrashAll,
        Self::MinorityWithLeader,
        Self::MinorityWithLeader,
        Self::MinorityWithoutLeader,
        Self::OneWay,
        Self::Pause,
        Self::Late,
        Self::HandOver,
        Self::Membership,
        Self::Membership,
        Self::Membership,
        Self::Replace,
        Self::Replace,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Crash => "crashes of one",
            Self::CrashAll => "of all",
            Self::MinorityWithLeader => "leaders cut off with a minority",
            Self::MinorityWithoutLeader => "minorities cut off from a leader",
            Self::OneWay => "ways cut in one direction",
            Self::Pause => "pauses",
            Self::Late => "times everything late",
            Self::HandOver => "leaderships handed over",
            Self::Membership => "changes of who votes",
            Self::Replace => "members replaced",
        }
    }
}

/// What was done, how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done(BTreeMap<Fault, u64>);

impl Done {
    fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    /// How often what was done the least.
    pub(crate) fn least(&self) -> u64 {
        let of = |fault| self.0.get(&fault).copied().unwrap_or(0);
        Fault::DRAWN.map(of).into_iter().min().unwrap_or(0)
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (fault, count)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {}", fault.word())?;
        }
        Ok(())
    }
}

/// Does it until then, and then lets everything be well.
pub(crate) async fn harass(cluster: &mut Cluster, mut lots: StdRng, until: Instant) -> Done {
    let mut done = Done::default();
    while Instant::now() < until && cluster.is_whole() {
        sleep(millis(&mut lots, REST)).await;
        if lots.random_range(0..4) == 0 {
            cluster.router.heal();
        }
        let fault = Fault::DRAWN[lots.random_range(0..Fault::DRAWN.len())];
        if happens(cluster, fault, &mut lots).await {
            done.count(fault);
        }
    }
    cluster.router.heal();
    cluster.pauses.end(None);
    for id in cluster.ids() {
        if cluster.running.get(id).is_none() {
            cluster.start(id, &mut lots).await;
        }
    }
    done
}

fn millis(lots: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(lots.random_range(range))
}

/// Has it happen; says whether it did.
async fn happens(cluster: &mut Cluster, fault: Fault, lots: &mut StdRng) -> bool {
    let all: Vec<u64> = cluster.ids();
    let one = all[lots.random_range(0..all.len())];
    let leader = cluster.leader();
    let mostly_leader = match lots.random_range(0..2) {
        0 => leader.unwrap_or(one),
        _ => one,
    };
    match fault {
        Fault::Crash => {
            cluster.crash(mostly_leader, lots).await;
            sleep(millis(lots, AWAY)).await;
            cluster.start(mostly_leader, lots).await;
        }
        Fault::CrashAll => {
            for id in &all {
                cluster.crash(*id, lots).await;
            }
            sleep(millis(lots, AWAY)).await;
            for id in &all {
                cluster.start(*id, lots).await;
            }
        }
        Fault::MinorityWithLeader | Fault::MinorityWithoutLeader => {
            let Some(leader) = leader else { return false };
            let most = (all.len() - 1) / 2;
            let count = lots.random_range(1..=most);
            let others = all.iter().copied().filter(|id| *id != leader);
            // From one of them on, around.
            let mut others: Vec<u64> = others.collect();
            let from = lots.random_range(0..others.len());
            others.rotate_left(from);
            let group: Vec<u64> = match fault {
                Fault::MinorityWithLeader => std::iter::once(leader).chain(others).take(count).collect(),
                _ => others.into_iter().take(count).collect(),
            };
            cluster.part(&group);
        }
        Fault::OneWay => {
            let others: Vec<u64> = all.iter().copied().filter(|id| *id != mostly_leader).collect();
            let other = others[lots.random_range(0..others.len())];
            cluster.router.cut(&name(mostly_leader), &name(other));
        }
        Fault::Pause => {
            let until = Instant::now() + millis(lots, AWAY);
            cluster.pauses.pause(mostly_leader, until);
        }
        Fault::Late => {
            let until = Instant::now() + millis(lots, AWAY);
            cluster.router.slow_down(until);
        }
        Fault::HandOver => {
            let Some(member) = leader.and_then(|id| cluster.running.get(id)) else {
                return false;
            };
            // To a learner, or to itself, it does not.
            let handed = timeout(CHANGE, member.change(Change::Lead(one), false)).await;
            return matches!(handed, Ok(Ok(())));
        }
        Fault::Membership => {
            // At any of them; who leads and is to vote no more has another lead.
            let Some(member) = cluster.running.get(one) else {
                return false;
            };
            let members = member.standing().members;
            let Some(of) = members.get(lots.random_range(0..members.len().max(1))) else {
                return false;
            };
            let change = match of.part {
                Part::Voter => Change::Demote(of.id),
                Part::Learner => Change::Promote(of.id),
            };
            let changed = timeout(CHANGE, member.change(change, false)).await;
            return matches!(changed, Ok(Ok(())));
        }
        Fault::Replace => return replacement::happens(cluster, lots).await,
    }
    true
}

/// Has every member write a snapshot every 100 entries and purge what it covers, until nobody wants that any more. Counts them.
pub(crate) async fn keep_snapshots(running: Running, made: std::rc::Rc<std::cell::Cell<u64>>) {
    loop {
        for (_, member) in running.all() {
            let standing = member.standing();
            if standing.applied >= standing.snapshot + SNAPSHOT_EVERY {
                let snapshot = timeout(CHANGE, member.snapshot_and_purge()).await;
                if matches!(snapshot, Ok(Ok(()))) {
                    made.set(made.get() + 1);
                }
            }
        }
        sleep(LOOK).await;
    }
}
