//! The audit: bounded, and nothing of it lost unseen.

use verger_seal::{ChainCheck, ChainRow, KeptHead};

use super::*;
use crate::limits;

/// The rows there are, oldest first.
fn rows(member: &Member) -> Vec<(Vec<u8>, Vec<u8>)> {
    let audit = member.rows.iter().filter(|((tree, _), _)| *tree == Tree::Audit);
    audit
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}

pub(super) fn check_chain(member: &Member) {
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
    // And as everybody checks it who has but the rows.
    let places = member.state.audit_places(0..u64::MAX);
    let mut check = ChainCheck::begin(Some(head.chain()));
    for (place, (key, value)) in places.zip(&rows) {
        assert_eq!(&place.key, key);
        let row = ChainRow {
            number: place.number,
            key,
            value,
            previous: Some(chain_before(value)),
        };
        check.take(row).unwrap();
    }
    let verified = check.finish(head.chain(), head.dropped).unwrap();
    assert_eq!((verified.kept, verified.dropped), (KeptHead::Met, head.dropped));
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

/// The last row, as it is stored.
pub(super) fn last(member: &Member) -> stored::AuditRow {
    stored::AuditRow::decode(rows(member).pop().unwrap().1.as_slice()).unwrap()
}

#[test]
fn a_row_says_from_where_and_what_became_of_the_set() {
    let mut member = Member::founded();
    let empty = member.state.set().root();
    let from = |command| Command {
        from: Some("192.0.2.1:40000".to_owned()),
        policies: vec!["a rule".to_owned(), "another".to_owned()],
        ..command
    };
    for epoch in 0..2 {
        let before = member.state.set().root();
        member.state = member.rebuilt();
        let change = member.change(epoch, &key());
        member.checked(&from(command(11, None, change)));
        let row = last(&member);
        assert_eq!(
            (row.outcome.as_str(), row.from.as_str()),
            ("ok", "192.0.2.1:40000")
        );
        assert_eq!(row.policies, ["a rule", "another"]);
        let roots = [&row.before, &row.after].map(|root| crate::convert::digest(root).unwrap());
        assert_eq!(roots, [before, member.state.set().root()], "epoch {epoch}");
    }
    assert_ne!(member.state.set().root(), empty);
    let late = member.change(0, &key());
    assert_eq!(
        word(&member.checked(&from(command(12, None, late)))),
        "EPOCH_CONFLICT"
    );
    let row = last(&member);
    assert!(
        row.before.is_empty() && row.after.is_empty(),
        "nothing was changed"
    );
    assert_eq!((row.outcome.as_str(), row.attempts), ("EPOCH_CONFLICT", 0));
}

#[test]
fn denied_calls_are_rows_that_say_how_many() {
    let mut member = Member::founded();
    let denied = |attempts| {
        let action = Action::NoteDenied {
            rpc: "verger.policy.v1.PolicyService/Apply".to_owned(),
            reason: "NOT_A_PERSON".to_owned(),
            attempts,
            since: at(7),
            about: crate::About::default(),
        };
        Command {
            actor: "agent/h1".to_owned(),
            from: Some("192.0.2.1:40000".to_owned()),
            ..command(11, None, action)
        }
    };
    assert_eq!(member.checked(&denied(3)), Response::DeniedNoted);
    let row = last(&member);
    assert_eq!(
        (
            row.actor.as_str(),
            row.action.as_str(),
            row.outcome.as_str(),
            row.attempts
        ),
        ("agent/h1", "denied", "NOT_A_PERSON", 3)
    );
    assert_eq!(
        row.detail,
        "verger.policy.v1.PolicyService/Apply, since 1970-01-01T00:00:07Z"
    );
    check_chain(&member);
    assert_eq!(
        word(&member.checked(&denied(0))),
        "INVALID_COMMAND",
        "none was denied"
    );
}

#[test]
fn a_denied_call_is_a_row_of_what_it_asked_for() {
    let mut member = Member::founded();
    let action = Action::NoteDenied {
        rpc: "S/M".to_owned(),
        reason: "ROLE_DENIED".to_owned(),
        attempts: 1,
        since: at(7),
        about: crate::About {
            verb: "apply".to_owned(),
            resource: "Workload/web".to_owned(),
            request_id: "the-id".to_owned(),
        },
    };
    // Its request's id is none of the command's: the request may come again.
    for _ in 0..2 {
        let denied = command(11, None, action.clone());
        assert_eq!(member.checked(&denied), Response::DeniedNoted);
        let row = last(&member);
        assert_eq!(row.request_id, "the-id");
        assert_eq!(row.detail, "S/M, since 1970-01-01T00:00:07Z: apply Workload/web");
    }
    check_chain(&member);
}

#[test]
fn a_refusal_that_is_counted_leaves_no_row_and_any_other_does() {
    let mut member = Member::founded();
    let change = member.change(0, &key());
    let counted = |id: &str, action: &Action| Command {
        counted: true,
        ..command(11, Some(id), action.clone())
    };
    member.checked(&counted("1", &change));
    let made = member.state.audit_head().written;
    assert_eq!(made, 2, "what is done has its row");
    for attempt in 0..10 {
        let refused = member.checked(&counted(&format!("late-{attempt}"), &change));
        assert_eq!(word(&refused), "EPOCH_CONFLICT");
    }
    let mut of_bob = counted("1", &change);
    of_bob.actor = "person/bob".to_owned();
    assert_eq!(word(&member.checked(&of_bob)), "REQUEST_ID_REUSED");
    assert_eq!(member.state.audit_head().written, made);
    // As commands of before they were counted.
    for attempt in 0..10 {
        let late = command(12, None, change.clone());
        assert_eq!(word(&member.checked(&late)), "EPOCH_CONFLICT");
        assert_eq!(member.state.audit_head().written, made + attempt + 1);
    }
    check_chain(&member);
}

#[test]
fn a_row_says_what_became_of_the_record_it_is_about() {
    let mut member = Member::founded();
    let counted = |action: Action| Command {
        counted: true,
        ..command(11, None, action)
    };
    let told = |member: &Member| {
        let row = last(member);
        [row.before, row.after].map(|digest| crate::convert::digest(&digest))
    };
    let stored = |member: &Member, tree: Tree, key: &str| {
        let value = member.rows.get(&(tree, key.as_bytes().to_vec()));
        value.map(|value| Digest::of(value))
    };
    let login = |seed: u8| Action::CreateLogin {
        person: "bob".to_owned(),
        key: Digest::from_bytes([seed; 32]),
    };
    let revoke = Action::RevokeLogin {
        person: "bob".to_owned(),
        reason: "left".to_owned(),
    };
    for action in [
        login(1),
        login(2),
        revoke,
        Action::RestoreLogin {
            person: "bob".to_owned(),
        },
    ] {
        let before = stored(&member, Tree::Logins, "bob");
        member.checked(&counted(action));
        let after = stored(&member, Tree::Logins, "bob");
        assert_ne!(before, after);
        assert_eq!(told(&member), [before, after]);
    }
    let token = Action::CreateToken {
        id: "t".to_owned(),
        secret_hash: Digest::of(b"s"),
        agent: "h1".parse().unwrap(),
        expires: at(100),
        approval: false,
    };
    member.checked(&counted(token));
    assert_eq!(told(&member), [None, stored(&member, Tree::Tokens, "t")]);
    let enrol = Action::Enrol {
        token_id: "t".to_owned(),
        secret_hash: Digest::of(b"s"),
        agent: "h1".parse().unwrap(),
        key: Digest::of(b"k"),
        machine: None,
    };
    member.checked(&counted(enrol));
    let enrolled = stored(&member, Tree::Hosts, "h1");
    assert_eq!(told(&member), [None, enrolled]);
    let agent = "h1".parse().unwrap();
    member.checked(&counted(Action::RemoveHost { agent }));
    assert_eq!(told(&member), [enrolled, None]);
    // What is not counted is as it was in logs of before, and what is refused changed nothing.
    member.checked(&command(12, None, login(3)));
    assert_eq!(told(&member), [None, None]);
    check_chain(&member);
}

#[test]
fn a_certificate_is_a_row_of_its_own() {
    let mut member = Member::founded();
    let digest = Digest::of(b"certificate");
    let action = Action::RecordCertificate {
        person: "bob".to_owned(),
        digest,
        ends: at(100),
    };
    assert_eq!(
        member.checked(&command(11, None, action)),
        Response::CertificateRecorded
    );
    let row = last(&member);
    assert_eq!(
        (row.action.as_str(), row.outcome.as_str()),
        ("record-certificate", "ok")
    );
    assert_eq!(
        row.detail,
        format!("of person/bob, certificate {digest}, until 1970-01-01T00:01:40Z")
    );
    check_chain(&member);
}

#[test]
fn whoever_takes_the_id_of_anothers_request_is_on_record() {
    let mut member = Member::founded();
    let change = command(11, Some("r"), member.change(0, &key()));
    member.checked(&change);
    member.checked(&change);
    assert_eq!(
        member.state.audit_head().written,
        2,
        "a repeat is the same request"
    );
    let other = command(12, Some("r"), member.change(1, &key()));
    assert_eq!(word(&member.checked(&other)), "REQUEST_ID_REUSED");
    assert_eq!(last(&member).outcome, "REQUEST_ID_REUSED");
    check_chain(&member);
}

#[test]
fn rows_are_found_by_number_and_by_time() {
    let mut member = Member::founded();
    for second in [20, 20, 30, 40] {
        let action = Action::AckFinding {
            uid: uid(),
            note: "n".to_owned(),
        };
        member.checked(&command(second, None, action));
    }
    let numbers = |since, until| member.state.audit_numbers(since, until);
    assert_eq!(numbers(None, None), 1..6);
    assert_eq!(numbers(Some(at(20)), Some(at(30))), 2..4);
    assert_eq!(numbers(Some(at(21)), Some(at(40))), 4..5);
    assert_eq!(numbers(Some(at(41)), None), 6..6);
    assert!(numbers(Some(at(40)), Some(at(20))).is_empty());
    let found = |numbers| {
        let places = member.state.audit_places(numbers);
        places.map(|place| place.number).collect::<Vec<_>>()
    };
    assert_eq!(found(0..u64::MAX), [1, 2, 3, 4, 5]);
    assert_eq!(found(3..5), [3, 4]);
    let backwards = std::ops::Range { start: 4, end: 2 };
    for none in [6..9, 5..5, 0..1, backwards] {
        assert!(found(none.clone()).is_empty(), "{none:?}");
    }
    for _ in 0..limits::AUDIT_ROWS {
        act(&mut member);
    }
    let kept: Vec<_> = member.state.audit_places(0..u64::MAX).collect();
    assert_eq!((kept.len(), kept[0].number), (limits::AUDIT_ROWS, 6));
    assert_eq!(
        member
            .state
            .audit_places(0..8)
            .map(|place| place.number)
            .collect::<Vec<_>>(),
        [6, 7]
    );
    assert_eq!(member.state.audit_numbers(None, Some(at(0))), 6..6);
}

#[test]
fn more_rules_than_a_row_has_room_for_are_refused() {
    let mut member = Member::founded();
    let of = |policies| Command {
        policies,
        ..command(11, None, Action::Tick { until: at(11) })
    };
    let many = |count| vec!["a rule".to_owned(); count];
    assert_eq!(member.checked(&of(many(limits::POLICIES))), Response::Ticked);
    let long = vec!["x".repeat(limits::NAME_BYTES + 1)];
    for policies in [many(limits::POLICIES + 1), long] {
        assert_eq!(word(&member.checked(&of(policies))), "INVALID_COMMAND");
    }
}

#[test]
fn a_host_that_comes_and_goes_leaves_findings_and_no_rows_and_commands_of_before_leave_theirs() {
    let mut member = Member::founded();
    member.enrol("h1", b"key");
    let tell = |silent, unrecorded| Action::TellSilence {
        agent: "h1".parse().unwrap(),
        silent,
        since: None,
        unrecorded,
    };
    let before = member.state.audit_head().written;
    for second in 0..1_000 {
        let told = command(20 + second, None, tell(second % 2 == 0, true));
        assert_eq!(member.checked(&told), Response::SilenceTold);
    }
    assert_eq!(member.state.audit_head().written, before);
    let row = member.state.findings_after_uid(None).next().unwrap();
    assert_eq!(row.reopened, 499, "the finding says how often");
    // Of a host that is not known, too.
    let stranger = Action::TellSilence {
        agent: "h9".parse().unwrap(),
        silent: true,
        since: None,
        unrecorded: true,
    };
    assert_eq!(
        word(&member.checked(&command(1_020, None, stranger))),
        "UNKNOWN_AGENT"
    );
    assert_eq!(member.state.audit_head().written, before);
    for (silent, action) in [(true, "tell-silence"), (false, "tell-voice")] {
        member.checked(&command(1_021, None, tell(silent, false)));
        assert_eq!(last(&member).action, action);
    }
    assert_eq!(member.state.audit_head().written, before + 2);
    check_chain(&member);
}
