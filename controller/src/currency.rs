//! A member that cannot tell whether what it knows is current serves nobody: calls are refused one by one, and streams, which ask nobody
//! anything while they are open, are ended, so that agents and watchers go to a member that can.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use verger_controller_raft::Member;

/// Between two questions. A leader asks a quorum, anybody else the leader: a small message to each.
const EVERY: Duration = Duration::from_secs(2);

/// Asks for ever; `lapses` is called whenever the answer fails to come. Asking waits for 5 s: what was revoked is
/// streamed to nobody some 10 s later.
pub(crate) async fn keep_asking(member: Arc<Member>, health: HealthReporter, lapses: impl Fn() + Send) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_current = true;
    loop {
        every.tick().await;
        let is_current = member.catch_up().await.is_ok();
        if is_current != was_current {
            let status = match is_current {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            health.set_service_status("", status).await;
            tracing::warn!(is_current, "whether this member is current has changed");
        }
        // Also where it was not before: somebody may have come in between.
        if !is_current {
            lapses();
        }
        was_current = is_current;
    }
}
