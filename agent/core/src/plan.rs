//! From drift to steps. Pure: the same drift gives the same plan, and executing it is dull.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::drift::Judgement;
use verger_policy::finding::is_fault;

use crate::mode::{Capabilities, effective_modes};
use crate::step::Step;

/// What to do about what was judged: report every fault, and for each control of an instance that has a fault and
/// whose wished mode this host cannot give, say that it is not enforced.
pub fn plan(judgements: &[Judgement], capabilities: &Capabilities) -> Vec<Step> {
    let mut by_instance: Vec<&Judgement> = judgements.iter().collect();
    by_instance.sort_by_key(|judgement| &judgement.instance);
    let mut steps = Vec::new();
    for judgement in by_instance {
        let faults = || judgement.checks.iter().filter(|check| is_fault(check.result));
        let instance = &judgement.instance;
        steps.extend(faults().map(|check| Step::Report {
            instance: instance.clone(),
            check: check.clone(),
        }));
        let at_fault: BTreeSet<_> = faults().map(|check| check.control).collect();
        let wanted: BTreeMap<_, _> = judgement
            .wanted
            .iter()
            .copied()
            .filter(|(control, _)| at_fault.contains(control))
            .collect();
        let modes = effective_modes(&wanted, capabilities);
        steps.extend(modes.into_values().filter_map(|mode| {
            Some(Step::Unsupported {
                instance: instance.clone(),
                unsupported: mode.unsupported?,
            })
        }));
    }
    steps
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_policy::drift::{Check, Claim, Outcome};
    use verger_policy::facts::InstanceId;
    use verger_policy::model::{Control, Mode, RuleId, RuntimeKind, Severity};

    use super::*;

    fn judgement(id: &str, mode: Mode, results: &[(Control, Outcome)]) -> Judgement {
        let check = |(control, result): &(Control, Outcome)| Check {
            control: *control,
            rule: RuleId::builtin("config/user"),
            field: "user.uid".into(),
            result: *result,
            expected: None,
            actual: None,
            reason: "".into(),
            severity: Severity::High,
            decided_by: None,
        };
        Judgement {
            instance: InstanceId {
                runtime: RuntimeKind::Docker,
                id: id.to_owned(),
            },
            name: id.to_owned(),
            image: None,
            claim: Claim::Unknown,
            wanted: vec![(Control::Config, mode), (Control::Privilege, Mode::Monitor)],
            checks: results.iter().map(check).collect(),
            unneeded_exceptions: Default::default(),
        }
    }

    fn told(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| match step {
                Step::Report { instance, check } => format!("report {} {}", instance.id, check.control),
                Step::Unsupported {
                    instance,
                    unsupported,
                } => {
                    format!(
                        "unsupported {} {} {}",
                        instance.id, unsupported.control, unsupported.wanted
                    )
                }
            })
            .collect()
    }

    #[test]
    fn faults_are_reported_and_passes_are_not() {
        use Outcome::{Error, Excepted, Fail, NotApplicable, NotEvaluated, Pass};
        let results =
            [Pass, Fail, Excepted, NotApplicable, NotEvaluated, Error].map(|one| (Control::Config, one));
        let steps = plan(
            &[judgement("a", Mode::Monitor, &results)],
            &Capabilities::of_this_version(),
        );
        assert_eq!(told(&steps), ["report a config"; 3]);
    }

    #[test]
    fn what_should_be_enforced_is_reported_and_said_to_be_unsupported_once() {
        let fail = |control| (control, Outcome::Fail);
        let faults = [
            fail(Control::Config),
            fail(Control::Config),
            fail(Control::Privilege),
        ];
        let steps = plan(
            &[
                judgement("b", Mode::Enforce, &faults),
                judgement("a", Mode::Enforce, &[]),
            ],
            &Capabilities::of_this_version(),
        );
        assert_eq!(
            told(&steps),
            [
                "report b config",
                "report b config",
                "report b privilege",
                "unsupported b config enforce"
            ]
        );
    }

    #[test]
    fn the_order_of_judgements_does_not_matter() {
        let fault = [(Control::Config, Outcome::Fail)];
        let (a, b) = (
            judgement("a", Mode::Enforce, &fault),
            judgement("b", Mode::Monitor, &fault),
        );
        let capabilities = Capabilities::of_this_version();
        assert_eq!(
            plan(&[a.clone(), b.clone()], &capabilities),
            plan(&[b, a], &capabilities)
        );
    }
}
