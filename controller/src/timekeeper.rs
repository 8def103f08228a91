//! The leading member's stamps: the cluster's time goes on also when nobody does anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::ticks;

use crate::adapters::SystemAmbient;

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

/// Makes up for the time the cluster was off, before anybody is served.
pub(crate) async fn catch_up(member: &Member, name: &str) {
    // A clock that was not believed before is not believed for having been started again.
    let doubted = member.read(|state| state.held_back().is_some());
    stamp(member, name, if doubted { 1 } else { AT_START }).await;
}

/// Stamps the log for ever.
pub(crate) async fn keep_time(member: Arc<Member>, name: String) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        stamp(&member, &name, 1).await;
    }
}
