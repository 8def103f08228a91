//! Checks about the sets that controllers offered: one of each reason for which any was refused.

use std::collections::BTreeSet;

use verger_agent_core::session::{Kind, Offers};
use verger_policy::drift::{Check, Outcome};
use verger_policy::model::{Control, RuleId, Severity};

pub(crate) const REFUSED_SET: RuleId = RuleId::builtin("host/refused-set");

/// What was told of refusals so far.
#[derive(Debug, Default)]
pub(crate) struct RefusedSets {
    /// The last news whose findings are stored.
    told: u64,
}

impl RefusedSets {
    /// Fails for every reason that stands, or came and went since the last look. What an earlier run raised is `open`, and not
    /// known to be over before a set is accepted. `held` is the epoch in force.
    pub(crate) fn checks(&self, offers: &Offers, held: Option<u64>, open: &BTreeSet<String>) -> Vec<Check> {
        let in_force = held.map_or_else(
            || "this host has no policy set yet".to_owned(),
            |epoch| format!("epoch {epoch} stays in force"),
        );
        let mut checks: Vec<Check> = offers
            .since(Kind::Set, self.told)
            .map(|(word, refused)| Check {
                actual: Some(refused.detail.clone()),
                reason: format!("a controller offered a policy set that was refused ({word}); {in_force}")
                    .into(),
                ..check(word)
            })
            .collect();
        if !offers.is_accepted() {
            let doubtful = open
                .iter()
                .filter(|word| checks.iter().all(|check| *check.field != **word));
            let doubtful: Vec<Check> = doubtful
                .map(|word| Check {
                    result: Outcome::NotEvaluated,
                    reason: "no set was accepted since the agent began".into(),
                    ..check(word)
                })
                .collect();
            checks.extend(doubtful);
        }
        checks
    }

    /// The last news whose findings are stored.
    pub(crate) const fn seen(&self) -> u64 {
        self.told
    }

    /// The findings of these offers are stored.
    pub(crate) const fn told(&mut self, offers: &Offers) {
        self.told = offers.news();
    }
}

fn check(word: &str) -> Check {
    Check {
        control: Control::Host,
        rule: REFUSED_SET,
        field: word.to_owned().into(),
        result: Outcome::Fail,
        expected: Some("a set that this host can verify".to_owned()),
        actual: None,
        reason: "".into(),
        severity: Severity::Critical,
        decided_by: None,
    }
}
