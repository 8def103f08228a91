//! Checks that could not be made for a while: what was not looked at may be anything, and must not pass for quiet.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use verger_policy::drift::{Check, Claim, Judgement, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::model::{Control, RuleId, Severity};

const NOT_EVALUATED: RuleId = RuleId::builtin("host/not-evaluated");
/// Instances that are being started are not evaluated for a moment; that is no finding.
const AFTER: Duration = Duration::from_secs(30);
/// The most ids that a finding names.
const NAMED: usize = 3;

/// Since when which instances have had a check that could not be made.
#[derive(Default)]
pub(super) struct BlindSpots(BTreeMap<InstanceId, Instant>);

impl BlindSpots {
    /// One failing check of the host per workload with instances that have not been evaluated for a while.
    pub(super) fn checks(&mut self, judgements: &[Judgement], now: Instant) -> Vec<Check> {
        let blind = |judgement: &&Judgement| reasons(judgement).next().is_some();
        let mut since = std::mem::take(&mut self.0);
        let mut lasting: BTreeMap<String, Vec<&Judgement>> = BTreeMap::new();
        for judgement in judgements.iter().filter(blind) {
            let id = &judgement.instance;
            let began = since.remove(id).unwrap_or(now);
            self.0.insert(id.clone(), began);
            if now.duration_since(began) >= AFTER {
                lasting
                    .entry(subject(&judgement.claim))
                    .or_default()
                    .push(judgement);
            }
        }
        lasting
            .into_iter()
            .map(|(subject, blind)| check(subject, &blind))
            .collect()
    }
}

fn reasons(judgement: &Judgement) -> impl Iterator<Item = &Check> {
    let missing = |check: &&Check| matches!(check.result, Outcome::NotEvaluated | Outcome::Error);
    judgement.checks.iter().filter(missing)
}

fn subject(claim: &Claim) -> String {
    match claim {
        Claim::Workload { name, .. } => name.to_string(),
        Claim::Ambiguous(_) => "(ambiguous)".to_owned(),
        Claim::Unknown => "(unknown)".to_owned(),
    }
}

fn check(subject: String, blind: &[&Judgement]) -> Check {
    let fields: usize = blind.iter().map(|judgement| reasons(judgement).count()).sum();
    let named: Vec<String> = blind
        .iter()
        .take(NAMED)
        .map(|judgement| judgement.instance.to_string())
        .collect();
    let more = blind.len().saturating_sub(NAMED);
    let more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    let first = blind.first().and_then(|judgement| reasons(judgement).next());
    let why = first.map_or_else(String::new, |check| format!("{}: {}", check.field, check.reason));
    Check {
        control: Control::Host,
        rule: NOT_EVALUATED,
        field: subject.into(),
        result: Outcome::Fail,
        expected: Some("every check can be made".to_owned()),
        actual: Some(format!(
            "{fields} checks cannot be made on {}{more}",
            named.join(", ")
        )),
        reason: format!("what is not evaluated may be anything; the first is {why}").into(),
        severity: Severity::High,
        decided_by: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use verger_policy::model::RuntimeKind;

    fn judgement(id: &str, name: Option<&str>, results: &[Outcome]) -> Judgement {
        let check = |result: &Outcome| Check {
            control: Control::Config,
            rule: RuleId::builtin("config/user"),
            field: "user".into(),
            result: *result,
            expected: None,
            actual: None,
            reason: "its bundle cannot be read".into(),
            severity: Severity::High,
            decided_by: None,
        };
        Judgement {
            instance: InstanceId {
                runtime: RuntimeKind::Docker,
                id: id.to_owned(),
            },
            name: String::new(),
            image: None,
            claim: name.map_or(Claim::Unknown, |name| Claim::Workload {
                name: name.parse().unwrap(),
                entitled: true,
            }),
            wanted: Vec::new(),
            checks: results.iter().map(check).collect(),
            unneeded_exceptions: Default::default(),
        }
    }

    #[test]
    fn what_cannot_be_evaluated_for_a_while_is_raised_by_workload_until_it_can() {
        let (mut blind, begin) = (BlindSpots::default(), Instant::now());
        let (good, bad) = (&[Outcome::Pass][..], &[Outcome::Pass, Outcome::NotEvaluated][..]);
        let round = [
            judgement("a", Some("web"), bad),
            judgement("b", Some("web"), good),
            judgement("c", None, bad),
        ];
        assert!(blind.checks(&round, begin).is_empty(), "they may be starting");
        let raised = blind.checks(&round, begin + AFTER);
        let fields: Vec<_> = raised.iter().map(|check| check.field.as_ref()).collect();
        assert_eq!(fields, ["(unknown)", "web"]);
        assert!(raised.iter().all(|check| check.result == Outcome::Fail));
        let web = &raised[1];
        assert_eq!(
            web.actual.as_deref(),
            Some("1 checks cannot be made on docker/a"),
            "{web:?}"
        );
        assert!(web.reason.contains("user: its bundle cannot be read"), "{web:?}");

        let mended = [judgement("a", Some("web"), good), judgement("c", None, bad)];
        let raised = blind.checks(&mended, begin + AFTER);
        assert_eq!(raised.len(), 1, "{raised:?}");
        // Blind again: it counts from now.
        assert_eq!(blind.checks(&round, begin + AFTER * 3 / 2).len(), 1);
    }

    #[test]
    fn many_are_counted_and_few_are_named() {
        let (mut blind, begin) = (BlindSpots::default(), Instant::now());
        let ids: Vec<String> = (0..50).map(|number| format!("i{number:02}")).collect();
        let round: Vec<_> = ids
            .iter()
            .map(|id| judgement(id, Some("web"), &[Outcome::NotEvaluated]))
            .collect();
        blind.checks(&round, begin);
        let raised = blind.checks(&round, begin + AFTER);
        let actual = raised[0].actual.as_deref().unwrap();
        assert_eq!(
            actual,
            "50 checks cannot be made on docker/i00, docker/i01, docker/i02 and 47 more"
        );
    }
}
