//! What opens, keeps, suppresses and resolves a finding.

use super::super::{Lifecycle, MAX_SAMPLES, SubjectClass};
use super::{Host, check, id, judgement, judgement_of, words};
use crate::drift::{Claim, Outcome};
use crate::model::{Control, Mode, RuntimeKind, Severity};

#[test]
fn only_positive_evidence_resolves() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    assert_eq!(host.rounds(1, &[("a", Outcome::NotEvaluated)]), []);
    assert_eq!(
        host.rounds(2, &[("a", Outcome::Pass)]),
        [(Lifecycle::Resolved, 0, 0)]
    );
    assert_eq!(host.rounds(3, &[("a", Outcome::Fail)]), [(Lifecycle::Open, 1, 1)]);
    assert_eq!(
        host.rounds(4, &[("a", Outcome::NotApplicable)]),
        [(Lifecycle::Resolved, 0, 1)]
    );
}

#[test]
fn an_instance_that_is_gone_is_no_longer_affected() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail), ("b", Outcome::Fail)]);
    host.unreadable = [RuntimeKind::Docker].into();
    assert_eq!(host.rounds(1, &[]), [], "an unreadable runtime says nothing");
    host.unreadable.clear();
    host.unjudged = [id("a"), id("b")].into();
    assert_eq!(host.rounds(2, &[]), [], "what could not be judged is not gone");
    host.unjudged = [id("b")].into();
    assert_eq!(
        host.rounds(20, &[]),
        [(Lifecycle::Open, 1, 0)],
        "b is still in doubt"
    );
    host.unjudged.clear();
    assert_eq!(host.rounds(21, &[]), [(Lifecycle::Resolved, 0, 0)]);
}

#[test]
fn a_rule_that_could_not_be_judged_resolves_only_other_fields() {
    let with = |fields: &[(&'static str, Outcome)]| {
        let checks = fields.iter().map(|(field, result)| {
            let mut check = check(*result);
            check.field = (*field).into();
            check
        });
        judgement_of("a", checks.collect())
    };
    let failing = [with(&[("capabilities[CAP_SYS_ADMIN]", Outcome::Fail)])];
    for (word, resolves) in [
        (("setuid", Outcome::NotEvaluated), true),
        (("capabilities", Outcome::NotEvaluated), false),
        (("capabilities[CAP_SYS_ADMIN]", Outcome::Error), false),
        (("(more)", Outcome::Fail), false),
        (("capabilities[CAP_CHOWN]", Outcome::Fail), true),
    ] {
        let mut host = Host::default();
        host.round(0, &failing);
        let sent = host.round(1, &[with(&[word])]);
        assert_eq!(
            sent.iter().any(|sent| sent.lifecycle == Lifecycle::Resolved),
            resolves,
            "{word:?}"
        );
    }
}

#[test]
fn an_image_that_is_not_known_now_resolves_nothing() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    let mut blind = judgement("a", Outcome::Pass);
    (blind.image, blind.claim) = (None, Claim::Unknown);
    assert_eq!(host.round(1, &[blind]), []);
    assert_eq!(
        host.rounds(2, &[("a", Outcome::Pass)]),
        [(Lifecycle::Resolved, 0, 0)]
    );
}

#[test]
fn an_instance_that_a_workload_claims_leaves_the_unknown() {
    let mut host = Host::default();
    let mut unknown = judgement("a", Outcome::Fail);
    unknown.claim = Claim::Unknown;
    let first = host.round(0, &[unknown]);
    assert!(matches!(first[0].subject, SubjectClass::Unknown(Some(_))));
    let mut sent = host.round(1, &[judgement("a", Outcome::Fail)]);
    sent.sort_by_key(|sent| sent.lifecycle);
    assert_eq!(
        words(&sent),
        [(Lifecycle::Open, 1, 0), (Lifecycle::Resolved, 0, 0)]
    );
    assert_eq!((sent[1].uid, sent[0].uid != first[0].uid), (first[0].uid, true));
}

#[test]
fn an_exception_suppresses_and_its_end_opens_again() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    assert_eq!(
        host.rounds(1, &[("a", Outcome::Excepted)]),
        [(Lifecycle::Suppressed, 1, 0)]
    );
    assert_eq!(host.rounds(2, &[("a", Outcome::NotEvaluated)]), []);
    assert_eq!(host.rounds(3, &[("a", Outcome::Fail)]), [(Lifecycle::Open, 1, 1)]);
    assert_eq!(
        host.rounds(4, &[("a", Outcome::Excepted)]),
        [(Lifecycle::Suppressed, 1, 1)]
    );
    assert_eq!(
        host.rounds(5, &[("a", Outcome::Pass)]),
        [(Lifecycle::Resolved, 0, 1)]
    );
    assert_eq!(
        host.rounds(6, &[("a", Outcome::Excepted)]),
        [(Lifecycle::Suppressed, 1, 1)]
    );
}

