//! Checks of how fresh the policy of this host is, and of its clock.

use verger_agent_core::freshness::{FRESH_FOR, Freshness, Standing};
use verger_agent_core::ledger::{Floor, LedgerState};
use verger_agent_core::session::Now;
use verger_policy::drift::{Check, Outcome};
use verger_policy::rules::{CLOCK_SKEW, LEDGER_SET_BACK, POLICY_CONTRADICTED, Rule, STALE_POLICY};

/// The failing ones, and those that cannot be told.
pub(crate) fn checks(ledger: &LedgerState, freshness: &Freshness, now: Now) -> Vec<Check> {
    let standing = freshness.standing(ledger, now);
    let mut checks: Vec<Check> = stale(&standing)
        .into_iter()
        .chain(contradicted(ledger, &standing))
        .collect();
    if let Some(skew) = freshness.skew(now) {
        checks.push(Check {
            expected: Some("at most 30 s off".to_owned()),
            actual: Some(format!("{} s {}", skew.as_secs().abs(), if skew.is_positive() { "ahead" } else { "behind" })),
            ..failing(
                &CLOCK_SKEW,
                "clock",
                "this host's clock is not what a majority of the controllers' members say; policy goes by theirs",
            )
        });
    }
    if let Some(more) = freshness.held_back() {
        checks.push(Check {
            expected: Some("no further ahead of this host's own clock than a day, and a day for each day of it".to_owned()),
            actual: Some(format!("{} s further", more.as_secs())),
            ..failing(
                &CLOCK_SKEW,
                "time",
                "the members say a time that is not believed by their word alone: set this host's clock if theirs is right",
            )
        });
    }
    if let Some(Floor {
        epoch, trust_root, ..
    }) = ledger.set_back()
    {
        let (held, version) = (
            ledger.position().map_or(0, |(epoch, _)| epoch),
            ledger.trust_root_version(),
        );
        checks.push(Check {
            expected: Some(format!("epoch {epoch} under trust root version {trust_root}, or later")),
            actual: Some(format!("epoch {held} under version {version}")),
            ..failing(
                &LEDGER_SET_BACK,
                "ledger",
                "the ledger is older than what this host had accepted: it was lost, or an older one was put in its place. What it holds is in force; nothing below that is taken",
            )
        });
    }
    checks
}

fn stale(standing: &Standing) -> Option<Check> {
    let rule = &STALE_POLICY;
    let untold = |reason: &str| Check {
        result: Outcome::NotEvaluated,
        ..failing(rule, "policy", reason)
    };
    let stale = |actual: String, reason: &str| Check {
        expected: Some(format!(
            "a stamp of a majority of the members every {} s",
            FRESH_FOR / 1_000
        )),
        actual: Some(actual),
        ..failing(rule, "policy", reason)
    };
    match standing {
        Standing::Fresh => None,
        Standing::Unstamped => Some(untold(
            "the trust root names no members' keys, so nobody says which set is the newest",
        )),
        Standing::NotHeard => Some(untold("no member has said yet which set is the newest")),
        Standing::Stale { last, refused } => {
            let last = last.map_or("none since the agent started".to_owned(), |at| {
                format!("the last is of {at}")
            });
            let refused = refused
                .as_ref()
                .map_or(String::new(), |why| format!("; one was refused: {why}"));
            Some(stale(
                format!("{last}{refused}"),
                "newer policy may be withheld from this host; what it holds stays in force",
            ))
        }
        Standing::Behind { newest } => Some(stale(
            format!("epoch {newest} is there, and not in force here"),
            "the members say that there is newer policy than this host was given, or could accept",
        )),
        // Not stale: worse.
        Standing::Contradicted { .. } | Standing::SetBack { .. } => None,
    }
}

fn contradicted(ledger: &LedgerState, standing: &Standing) -> Option<Check> {
    let (epoch, root) = ledger.position()?;
    let rule = &POLICY_CONTRADICTED;
    match standing {
        Standing::Contradicted { epoch, root: theirs } => Some(Check {
            expected: Some(format!("epoch {epoch} is {theirs}, as the members say")),
            actual: Some(format!("it is {root} here")),
            ..failing(
                rule,
                "policy",
                "somebody sealed two sets under one number, and this host holds another one than the controllers",
            )
        }),
        Standing::SetBack { newest } => Some(Check {
            expected: Some(format!("the controllers are at epoch {epoch} or later")),
            actual: Some(format!("they are at {newest}")),
            ..failing(
                rule,
                "policy",
                "the controllers were set back to older policy than this host has accepted; nothing is taken back here",
            )
        }),
        // Until it is known, nothing is known to be over.
        Standing::NotHeard => Some(Check {
            result: Outcome::NotEvaluated,
            ..failing(rule, "policy", "no member has said yet which set is the newest")
        }),
        Standing::Fresh | Standing::Unstamped | Standing::Stale { .. } | Standing::Behind { .. } => None,
    }
}

fn failing(rule: &Rule, field: &'static str, reason: &str) -> Check {
    Check {
        control: rule.control,
        rule: rule.rule_id(),
        field: field.into(),
        result: Outcome::Fail,
        expected: None,
        actual: None,
        reason: reason.to_owned().into(),
        severity: rule.severity,
        decided_by: None,
    }
}
