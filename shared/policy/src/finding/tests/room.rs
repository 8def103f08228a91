//! The bound of an agent's table.

use super::super::{KEEP_RESOLVED, Lifecycle, MAX_FINDINGS, ROOM};
use super::{Host, check, judgement, judgement_of};
use crate::drift::{Check, Judgement, Outcome};
use crate::model::Severity;

fn faults(prefix: &str, count: usize, severity: Severity) -> Judgement {
    let one = |n: usize| Check {
        field: format!("{prefix}[{n}]").into(),
        severity,
        ..check(Outcome::Fail)
    };
    judgement_of(prefix, (0..count).map(one).collect())
}

#[test]
fn resolved_findings_are_forgotten_in_the_end() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    host.rounds(1, &[]);
    assert_eq!(host.look(KEEP_RESOLVED.as_secs(), &[]).removed.len(), 0);
    let late = host.look(KEEP_RESOLVED.as_secs() + 1, &[]);
    assert_eq!((late.removed.len(), late.transitions.len()), (1, 0));
    // Seen again in that very round, it is not.
    let again = host.look(KEEP_RESOLVED.as_secs() + 1, &[judgement("a", Outcome::Fail)]);
    assert_eq!((again.removed.len(), again.transitions[0].reopened), (0, 1));
}

#[test]
fn what_there_is_no_room_for_is_counted_and_told() {
    let mut host = Host::default();
    let (mild, bad) = (
        faults("mild", MAX_FINDINGS, Severity::Low),
        faults("bad", 5, Severity::Critical),
    );
    let sent = host.round(0, &[mild.clone(), bad.clone()]);
    assert_eq!(sent.len(), MAX_FINDINGS + 1);
    assert_eq!(
        sent.iter()
            .filter(|sent| sent.check.severity == Severity::Critical)
            .count(),
        5,
        "the worst are kept"
    );
    let told = sent.iter().find(|sent| sent.check.rule == ROOM).unwrap();
    assert_eq!(
        (told.check.actual.as_deref(), told.lifecycle),
        (Some("5 more"), Lifecycle::Open)
    );
    // What is resolved in one round makes room in the next: what was left out comes in, and the complaint ends.
    let fewer = [faults("mild", MAX_FINDINGS - 100, Severity::Low), bad];
    host.look(60, &fewer).carry_into(&mut host.table);
    let sent = host.round(61, &fewer);
    let told = sent.iter().find(|sent| sent.check.rule == ROOM).unwrap();
    assert_eq!(told.lifecycle, Lifecycle::Resolved);
    let open = host
        .table
        .values()
        .filter(|finding| finding.lifecycle == Lifecycle::Open)
        .count();
    assert_eq!(open, MAX_FINDINGS - 100 + 5);
    assert!(host.table.len() <= MAX_FINDINGS + 1);
}

#[test]
fn resolved_findings_make_room_for_faults() {
    let mut host = Host::default();
    host.round(0, &[faults("old", MAX_FINDINGS - 10, Severity::Low)]);
    host.round(1, &[]);
    let sent = host.round(2, &[faults("new", 100, Severity::Low)]);
    assert_eq!(sent.len(), 100);
    assert!(sent.iter().all(|sent| sent.check.rule != ROOM));
    assert_eq!(host.table.len(), MAX_FINDINGS);
}
