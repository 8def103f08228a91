//! Raising the cluster's version: whoever leads does it, as soon as every member knows a later one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::{Action, Command, Refused, Response};

use crate::adapters::SystemAmbient;

/// Between two looks at what the members know.
const EVERY: Duration = Duration::from_secs(2);

/// Raises it for ever, while this member leads.
pub(crate) async fn keep_raising(member: Arc<Member>, name: String) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if !member.is_leading() {
            continue;
        }
        let Some(to) = member.agreed_version() else {
            continue;
        };
        let command = Command::of_member(&name, SystemAmbient.now(), Action::RaiseVersion { to });
        match member.propose(&command).await {
            Ok(Response::VersionRaised) => tracing::info!(
                version = to.number(),
                "every member knows this version: the cluster is at it from now on, and no member goes back to a program that does not know it"
            ),
            // It is asked for again.
            Ok(Response::Refused(Refused::MemberJoins(joins))) => {
                tracing::debug!(%joins, "the cluster's version is not raised yet")
            }
            Ok(other) => tracing::warn!(?other, "the cluster's version was not raised"),
            Err(error) => tracing::debug!(%error, "the cluster's version was not raised"),
        }
    }
}
