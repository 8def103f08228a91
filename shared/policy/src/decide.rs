//! What a set refuses: `explain` and `plan` ask [`decide`], and the gate the rules under it ([`is_enforced`], [`may_refuse`]).
//!
//! Requirements are a conjunction: one violation that no exception lifts denies, if the effective wish for its control
//! is `enforce`. What is not evaluated does not deny here, where much is not known yet; the gate, which sees all of a launch,
//! refuses it.

use jiff::Timestamp;
use serde::Serialize;

use crate::compile::{Compiled, JUDGED_CONTROLS};
use crate::drift::{self, Check, Judgement, Outcome};
use crate::facts::Instance;
use crate::model::{Mode, ObjectKey};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// May this instance start?
    Launch {
        /// As it would be.
        instance: &'a Instance,
    },
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Yes, and nothing is violated.
    Allowed,
    /// Yes, though something is violated: the mode is not `enforce`.
    Reported,
    /// No.
    Denied,
}

/// The answer and what decided it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// The violations behind it, the deciding one (the worst) first; empty when nothing is violated.
    pub because: Vec<Check>,
    /// Objects whose exceptions lifted a violation.
    pub excepted_by: Vec<ObjectKey>,
    /// The whole judgement.
    pub judgement: Judgement,
}

impl Decision {
    /// The check that decided, unless nothing is violated.
    pub fn deciding(&self) -> Option<&Check> {
        self.because.first()
    }
}

/// Whether a set has an instance refused for this check of its judgement, where the check does not hold. What is of no workload is
/// refused by the word of a guardrail (`unknown: refuse`) and in any mode; everything else by mode `enforce` of its control.
pub fn is_enforced(compiled: &Compiled, judgement: &Judgement, check: &Check) -> bool {
    if drift::is_unknown_instance(check) {
        return compiled.refuses_unknown();
    }
    judgement.wanted(check.control) == Mode::Enforce
}

/// Whether a set has any instance refused for anything: what cannot be judged at all is refused then, since it could be that one.
pub fn may_refuse(compiled: &Compiled) -> bool {
    let wishes = drift::wishes(compiled);
    compiled.refuses_unknown()
        || JUDGED_CONTROLS
            .iter()
            .any(|control| wishes.get(control) == Some(&Mode::Enforce))
}

/// Decides a request at an instant.
pub fn decide(compiled: &Compiled, request: &Request<'_>, at: Timestamp) -> Decision {
    let Request::Launch { instance } = request;
    let mut judgements = drift::judge_launch(compiled, instance, at);
    let rivals = judgements.split_off(1);
    let judgement = judgements.remove(0);
    let fails = |check: &&Check| matches!(check.result, Outcome::Fail | Outcome::Error);
    let own = judgement.checks.iter().filter(fails);
    let own = own.map(|check| (is_enforced(compiled, &judgement, check), check));
    // Of a workload that it is not held to, only what is enforced counts.
    let others = rivals.iter().flat_map(|rival| {
        let failing = rival.checks.iter().filter(fails);
        failing
            .filter(|check| is_enforced(compiled, rival, check))
            .map(|check| (true, check))
    });
    let mut found: Vec<(bool, &Check)> = own.chain(others).collect();
    // Stable: among equals the order of the judgement stays.
    found.sort_by_key(|(denies, check)| (!denies, std::cmp::Reverse(check.severity)));
    let verdict = match found.first() {
        None => Verdict::Allowed,
        Some((true, _)) => Verdict::Denied,
        Some((false, _)) => Verdict::Reported,
    };
    let because: Vec<Check> = found.into_iter().map(|(_, check)| check.clone()).collect();
    let mut excepted_by: Vec<ObjectKey> = judgement
        .checks
        .iter()
        .filter(|check| check.result == Outcome::Excepted)
        .filter_map(|check| check.decided_by.clone())
        .collect();
    excepted_by.sort();
    excepted_by.dedup();
    Decision {
        verdict,
        because,
        excepted_by,
        judgement,
    }
}