#[test]
fn one_instance_without_an_exception_keeps_it_open() {
    let mut host = Host::default();
    assert_eq!(
        host.rounds(0, &[("a", Outcome::Excepted), ("b", Outcome::Fail)]),
        [(Lifecycle::Open, 2, 0)]
    );
    // b is in doubt: the check and the state stay those of the violation.
    assert_eq!(
        host.rounds(60, &[("a", Outcome::Excepted), ("b", Outcome::NotEvaluated)]),
        [(Lifecycle::Open, 2, 0)]
    );
    assert!(
        host.table
            .values()
            .all(|finding| finding.check.result == Outcome::Fail)
    );
    let sent = host.rounds(61, &[("a", Outcome::Excepted), ("b", Outcome::Pass)]);
    assert_eq!(sent, [(Lifecycle::Suppressed, 1, 0)]);
    assert!(
        host.table
            .values()
            .all(|finding| finding.check.result == Outcome::Excepted)
    );
}

#[test]
fn replicas_with_one_fault_are_one_finding() {
    let mut host = Host::default();
    let names: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let mut judgements: Vec<_> = names
        .iter()
        .map(|name| judgement(name, Outcome::Excepted))
        .collect();
    for name in ["30", "31"] {
        judgements.push(judgement(&format!("x{name}"), Outcome::Fail));
    }
    judgements.push(judgement("well", Outcome::Pass));
    let sent = host.round(0, &judgements);
    assert_eq!(words(&sent), [(Lifecycle::Open, 42, 0)]);
    assert_eq!((sent[0].samples.len(), sent[0].evaluated), (MAX_SAMPLES, 43));
    assert_eq!(
        (sent[0].samples[0].name.as_str(), sent[0].samples[1].name.as_str()),
        ("x30", "x31")
    );
    assert_eq!(sent[0].check.result, Outcome::Fail);
}

#[test]
fn the_order_of_judgements_is_immaterial() {
    let mut judgements: Vec<_> = (0..6_u32)
        .map(|n| {
            let mut one = judgement(
                &n.to_string(),
                if n % 3 == 0 {
                    Outcome::Excepted
                } else {
                    Outcome::Fail
                },
            );
            one.checks[0].actual = Some(n.to_string());
            one.checks[0].severity = if n > 3 { Severity::Critical } else { Severity::Low };
            one
        })
        .collect();
    let forwards = Host::default().look(0, &judgements);
    assert_eq!(forwards.transitions[0].check.actual.as_deref(), Some("4"));
    judgements.reverse();
    assert_eq!(Host::default().look(0, &judgements), forwards);
}

#[test]
fn a_fault_of_the_host_opens_and_resolves() {
    let mut host = Host {
        checks: vec![check(Outcome::Fail)],
        ..Host::default()
    };
    assert_eq!(host.rounds(0, &[]), [(Lifecycle::Open, 1, 0)]);
    host.checks = vec![check(Outcome::NotEvaluated)];
    assert_eq!(host.rounds(1, &[]), []);
    host.checks = vec![check(Outcome::Excepted)];
    assert_eq!(host.rounds(2, &[]), [(Lifecycle::Suppressed, 1, 0)]);
    host.checks.clear();
    assert_eq!(host.rounds(3, &[]), [(Lifecycle::Resolved, 0, 0)]);
    assert_eq!(host.table.values().next().unwrap().subject, SubjectClass::Host);
}

#[test]
fn what_is_pushed_out_of_a_list_of_the_host_stays_open() {
    let on = |field: &'static str, result: Outcome| {
        let mut check = check(result);
        check.field = field.into();
        check
    };
    for (word, resolves) in [
        (on("containers[(more)]", Outcome::Fail), false),
        (on("containers[(more)]", Outcome::NotEvaluated), false),
        (on("containers[b]", Outcome::Fail), true),
        (on("users[(more)]", Outcome::Fail), true),
    ] {
        let mut host = Host {
            checks: vec![on("containers[a]", Outcome::Fail)],
            ..Host::default()
        };
        assert_eq!(host.rounds(0, &[]), [(Lifecycle::Open, 1, 0)]);
        host.checks = vec![word.clone()];
        let sent = host.round(1, &[]);
        let resolved = sent.iter().any(|sent| {
            (sent.lifecycle, sent.check.field.as_ref()) == (Lifecycle::Resolved, "containers[a]")
        });
        assert_eq!(resolved, resolves, "{word:?}");
        // Nobody is left out any more.
        host.checks.clear();
        host.round(2, &[]);
        let over = |lifecycle| lifecycle == Lifecycle::Resolved;
        assert!(host.table.values().all(|finding| over(finding.lifecycle)));
    }
}

#[test]
fn a_mode_the_host_cannot_give_is_told() {
    let mut host = Host::default();
    let sent = host.round(0, &[judgement("a", Outcome::Fail)]);
    assert_eq!(
        (sent[0].wanted, sent[0].effective),
        (Mode::Enforce, Mode::Monitor)
    );
    host.effective.insert(Control::Privilege, Mode::Enforce);
    let sent = host.round(1, &[judgement("a", Outcome::Fail)]);
    assert_eq!(
        (sent[0].wanted, sent[0].effective),
        (Mode::Enforce, Mode::Enforce)
    );
    let mut less = judgement("a", Outcome::Fail);
    less.wanted = vec![(Control::Privilege, Mode::Monitor)];
    let sent = host.round(2, &[less]);
    assert_eq!(
        (sent[0].wanted, sent[0].effective),
        (Mode::Monitor, Mode::Monitor),
        "never more than is wished"
    );
}
