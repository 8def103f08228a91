//! Checks about the agent and its host: what would otherwise read as silence.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verger_agent_core::ledger::LedgerState;
use verger_policy::drift::{Check, Outcome};
use verger_policy::model::{Control, RuleId, RuntimeKind, Severity};

use crate::report::{Contradiction, Numbers};

const STALE_SEAL: RuleId = RuleId::builtin("host/stale-seal");
const FINDINGS_CONTRADICTED: RuleId = RuleId::builtin("host/findings-contradicted");
const UNREADABLE_RUNTIME: RuleId = RuleId::builtin("host/unreadable-runtime");

/// The failing ones, and those that cannot be told yet.
pub(crate) fn checks(
    ledger: &LedgerState,
    unreadable: &BTreeMap<RuntimeKind, String>,
    numbers: Numbers,
    at: Timestamp,
) -> Vec<Check> {
    let stale = ledger.stale(at).map(|since| Check {
        control: Control::Host,
        rule: STALE_SEAL,
        field: "seal".into(),
        result: Outcome::Fail,
        expected: Some("a seal that holds".to_owned()),
        actual: Some(format!("ended at {since}")),
        reason: "the seal over the policy set is past its time; the set stays in force. Seal it again: `verger apply` with no change".into(),
        severity: Severity::High,
        decided_by: None,
    });
    let unreadable = unreadable.iter().map(|(runtime, why)| Check {
        control: Control::Host,
        rule: UNREADABLE_RUNTIME,
        field: runtime.word().into(),
        result: Outcome::Fail,
        expected: Some("readable".to_owned()),
        actual: Some("not readable".to_owned()),
        reason: format!("its instances are not evaluated: {why}").into(),
        severity: Severity::High,
        decided_by: None,
    });
    let contradiction = match numbers {
        Numbers::Fit => None,
        Numbers::NotHeard => Some(Check {
            result: Outcome::NotEvaluated,
            reason: "no controller has said yet which of this host's findings it holds".into(),
            ..contradicted()
        }),
        Numbers::Contradict(Contradiction {
            acknowledged,
            last,
            other_chain: false,
        }) => Some(Check {
            expected: Some(format!("at most {last} transitions are acknowledged")),
            actual: Some(format!("{acknowledged} are")),
            ..contradicted()
        }),
        Numbers::Contradict(Contradiction {
            acknowledged,
            other_chain: true,
            ..
        }) => Some(Check {
            expected: Some(format!(
                "the first {acknowledged} transitions are those that were told"
            )),
            actual: Some("others are under these numbers".to_owned()),
            ..contradicted()
        }),
    };
    stale.into_iter().chain(unreadable).chain(contradiction).collect()
}

fn contradicted() -> Check {
    Check {
        control: Control::Host,
        rule: FINDINGS_CONTRADICTED,
        field: "findings".into(),
        result: Outcome::Fail,
        expected: None,
        actual: None,
        reason: "a controller holds more of this host's findings than this agent has made, or others: the agent's disk was set back, or the controller does not tell the truth. Nothing is forgotten here, and nothing new is taken there".into(),
        severity: Severity::Critical,
        decided_by: None,
    }
}
