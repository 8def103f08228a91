//! Instances that are to have no network: keeping those closed that run, and raising what is open.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use verger_agent_core::enforcer::{Hold, Subject, hold, is_held_here};
use verger_policy::compile::Compiled;
use verger_policy::drift::{self, Check};
use verger_policy::facts::{Evidence, Instance, InstanceId};
use verger_policy::model::printable_within;
use verger_policy::rules::{OPEN_NETWORK, RULES_REMOVED, Rule};

use super::Observation;
use crate::enforcement::{Enforcement, Outcome, Wanted};

/// How long it is told that rules were removed, which is over at once.
const TOLD: Duration = Duration::from_secs(15 * 60);
/// The longest reason that is told, characters.
const REASON: usize = 400;
/// What a check says of an instance whose first process is not known.
const NO_PID: &str = "the runtime does not say which process is its first, so its network cannot be found";

/// What is remembered between rounds.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Nothing is to be closed, and the last look found no rules.
    is_clean: bool,
    /// When rules were last found removed.
    removed: Option<Instant>,
}

impl Closing {
    /// Closes what is to be closed, and says what is not. Where the policy closes nothing the kernel is left alone, once nothing of
    /// what an earlier policy had closed is left.
    pub(super) async fn round(
        &mut self,
        enforcement: &Enforcement,
        compiled: &Compiled,
        observation: &Observation,
    ) -> Vec<Check> {
        let stand = is_held_here(compiled);
        if !stand && self.is_clean {
            return self.checks(BTreeMap::new());
        }
        let (wanted, mut open) = sorted(compiled, observation.instances(), observation.pids());
        let enforcement = enforcement.clone();
        let outcome = tokio::task::spawn_blocking(move || enforcement.round(Wanted { stand, ..wanted }))
            .await
            .expect("a round does not panic, and the runtime outlives it");
        let Outcome {
            open: told,
            restored,
            is_absent,
            trouble,
        } = outcome;
        match &trouble {
            Some(why) if stand => tracing::error!(why, "what is to be closed cannot be seen to"),
            Some(why) => tracing::debug!(why, "whether anything is left that is closed cannot be seen"),
            None => {}
        }
        self.is_clean = !stand && is_absent;
        if restored {
            self.removed = Some(Instant::now());
        }
        for (id, why) in told {
            open.entry(id).or_insert(why);
        }
        self.checks(open)
    }

    fn checks(&mut self, open: BTreeMap<InstanceId, String>) -> Vec<Check> {
        self.removed = self.removed.filter(|at| at.elapsed() < TOLD);
        let removed = self.removed.map(|_| Check {
            expected: Some("as the agent left them".to_owned()),
            actual: Some("changed or removed".to_owned()),
            reason:
                "somebody changed or removed the rules that keep instances closed; they were put there anew"
                    .into(),
            ..failing(&RULES_REMOVED, "bridge verger".to_owned())
        });
        let open = open.into_iter().map(|(id, why)| Check {
            expected: Some("no network".to_owned()),
            actual: Some("not seen to have none".to_owned()),
            reason: printable_within(&why, REASON).into(),
            ..failing(&OPEN_NETWORK, id.to_string())
        });
        open.chain(removed).collect()
    }
}

/// Who is to be closed and who is not, and those of whom that cannot even be tried, with the reason.
fn sorted(
    compiled: &Compiled,
    instances: &BTreeMap<InstanceId, Instance>,
    pids: &BTreeMap<InstanceId, u32>,
) -> (Wanted, BTreeMap<InstanceId, String>) {
    let mut wanted = Wanted {
        epoch: compiled.epoch(),
        ..Wanted::default()
    };
    let mut open = BTreeMap::new();
    for (id, instance) in instances {
        // What cannot be told is left as it is, closed or not; that it cannot be is told elsewhere.
        if matches!(instance.image, Evidence::Missing(_)) {
            continue;
        }
        let peer = |peer: &str| {
            let id = InstanceId {
                runtime: id.runtime,
                id: peer.to_owned(),
            };
            instances
                .get(&id)
                .cloned()
                .ok_or_else(|| format!("{peer} does not run"))
        };
        let is_closed = match hold(compiled, Ok(instance), peer) {
            Hold::Free => false,
            Hold::Closed => true,
            // It runs all the same: what can be closed of it is.
            Hold::Refused(why) => {
                open.insert(id.clone(), why);
                true
            }
        };
        match pids.get(id) {
            Some(pid) => {
                let subject = Subject {
                    instance: id.clone(),
                    pid: *pid,
                };
                if is_closed {
                    &mut wanted.closed
                } else {
                    &mut wanted.free
                }
                .push(subject);
            }
            None if is_closed => {
                open.entry(id.clone()).or_insert_with(|| NO_PID.to_owned());
            }
            None => {}
        }
    }
    (wanted, open)
}

fn failing(rule: &Rule, field: String) -> Check {
    Check {
        control: rule.control,
        rule: rule.rule_id(),
        field: field.into(),
        result: drift::Outcome::Fail,
        expected: None,
        actual: None,
        reason: "".into(),
        severity: rule.severity,
        decided_by: None,
    }
}
