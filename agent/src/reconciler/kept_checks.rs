//! Checks about what this host was told and could not keep, or must not believe.

use std::collections::BTreeSet;

use verger_agent_core::session::{FLOOR, Kind, Offers, Trouble};
use verger_policy::drift::{Check, Outcome};
use verger_policy::rules::{LEDGER_SET_BACK, NOT_KEPT, REFUSED_STAMP, Rule};

/// Fails for everything that stands, or came and went since the news of number `seen`. Refusals of stamps that an earlier run raised
/// are `open`, and not known to be over before members are `heard` in this one.
pub(crate) fn checks(offers: &Offers, seen: u64, open: &BTreeSet<String>, heard: bool) -> Vec<Check> {
    let stamps = offers.since(Kind::Stamp, seen).map(stamp);
    let unkept = offers.since(Kind::Unkept, seen).map(unkept);
    let doubts = offers.since(Kind::Doubt, seen).map(doubt);
    let mut checks: Vec<Check> = stamps.chain(unkept).chain(doubts).collect();
    if !heard {
        let is_raised = |word: &str| {
            let mut raised = offers.since(Kind::Stamp, seen);
            raised.any(|(one, _)| one == word)
        };
        let doubtful = open.iter().filter(|word| !is_raised(word));
        checks.extend(doubtful.map(|word| Check {
            result: Outcome::NotEvaluated,
            reason: "no member has said yet how fresh policy is".into(),
            ..failing(&REFUSED_STAMP, word)
        }));
    }
    checks
}

fn stamp((word, trouble): (&'static str, &Trouble)) -> Check {
    Check {
        expected: Some("what a majority of the members signed a moment ago".to_owned()),
        actual: Some(trouble.detail.clone()),
        reason: format!("a controller passed on a stamp of freshness and time that was refused ({word}); what is known stays").into(),
        ..failing(&REFUSED_STAMP, word)
    }
}

fn unkept((word, trouble): (&'static str, &Trouble)) -> Check {
    let reason = if word == FLOOR {
        "what this host accepted is in its ledger and in force, and not kept beside it: it is not acknowledged, for an older ledger could take it back"
    } else {
        "what this host was offered cannot be written to its ledger: what it holds stays in force"
    };
    Check {
        expected: Some("on disk, in the ledger and beside the host's identity".to_owned()),
        actual: Some(trouble.detail.clone()),
        reason: reason.into(),
        ..failing(&NOT_KEPT, word)
    }
}

fn doubt((word, trouble): (&'static str, &Trouble)) -> Check {
    Check {
        expected: Some("how far this host has come, beside its identity (floor.json)".to_owned()),
        actual: Some(trouble.detail.clone()),
        reason: "nobody knows whether the ledger was set back while it was gone. What the ledger holds is in force; it ends once members say that this is the newest".into(),
        ..failing(&LEDGER_SET_BACK, word)
    }
}

fn failing(rule: &Rule, field: &str) -> Check {
    Check {
        control: rule.control,
        rule: rule.rule_id(),
        field: field.to_owned().into(),
        result: Outcome::Fail,
        expected: None,
        actual: None,
        reason: "".into(),
        severity: rule.severity,
        decided_by: None,
    }
}
