//! Watches whether the gate still stands in every way to the runtime, and who came past it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use verger_agent_core::doors::Doors;
use verger_agent_runtimes::docker::{DockerRuntime, RegisteredRuntimes};
use verger_agent_runtimes::doors::{Places, look};
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::Evidence;
use verger_policy::rules::Rule;

use super::standing::{Standing, Wanted};

/// Between two looks: what changes is to be told within five seconds.
const EVERY: Duration = Duration::from_secs(4);
/// Between two questions to Docker about the runtimes that it knows; asked anew at once where it could not be asked.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How long a look may take. One that is held up goes on, and no other is begun meanwhile.
const LONGEST: Duration = Duration::from_secs(30);

/// What is known of the doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// This host is configured without a gate.
    Not,
    /// They were not looked at since the agent began.
    NotYet,
    /// The last look has not ended in time.
    HeldUp,
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
            Self::NotYet | Self::HeldUp => {
                let why = match self {
                    Self::HeldUp => {
                        "looking at the ways to the runtime does not end: something of the host's keeps it waiting"
                    }
                    _ => "it was not looked at since the agent began",
                };
                let doubtful = |(rule, fields): &(Rule, BTreeSet<String>)| {
                    let (rule, fields) = (*rule, fields.clone());
                    fields.into_iter().map(move |field| Check {
                        control: rule.control,
                        rule: rule.rule_id(),
                        field: field.into(),
                        result: Outcome::NotEvaluated,
                        expected: None,
                        actual: None,
                        reason: why.into(),
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
    wanted: Wanted,
    docker: Arc<DockerRuntime>,
    seen: watch::Sender<Watched>,
    stop: CancellationToken,
) {
    let mut standing = Standing::default();
    let mut asked: Option<(Instant, Evidence<RegisteredRuntimes>)> = None;
    let mut held_up: Option<Looking> = None;
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        if let Some(mut looking) = held_up.take() {
            match within(LONGEST, &mut looking, &stop).await {
                // What it saw is of then: of it, only digests are still good.
                Some((_, used)) => standing = used,
                None => {
                    held_up = Some(looking);
                    continue;
                }
            }
        }
        let held = asked
            .take()
            .filter(|(at, known)| matches!(known, Evidence::Seen(_)) && at.elapsed() < ASK_EVERY);
        let (at, registered) = match held {
            Some(held) => held,
            None => (Instant::now(), registered(&docker).await),
        };
        let mut looking = begin(
            (places.clone(), wanted.clone()),
            std::mem::take(&mut standing),
            registered.clone(),
        );
        asked = Some((at, registered));
        let news = match within(LONGEST, &mut looking, &stop).await {
            Some((doors, used)) => {
                standing = used;
                Watched::Seen(Box::new(doors))
            }
            None if stop.is_cancelled() => return,
            None => {
                held_up = Some(looking);
                tracing::warn!(
                    "looking at the ways to the runtime has not ended in {} s: until it does, whether the gate stands is not known",
                    LONGEST.as_secs()
                );
                Watched::HeldUp
            }
        };
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

/// A look that is under way.
type Looking = oneshot::Receiver<(Doors, Standing)>;

/// Begins a look; what was worked out of the gate's files is used the next time. In a thread that nothing waits for: one that is held up
/// must not keep the program from ending.
fn begin(
    (places, wanted): (Places, Wanted),
    mut standing: Standing,
    registered: Evidence<RegisteredRuntimes>,
) -> Looking {
    let (tell, looking) = oneshot::channel();
    std::thread::spawn(move || {
        let files = standing.faults(&places.gate, &wanted);
        let doors = look(&places, files, &registered);
        // Who asked may have gone.
        let _ = tell.send((doors, standing));
    });
    looking
}

/// What it saw, if that is known in time.
async fn within<T>(
    longest: Duration,
    looking: &mut oneshot::Receiver<T>,
    stop: &CancellationToken,
) -> Option<T> {
    tokio::select! {
        () = stop.cancelled() => None,
        seen = tokio::time::timeout(longest, looking) => {
            Some(seen.ok()?.expect("looking at files does not panic"))
        }
    }
}

/// One look.
///
/// # Errors
/// When it does not end in time.
pub(crate) async fn once(
    places: Places,
    wanted: Wanted,
    registered: Evidence<RegisteredRuntimes>,
) -> anyhow::Result<Doors> {
    let mut looking = begin((places, wanted), Standing::default(), registered);
    let seen = within(LONGEST, &mut looking, &CancellationToken::new()).await;
    let (doors, _) = seen.with_context(|| {
        format!(
            "looking at the ways to the runtime has not ended in {} s: something of the host's keeps it waiting",
            LONGEST.as_secs()
        )
    })?;
    Ok(doors)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use verger_policy::rules::PAST_GATE;

    #[tokio::test(start_paused = true)]
    async fn a_look_that_is_held_up_is_waited_for_again_and_not_lost() {
        let (tell, mut looking) = oneshot::channel();
        let stop = CancellationToken::new();
        for _ in 0..2 {
            assert_eq!(within(LONGEST, &mut looking, &stop).await, None);
        }
        tell.send(7).unwrap();
        assert_eq!(within(LONGEST, &mut looking, &stop).await, Some(7));
    }

    #[test]
    fn while_a_look_is_held_up_what_is_open_is_not_evaluated() {
        let open = [(PAST_GATE, BTreeSet::from(["containers[moby/ab12]".to_owned()]))];
        let checks = Watched::HeldUp.checks(&open);
        let [check] = checks.as_slice() else {
            panic!("{checks:?}")
        };
        assert_eq!(check.result, Outcome::NotEvaluated);
        assert_eq!(check.field, "containers[moby/ab12]");
        assert!(check.reason.contains("does not end"));
        assert_eq!(Watched::Not.checks(&open), []);
    }
}
