//! Checks, judgements and decisions as sentences that name the winning rule.
//!
//! Everything here is safe to show: what came from a container was escaped when the check was written.

mod topic;

pub use topic::{Topic, UnknownTopic, topic};

use crate::decide::{Decision, Verdict};
use crate::drift::{Check, Claim, Judgement, Outcome, rule_of};
use crate::model::{Mode, printable};

/// One check as a sentence or two: field, expected, actual, rule, deciding object, remedy.
pub fn check(check: &Check) -> String {
    let by = check
        .decided_by
        .as_ref()
        .map_or_else(String::new, |key| format!(" of {key}"));
    let field = &check.field;
    let rule = &check.rule;
    let difference = match (&check.expected, &check.actual) {
        (Some(expected), Some(actual)) => format!("should be {expected} and is {actual}"),
        (None, Some(actual)) => format!("is {actual}"),
        _ => "differs".to_owned(),
    };
    let reason = check.reason.trim_end_matches('.');
    match check.result {
        Outcome::Pass => format!("{field} holds (rule {rule}{by})."),
        Outcome::NotApplicable => format!("{field} does not apply: {reason} (rule {rule}{by})."),
        Outcome::NotEvaluated => format!("{field} was not evaluated: {reason} (rule {rule}{by})."),
        Outcome::Error => format!("{field} could not be judged: {reason} (rule {rule}{by})."),
        Outcome::Excepted => format!("{field} {difference}; {reason} (rule {rule}, exception{by})."),
        Outcome::Fail => {
            let remedy = rule_of(check).map_or_else(String::new, |rule| format!(" Remedy: {}.", rule.remedy));
            format!(
                "{field} {difference} (rule {rule}{by}, {}). {reason}.{remedy}",
                check.severity
            )
        }
    }
}

/// A judgement: the claim, then what is not passed, then counts.
pub fn judgement(judgement: &Judgement) -> Vec<String> {
    let name = printable(&judgement.name);
    let claim = match &judgement.claim {
        Claim::Unknown => format!("{name} is of no workload."),
        Claim::Workload {
            name: workload,
            entitled: true,
        } => {
            format!("{name} is held to Workload/{workload}: its image digest is listed.")
        }
        Claim::Workload {
            name: workload,
            entitled: false,
        } => format!(
            "{name} is held to Workload/{workload} by its hints; its image digest is not listed, so nothing is granted \
             to it."
        ),
        Claim::Ambiguous(workloads) => {
            let names: Vec<String> = workloads.iter().map(ToString::to_string).collect();
            format!(
                "{name} is claimed by several workloads ({}); it is held to all of them.",
                names.join(", ")
            )
        }
    };
    let mut lines = vec![claim];
    let told = |check: &&Check| !matches!(check.result, Outcome::Pass | Outcome::NotApplicable);
    lines.extend(judgement.checks.iter().filter(told).map(self::check));
    let count = |outcome| {
        judgement
            .checks
            .iter()
            .filter(|check| check.result == outcome)
            .count()
    };
    lines.push(format!(
        "{} pass, {} fail, {} excepted, {} not evaluated, {} not applicable, {} error.",
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Excepted),
        count(Outcome::NotEvaluated),
        count(Outcome::NotApplicable),
        count(Outcome::Error),
    ));
    for exception in &judgement.unneeded_exceptions {
        lines.push(format!("Exception/{exception} lifts nothing here any more."));
    }
    lines
}

/// A decision, the deciding rule first.
pub fn decision(decision: &Decision) -> Vec<String> {
    let name = printable(&decision.judgement.name);
    let head = match (decision.verdict, decision.deciding()) {
        (Verdict::Denied, Some(deciding)) => format!("{name} is denied. {}", check(deciding)),
        (Verdict::Reported, Some(deciding)) => {
            let mode = decision.judgement.wanted(deciding.control);
            let mode = if mode == Mode::Enforce {
                Mode::Monitor
            } else {
                mode
            };
            format!(
                "{name} is allowed and reported (mode {mode} for {}). {}",
                deciding.control,
                check(deciding)
            )
        }
        _ if decision.excepted_by.is_empty() => format!("{name} is allowed: nothing is violated."),
        _ => {
            let keys: Vec<String> = decision.excepted_by.iter().map(ToString::to_string).collect();
            format!(
                "{name} is allowed: what is violated is lifted by {}.",
                keys.join(", ")
            )
        }
    };
    let mut lines = vec![head];
    lines.extend(decision.because.iter().skip(1).map(check));
    lines
}
