//! Silence is told: a host whose agent is not heard of is a finding, and no sign that all is well.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use verger_controller_api::fleet::Fleet;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::{Action, Command};
use verger_policy::model::AgentId;

use crate::adapters::SystemAmbient;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Three heartbeats of a session.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Agents that lost their controller come back within a minute, each when its own waiting is over.
const AFTER_START: Duration = Duration::from_secs(90);

/// Whether an agent is silent, by its open sessions, the time since it was last heard of, and the time since this member began to
/// listen.
fn is_silent(sessions: u32, quiet: Option<Duration>, listening: Duration) -> bool {
    sessions == 0 && quiet.map_or(listening > AFTER_START, |quiet| quiet > SILENT_AFTER)
}

/// Watches for ever.
pub(crate) async fn keep_watch(member: Arc<Member>, fleet: Arc<Fleet>, name: String) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut began = Instant::now();
    loop {
        every.tick().await;
        if !member.is_leading() {
            began = Instant::now();
            continue;
        }
        let known: Vec<(AgentId, bool)> = member.read(|state| {
            // Whoever was shut out is silent.
            let hosts = state.hosts().filter(|(_, host)| host.serves());
            hosts
                .map(|(agent, _)| (agent.clone(), state.is_silent(agent)))
                .collect()
        });
        let now = SystemAmbient.now();
        for (agent, told) in known {
            let (sessions, last) = fleet.heard_of(&agent);
            // A clock set back must not make anybody heard of.
            let quiet = last.map(|at| now.duration_since(at).unsigned_abs());
            let silent = is_silent(sessions, quiet, began.elapsed());
            // Of a member that has just started, nobody is known to speak or to be silent.
            let unknown = sessions == 0 && last.is_none() && !silent;
            if silent == told || unknown {
                continue;
            }
            let command = Command {
                stamp: now,
                actor: format!("controller/{name}"),
                request_id: None,
                from: None,
                policies: Vec::new(),
                counted: false,
                action: Action::TellSilence {
                    agent: agent.clone(),
                    silent,
                    since: last,
                },
            };
            tracing::warn!(%agent, silent, "an agent fell silent, or speaks again");
            // The next look is the retry.
            if let Err(error) = member.propose(&command).await {
                tracing::warn!(%error, "silence was not told");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_silent_after_three_heartbeats_or_when_it_does_not_come_back() {
        let seconds = Duration::from_secs;
        assert!(!is_silent(1, Some(seconds(900)), seconds(900)), "connected");
        assert!(
            !is_silent(0, Some(seconds(15)), seconds(900)) && is_silent(0, Some(seconds(16)), seconds(900))
        );
        assert!(!is_silent(0, None, seconds(90)) && is_silent(0, None, seconds(91)));
    }
}
