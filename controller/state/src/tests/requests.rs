//! Requests that come again.

use super::*;
use crate::limits;

#[test]
fn an_id_that_was_used_for_anything_else_or_by_somebody_else_is_refused() {
    let mut member = Member::founded();
    let change = command(11, Some("r"), member.change(0, &key()));
    let first = member.checked(&change);
    assert!(matches!(first, Response::SetApplied { .. }), "{first:?}");
    assert_eq!(member.checked(&change), first);
    let later = Command {
        stamp: at(20),
        ..change.clone()
    };
    assert_eq!(member.checked(&later), first, "the same, sent again");
    let of_bob = Command {
        actor: "person/bob".to_owned(),
        ..change.clone()
    };
    let other = command(21, Some("r"), member.change(1, &key()));
    let token = |agent: &str, id: &str| Action::CreateToken {
        id: id.to_owned(),
        secret_hash: Digest::of(id.as_bytes()),
        agent: agent.parse().unwrap(),
        expires: at(100),
        approval: false,
    };
    let another_kind = command(22, Some("r"), token("h1", "t0"));
    for reused in [of_bob, other, another_kind] {
        assert_eq!(word(&member.checked(&reused)), "REQUEST_ID_REUSED", "{reused:?}");
    }
    assert_eq!(member.state.set().epoch(), 1);
    member.state = member.rebuilt();
    assert_eq!(member.checked(&change), first, "also after a restart");

    let made = member.checked(&command(30, Some("t"), token("h1", "t1")));
    assert_eq!(made, Response::TokenCreated("t1".to_owned()));
    let again = member.checked(&command(31, Some("t"), token("h1", "t2")));
    assert_eq!(
        word(&again),
        "TOKEN_ALREADY_CREATED",
        "its secret was in the first answer"
    );
    let for_another = member.checked(&command(32, Some("t"), token("h2", "t3")));
    assert_eq!(word(&for_another), "REQUEST_ID_REUSED");
}

#[test]
fn whoever_takes_it_again_may_have_a_clock_that_is_ahead() {
    let mut member = Member::founded();
    let change = command(11, Some("r"), member.change(0, &key()));
    let first = member.checked(&change);
    // Another leads, whose first tick moves time by an hour; and another takes it, who is further ahead.
    let hour = limits::REQUEST_SECONDS * 6;
    member.checked(&command(12, None, Action::Tick { until: at(11 + hour) }));
    let later = Command {
        stamp: at(11 + 2 * hour),
        ..change
    };
    assert_eq!(member.checked(&later), first);
    assert_eq!(member.state.set().epoch(), 1);
}

fn token(number: usize) -> Action {
    Action::CreateToken {
        id: format!("t{number}"),
        secret_hash: Digest::of(&number.to_le_bytes()),
        agent: "h1".parse().unwrap(),
        expires: at(100),
        approval: false,
    }
}

#[test]
fn what_was_asked_long_ago_is_forgotten_but_for_the_newest() {
    let mut member = Member::founded();
    let asked = limits::REQUESTS_ALWAYS + 2;
    for number in 0..asked {
        member.checked(&command(11, Some(&number.to_string()), token(number)));
    }
    assert_eq!(member.state.requests.len(), asked);
    member.checked(&command(12 + limits::REQUEST_SECONDS, None, token(asked)));
    let mut left: Vec<_> = member.state.requests.keys().cloned().collect();
    left.sort();
    let newest: Vec<_> = (2..asked).map(|number| number.to_string()).collect();
    assert_eq!(left, newest);
    member.state = member.rebuilt();
    assert_eq!(member.state.requests.len(), limits::REQUESTS_ALWAYS);
}

#[test]
fn nobody_replaces_a_token() {
    let mut member = Member::founded();
    let token = |agent: &str| Action::CreateToken {
        id: "t".to_owned(),
        secret_hash: Digest::of(agent.as_bytes()),
        agent: agent.parse().unwrap(),
        expires: at(100),
        approval: false,
    };
    member.checked(&command(11, Some("1"), token("h1")));
    assert_eq!(
        word(&member.checked(&command(12, Some("2"), token("h2")))),
        "TOKEN_ALREADY_CREATED"
    );
    let own = member.checked(&command(13, Some("3"), token("verger/controllers")));
    assert_eq!(word(&own), "TOKEN_REFUSED", "controllers tell under this name");
}

#[test]
fn what_no_row_can_hold_is_refused() {
    let mut member = Member::founded();
    let note = "n".to_owned();
    let action = Action::AckFinding { uid: uid(), note };
    let long = "x".repeat(crate::limits::NAME_BYTES + 1);
    let of_long = Command {
        actor: long.clone(),
        ..command(11, None, action.clone())
    };
    assert_eq!(word(&member.checked(&of_long)), "INVALID_COMMAND");
    assert_eq!(
        word(&member.checked(&command(11, Some(&long), action))),
        "INVALID_COMMAND"
    );
    let Action::ApplySet {
        expected_epoch,
        upserts,
        deletes,
        seal,
    } = member.change(0, &key())
    else {
        panic!("a change")
    };
    let mut padded = seal.to_vec();
    padded.resize(crate::limits::ENVELOPE_BYTES + 1, b' ');
    let change = Action::ApplySet {
        expected_epoch,
        upserts,
        deletes,
        seal: padded.into(),
    };
    assert_eq!(word(&member.checked(&command(12, None, change))), "SEAL_REFUSED");
}
