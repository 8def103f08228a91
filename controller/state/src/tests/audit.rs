//! The audit: bounded, and nothing of it lost unseen.

use super::*;
use crate::limits;

/// The rows there are, oldest first.
fn rows(member: &Member) -> Vec<(Vec<u8>, Vec<u8>)> {
    let audit = member.rows.iter().filter(|((tree, _), _)| *tree == Tree::Audit);
    audit
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}

fn check_chain(member: &Member) {
    let rows = rows(member);
    let head = member.state.audit_head();
    assert_eq!(head.written - head.dropped, rows.len() as u64);
    let mut previous = rows.first().map_or(head.head, |(_, value)| chain_before(value));
    for (key, value) in &rows {
        assert_eq!(chain_before(value), previous);
        let chained = [b"verger/v1/audit\0", &previous.as_bytes()[..], key, value].concat();
        previous = Digest::of(&chained);
    }
    assert_eq!(previous, head.head, "to the last row");
}

fn chain_before(value: &[u8]) -> Digest {
    let row = stored::AuditRow::decode(value).unwrap();
    crate::convert::digest(&row.previous).unwrap()
}

fn act(member: &mut Member) {
    let action = Action::AckFinding {
        uid: uid(),
        note: "n".to_owned(),
    };
    assert_eq!(
        word(&member.checked(&command(member.now(), None, action))),
        "NO_SUCH_FINDING"
    );
}

#[test]
fn rows_over_the_bound_are_dropped_oldest_first_and_the_chain_vouches_for_them() {
    let mut member = Member::founded();
    let first = rows(&member);
    for _ in 0..limits::AUDIT_ROWS + 10 {
        act(&mut member);
        check_chain(&member);
    }
    assert_eq!(rows(&member).len(), limits::AUDIT_ROWS);
    let head = member.state.audit_head();
    assert_eq!((head.written, head.dropped), (limits::AUDIT_ROWS as u64 + 11, 11));
    assert!(!rows(&member).contains(&first[0]), "the oldest");
}

#[test]
fn old_rows_are_dropped_some_at_a_time() {
    let mut member = Member::founded();
    for _ in 0..20 {
        act(&mut member);
    }
    member.pass(limits::AUDIT_SECONDS - 60);
    assert_eq!(member.state.audit_head().dropped, 0);
    member.pass(120);
    act(&mut member);
    assert_eq!(member.state.audit_head().dropped, limits::DROPPED_AT_ONCE as u64);
    for _ in 0..10 {
        act(&mut member);
        check_chain(&member);
    }
    assert_eq!(rows(&member).len(), 11, "those of now");
}

#[test]
fn a_row_that_is_missing_is_damage() {
    let mut member = Member::founded();
    act(&mut member);
    let key = rows(&member)[0].0.clone();
    member.rows.remove(&(Tree::Audit, key));
    let rows = member
        .rows
        .iter()
        .map(|((tree, key), value)| (*tree, key.clone(), value.clone()));
    let error = State::from_rows(9, rows).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2 rows were written and 0 dropped, and 1 are here"),
        "{error}"
    );
}
