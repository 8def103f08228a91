//! Watches whether the gate still stands in every way to the runtime, and who came past it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use verger_agent_core::doors::Doors;
use verger_agent_runtimes::docker::{DockerRuntime, RegisteredRuntimes};
use verger_agent_runtimes::doors::{Places, look};
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::Evidence;
use verger_policy::rules::Rule;

use super::standing::Standing;

/// Between two looks: what changes is to be told within five seconds.
const EVERY: Duration = Duration::from_secs(4);
/// Between two questions to Docker about the runtimes that it knows; asked anew at once where it could not be asked.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// What is known of the doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// This host is configured without a gate.
    Not,
    /// They were not looked at since the agent began.
    NotYet,
    /// As they were seen last.
    Seen(Box<Doors>),
}

impl Watched {
    /// The checks; of each rule, what an earlier round or run raised is `open`.
    pub(crate) fn checks(&self, open: &[(Rule, BTreeSet<String>)]) -> Vec<Check> {
        match self {
            Self::Not => Vec::new(),
            Self::Seen(doors) => {
                let fields = open.iter().flat_map(|(_, fields)| fields).cloned().collect();
                doors.checks(&fields)
            }
            Self::NotYet => {
                let doubtful = |(rule, fields): &(Rule, BTreeSet<String>)| {
                    let (rule, fields) = (*rule, fields.clone());
                    fields.into_iter().map(move |field| Check {
                        control: rule.control,
                        rule: rule.rule_id(),
                        field: field.into(),
                        result: Outcome::NotEvaluated,
                        expected: None,
                        actual: None,
                        reason: "it was not looked at since the agent began".into(),
                        severity: rule.severity,
                        decided_by: None,
                    })
                };
                open.iter().flat_map(doubtful).collect()
            }
        }
    }
}

/// Looks until stopped.
pub(crate) async fn watch(
    places: Places,
    docker: Arc<DockerRuntime>,
    seen: watch::Sender<Watched>,
    stop: CancellationToken,
) {
    let mut standing = Standing::default();
    let mut asked: Option<(Instant, Evidence<RegisteredRuntimes>)> = None;
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let held = asked
            .take()
            .filter(|(at, known)| matches!(known, Evidence::Seen(_)) && at.elapsed() < ASK_EVERY);
        let (at, registered) = match held {
            Some(held) => held,
            None => (Instant::now(), registered(&docker).await),
        };
        let (doors, used) = once(places.clone(), standing, registered.clone()).await;
        (standing, asked) = (used, Some((at, registered)));
        let news = Watched::Seen(Box::new(doors));
        seen.send_if_modified(|held| {
            let differs = *held != news;
            if differs {
                *held = news;
            }
            differs
        });
    }
}

/// The runtimes that Docker knows.
pub(crate) async fn registered(docker: &DockerRuntime) -> Evidence<RegisteredRuntimes> {
    match docker.registered().await {
        Ok(registered) => Evidence::Seen(registered),
        Err(error) => Evidence::Missing(error.to_string()),
    }
}

/// One look; what was worked out of the gate's files is used the next time.
pub(crate) async fn once(
    places: Places,
    mut standing: Standing,
    registered: Evidence<RegisteredRuntimes>,
) -> (Doors, Standing) {
    let looking = move || {
        let files = standing.faults(&places.gate);
        (look(&places, files, &registered), standing)
    };
    tokio::task::spawn_blocking(looking)
        .await
        .expect("looking at files does not panic, and the runtime outlives it")
}
