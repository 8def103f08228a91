//! The leading member's stamps: the cluster's time goes on also when nobody does anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::ticks;

use crate::adapters::SystemAmbient;

/// Between two looks at who leads, after a start.
const LOOK: Duration = Duration::from_millis(100);
/// Between two stamps.
const EVERY: Duration = Duration::from_secs(60);
/// Steps made up for at start: a cluster that was off for eight days goes on as if it had not been. A clock that is further
/// ahead is not believed at once, and the cluster says so.
const AT_START: usize = 8 * 24;

/// Stamps the log once, or makes up for a pause in at most so many steps.
async fn stamp(member: &Member, name: &str, most: usize) {
    if !member.is_leading() {
        return;
    }
    let actor = format!("controller/{name}");
    let wall = SystemAmbient.now();
    for tick in member.read(|state| ticks(state.clock(), wall, most, &actor)) {
        // The next stamp is the retry.
        if let Err(error) = member.propose(&tick).await {
            tracing::warn!(%error, "the cluster's time was not stamped");
            return;
        }
    }
}

/// How a member was when it was started, before anybody led or said anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Where its log ended.
    ended: u64,
    /// A clock was not believed then: it is not for being started again.
    doubted: bool,
}

impl Start {
    pub(crate) fn of(member: &Member) -> Self {
        Self {
            ended: member.standing().last,
            doubted: member.read(|state| state.held_back().is_some()),
        }
    }
}

/// Makes up for the time the cluster was off, if this member leads: where it decides alone, or before anybody else is there. To be done once a start;
/// says whether it was.
pub(crate) async fn catch_up(member: &Member, name: &str, start: Start) -> bool {
    // By the time as it was last: what the one before put into the log counts.
    let leads = member.is_leading() && member.catch_up().await.is_ok() && member.is_leading();
    if leads {
        stamp(member, name, if start.doubted { 1 } else { AT_START }).await;
    }
    leads
}

/// Makes up for it where this member leads first after the cluster was off. Where another led since this start, which has the log grow or says
/// that it leads, this member's clock is believed no more than while it runs.
async fn make_up(member: &Member, name: &str, start: Start) {
    while !catch_up(member, name, start).await {
        let standing = member.standing();
        let has_grown = standing.last > start.ended && standing.leader != Some(standing.id);
        let is_led = member.catch_up().await.is_ok() && !member.is_leading();
        if has_grown || is_led {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Stamps the log for ever; what the cluster was off for is made up first, and told when it is. Begins with the member: later it might not hear
/// of who led meanwhile.
pub(crate) async fn keep_time(
    member: Arc<Member>,
    name: String,
    start: Start,
    is_made_up: oneshot::Sender<()>,
) {
    make_up(&member, &name, start).await;
    // Who serves already does not wait for it.
    let _ = is_made_up.send(());
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        stamp(&member, &name, 1).await;
    }
}
