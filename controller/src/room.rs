//! A leader whose disk is full lets another lead, where one has space: writes go on there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use verger_controller_raft::{Change, Member};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// How long another may take to lead.
const WITHIN: Duration = Duration::from_secs(3);

/// Looks for ever.
pub(crate) async fn keep_leading_where_space_is(member: Arc<Member>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(better) = member.better_leader() else {
            continue;
        };
        tracing::warn!(better, "this member's disk is full: another is asked to lead");
        match timeout(WITHIN, member.change(Change::Lead(better), false)).await {
            Ok(Ok(())) => tracing::info!(better, "another leads"),
            Ok(Err(error)) => tracing::warn!(%error, better, "it does not lead"),
            Err(_) => tracing::warn!(better, "it does not lead within 3 s"),
        }
    }
}
