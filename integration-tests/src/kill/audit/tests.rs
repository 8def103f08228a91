//! The comparison proves itself on planted defects: what was lost or doubled is found, what is sound is not.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::finding::{SubjectClass, fingerprint, fold};
use verger_policy::model::{AgentId, Control, Mode, RuleId, Severity};

use super::*;

const CLUSTER: Digest = Digest::from_bytes([7; 32]);

pub(in crate::kill) fn finding(field: &str, reopened: u32, second: i64) -> LocalFinding {
    let rule = RuleId::builtin("config/env");
    let at = Timestamp::from_second(second).unwrap();
    LocalFinding {
        uid: fingerprint(&CLUSTER, &rule, &SubjectClass::Host, None, field),
        subject: SubjectClass::Host,
        image: None,
        check: Check {
            control: Control::Config,
            rule,
            field: field.to_owned().into(),
            result: Outcome::Fail,
            expected: None,
            actual: None,
            reason: "test".into(),
            severity: Severity::High,
            decided_by: None,
        },
        lifecycle: Lifecycle::Open,
        wanted: Mode::Monitor,
        effective: Mode::Monitor,
        epoch: 1,
        affected: BTreeSet::new(),
        samples: Vec::new(),
        evaluated: 1,
        occurrences: 1,
        first_seen: at,
        changed: at,
        reopened,
    }
}

/// An agent that has delivered three transitions of two findings; a fourth waits.
fn held() -> Held {
    let (one, two) = (finding("one", 0, 10), finding("two", 2, 30));
    Held {
        waiting: vec![Numbered {
            sequence: 4,
            transition: two.transition(),
        }],
        table: [one, two].map(|finding| (finding.uid, finding)).into(),
        acknowledged: 3,
        last: 4,
        epoch: 1,
    }
}

fn rows(findings: &[LocalFinding]) -> BTreeMap<FindingUid, Finding> {
    let agent: AgentId = HOST.parse().unwrap();
    let row = |finding: &LocalFinding| {
        let transitions = [(agent.clone(), finding.transition())].into();
        (finding.uid, fold(finding.uid, 9, &transitions, None).unwrap())
    };
    findings.iter().map(row).collect()
}

#[test]
fn a_delivered_table_is_sound_whether_the_last_batch_arrived_or_not() {
    let (one, two, before) = (
        finding("one", 0, 10),
        finding("two", 2, 30),
        finding("two", 1, 20),
    );
    assert_eq!(
        compare(&held(), 4, &rows(&[one.clone(), two])),
        Vec::<String>::new()
    );
    assert_eq!(compare(&held(), 3, &rows(&[one, before])), Vec::<String>::new());
}

#[test]
fn a_forgotten_transition_that_never_arrived_is_found() {
    let wrong = compare(&held(), 2, &rows(&[finding("one", 0, 10), finding("two", 1, 20)]));
    assert!(
        wrong[0].contains("forgotten the transitions up to 3"),
        "{wrong:?}"
    );
}

#[test]
fn a_transition_nobody_made_is_found() {
    let wrong = compare(&held(), 5, &rows(&[finding("one", 0, 10), finding("two", 2, 30)]));
    assert!(wrong[0].contains("has 5 transitions"), "{wrong:?}");
}

#[test]
fn a_lost_row_and_a_row_told_otherwise_are_found() {
    let lost = compare(&held(), 4, &rows(&[finding("two", 2, 30)]));
    assert!(lost[0].contains("no row of it"), "{lost:?}");
    for other in [finding("one", 1, 10), finding("one", 0, 11)] {
        let wrong = compare(&held(), 4, &rows(&[other, finding("two", 2, 30)]));
        assert!(wrong[0].contains("was told, and"), "{wrong:?}");
    }
}

#[test]
fn a_fault_that_was_counted_twice_is_found() {
    let twice = LocalFinding {
        occurrences: 2,
        ..finding("one", 0, 10)
    };
    let wrong = compare(&held(), 4, &rows(&[twice, finding("two", 2, 30)]));
    assert!(
        wrong[0].contains("was seen 1 times, and 2 are there"),
        "{wrong:?}"
    );
}
