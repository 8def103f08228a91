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
    /// A clock was not believed then: it is not for being started again.
    doubted: bool,
}

impl Start {
    pub(crate) fn of(member: &Member) -> Self {
        Self {
            doubted: member.read(|state| state.held_back().is_some()),
        }
    }
}

/// Makes up for the time the cluster was off, if this member leads first after that; once a start, so that a clock is believed for eight days and no
/// more. Says whether it was tried. Where another led since the start, this member's clock is believed no more than while it runs.
pub(crate) async fn catch_up(member: &Member, name: &str, start: Start) -> bool {
    let leads_first = || member.is_leading() && !member.has_followed();
    // By the time as it was last: what the one before put into the log counts.
    let is_due = leads_first() && member.catch_up().await.is_ok() && leads_first();
    if is_due {
        stamp(member, name, if start.doubted { 1 } else { AT_START }).await;
    }
    is_due
}

/// Stamps the log for ever; the time that the cluster was off is made up for first where nobody else does, and is said to be.
pub(crate) async fn keep_time(
    member: Arc<Member>,
    name: String,
    start: Start,
    is_made_up: oneshot::Sender<()>,
) {
    while !member.has_followed() && !catch_up(&member, &name, start).await {
        tokio::time::sleep(LOOK).await;
    }
    // Who serves already does not wait for it.
    let _ = is_made_up.send(());
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        stamp(&member, &name, 1).await;
    }
}
