//! The effect of a change before it is made: what flips for the instances that run now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::compile::Compiled;
use crate::decide::{Decision, Request, Verdict, decide};
use crate::drift::{Check, Claim, Outcome};
use crate::facts::{Instance, InstanceId};
use crate::model::RuleId;

/// What flips.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Instances for which anything flips, by id.
    pub flips: Vec<Flip>,
    /// Instances for which nothing does.
    pub unchanged: usize,
}

/// What flips for one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flip {
    /// Whose.
    pub instance: InstanceId,
    /// Its name; hostile bytes.
    pub name: String,
    /// What it is held to, before and after.
    pub claim: (Claim, Claim),
    /// Whether it might start, before and after.
    pub verdict: (Verdict, Verdict),
    /// Checks whose result differs, by rule and field. A check that is not there is *not applicable*.
    pub checks: Vec<CheckFlip>,
}

/// A check that flips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckFlip {
    /// The rule.
    pub rule: RuleId,
    /// The field.
    pub field: String,
    /// The result before.
    pub before: Outcome,
    /// The result after.
    pub after: Outcome,
}

/// What replacing one compilation by another does to these instances.
pub fn plan<'a>(
    before: &Compiled,
    after: &Compiled,
    instances: impl IntoIterator<Item = &'a Instance>,
    at: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    for instance in instances {
        let request = Request::Launch { instance };
        let (old, new) = (decide(before, &request, at), decide(after, &request, at));
        let checks = flipped(&old, &new);
        if checks.is_empty() && old.verdict == new.verdict && old.judgement.claim == new.judgement.claim {
            plan.unchanged += 1;
            continue;
        }
        plan.flips.push(Flip {
            instance: instance.id.clone(),
            name: instance.name.clone(),
            claim: (old.judgement.claim, new.judgement.claim),
            verdict: (old.verdict, new.verdict),
            checks,
        });
    }
    plan.flips.sort_by(|a, b| a.instance.cmp(&b.instance));
    plan
}

fn flipped(old: &Decision, new: &Decision) -> Vec<CheckFlip> {
    let (old, new) = (worst(&old.judgement.checks), worst(&new.judgement.checks));
    let mut keys: Vec<_> = old.keys().chain(new.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter_map(|key| {
            let result =
                |side: &BTreeMap<_, Outcome>| side.get(&key).copied().unwrap_or(Outcome::NotApplicable);
            let (before, after) = (result(&old), result(&new));
            // A failing set field has checks per member and none for the whole: both ways nothing is violated.
            let fine = |outcome| matches!(outcome, Outcome::Pass | Outcome::NotApplicable);
            let (rule, field) = key;
            (before != after && !(fine(before) && fine(after))).then(|| CheckFlip {
                rule: rule.clone(),
                field: field.to_owned(),
                before,
                after,
            })
        })
        .collect()
}

/// Several objects may ask the same of one field: what counts is the worst result.
fn worst(checks: &[Check]) -> BTreeMap<(&RuleId, &str), Outcome> {
    let rank = |outcome: Outcome| match outcome {
        Outcome::NotApplicable => 0,
        Outcome::Pass => 1,
        Outcome::NotEvaluated => 2,
        Outcome::Excepted => 3,
        Outcome::Error => 4,
        Outcome::Fail => 5,
    };
    let mut worst = BTreeMap::new();
    for check in checks {
        let result = worst.entry((&check.rule, &*check.field)).or_insert(check.result);
        if rank(check.result) > rank(*result) {
            *result = check.result;
        }
    }
    worst
}
