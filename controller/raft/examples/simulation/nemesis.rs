//! Whatever can go wrong with members and the network between them.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};
use verger_controller_raft::{Change, Part};

use crate::world::{Cluster, name};

/// Between two things that go wrong, milliseconds.
const REST: std::ops::Range<u64> = 100..1_500;
/// How long a member is away, milliseconds.
const AWAY: std::ops::Range<u64> = 50..3_000;
/// How long a change of members may take.
const CHANGE: Duration = Duration::from_secs(3);

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) crashes: u64,
    pub(crate) partitions: u64,
    pub(crate) changes: u64,
    pub(crate) snapshots: u64,
}

/// Does it until then, and then lets everything be well.
pub(crate) async fn harass(cluster: &mut Cluster, mut lots: StdRng, until: Instant) -> Done {
    let mut done = Done::default();
    while Instant::now() < until && cluster.is_whole() {
        sleep(Duration::from_millis(lots.random_range(REST))).await;
        let all: Vec<u64> = cluster.ids();
        let one = all[lots.random_range(0..all.len())];
        let leader = cluster.leader();
        match lots.random_range(0..14) {
            0 | 1 => {
                let alone = if lots.random_range(0..2) == 0 {
                    leader.unwrap_or(one)
                } else {
                    one
                };
                cluster.part(&[alone]);
                done.partitions += 1;
            }
            2 => {
                // One way only.
                let other = all[lots.random_range(0..all.len())];
                cluster.router.cut(&name(one), &name(other));
                done.partitions += 1;
            }
            3 | 4 => cluster.router.heal(),
            5 | 6 => {
                let victim = if lots.random_range(0..2) == 0 {
                    leader.unwrap_or(one)
                } else {
                    one
                };
                cluster.crash(victim, &mut lots).await;
                sleep(Duration::from_millis(lots.random_range(AWAY))).await;
                cluster.start(victim, &mut lots).await;
                done.crashes += 1;
            }
            7 => {
                // The power of the whole room.
                for id in &all {
                    cluster.crash(*id, &mut lots).await;
                    done.crashes += 1;
                }
                sleep(Duration::from_millis(lots.random_range(AWAY))).await;
                for id in &all {
                    cluster.start(*id, &mut lots).await;
                }
            }
            8 => {
                if let Some(member) = leader.and_then(|id| cluster.running.get(id)) {
                    // To a learner, or to itself, it does not.
                    let _ = tokio::time::timeout(CHANGE, member.change(Change::Lead(one), false)).await;
                }
            }
            9 | 10 => {
                if let Some(member) = cluster.running.get(one) {
                    let made = tokio::time::timeout(CHANGE, member.snapshot_and_purge()).await;
                    done.snapshots += u64::from(matches!(made, Ok(Ok(()))));
                }
            }
            _ => {
                // At any of them; who leads and is to vote no more has another lead.
                if let Some(member) = cluster.running.get(one) {
                    let members = member.standing().members;
                    let Some(of) = members.get(lots.random_range(0..members.len().max(1))) else {
                        continue;
                    };
                    let change = match of.part {
                        Part::Voter => Change::Demote(of.id),
                        Part::Learner => Change::Promote(of.id),
                    };
                    let changed = tokio::time::timeout(CHANGE, member.change(change, false)).await;
                    done.changes += u64::from(matches!(changed, Ok(Ok(()))));
                }
            }
        }
    }
    cluster.router.heal();
    for id in cluster.ids() {
        if cluster.running.get(id).is_none() {
            cluster.start(id, &mut lots).await;
        }
    }
    done
}
