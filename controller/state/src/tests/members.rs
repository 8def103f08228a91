//! Who the members of the control plane are.

use verger_policy::model::Name;

use super::audit::{check_chain, last};
use super::frozen::hex_of;
use super::*;
use crate::{ClusterVersion, MemberRecord, MemberTurn, limits};

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn invite(member: &str, secret: &str, expires: i64) -> Action {
    Action::InviteMember {
        member: name(member),
        id: format!("of-{secret}"),
        secret_hash: digest(secret),
        expires: at(expires),
    }
}

fn admit(member: &str, secret: &str, key: &str) -> Action {
    Action::AdmitMember {
        member: name(member),
        secret_hash: digest(secret),
        key: digest(key),
        newest: ClusterVersion::NEWEST,
    }
}

fn remove(member: &str) -> Action {
    Action::RemoveMember { member: name(member) }
}

impl Member {
    /// Now; and a member that was restarted is where this one is.
    fn does(&mut self, action: Action) -> Response {
        self.checked(&command(self.now(), None, action))
    }

    fn invites(&mut self, member: &str, secret: &str) {
        let invited = self.does(invite(member, secret, self.now() + 100));
        assert_eq!(invited, Response::MemberInvited(format!("of-{secret}")));
    }

    /// Lets a member in by an invitation of its own; its number.
    fn admits(&mut self, member: &str) -> u64 {
        self.invites(member, member);
        match self.does(admit(member, member, member)) {
            Response::MemberAdmitted { number } => number,
            other => panic!("{other:?}"),
        }
    }

    fn record(&self, member: &str) -> Option<&MemberRecord> {
        self.state.member(&name(member))
    }
}

#[test]
fn nobody_is_invited_let_in_or_removed_before_the_founding() {
    for action in [invite("m2", "s", 50), admit("m2", "s", "k"), remove("m2")] {
        let mut member = Member::default();
        assert_eq!(word(&member.run(&command(1, None, action))), "NOT_FOUNDED");
        assert_eq!(member.state.members().count(), 0);
    }
}

#[test]
fn whoever_is_invited_is_let_in_by_where_that_is_in_the_log() {
    let mut member = Member::founded();
    member.invites("m2", "s");
    assert_eq!(
        member.record("m2"),
        Some(&MemberRecord::Invited {
            secret_hash: digest("s"),
            expires: at(110),
        })
    );
    for (of, secret) in [("m2", "wrong"), ("m3", "s")] {
        assert_eq!(
            member
                .state
                .may_admit(&name(of), &digest(secret), &digest("k"), ClusterVersion::NEWEST),
            Err(Refused::Token)
        );
        assert_eq!(word(&member.does(admit(of, secret, "k"))), "TOKEN_REFUSED");
    }
    let may = member
        .state
        .may_admit(&name("m2"), &digest("s"), &digest("k"), ClusterVersion::NEWEST);
    assert_eq!(may, Ok(None));
    let number = member.index + 1;
    assert_eq!(
        member.does(admit("m2", "s", "k")),
        Response::MemberAdmitted { number }
    );
    let record = MemberRecord::Admitted {
        number,
        secret_hash: digest("s"),
        key: digest("k"),
        at: at(10),
    };
    let members: Vec<_> = member.state.members().collect();
    assert_eq!(members, [(&name("m2"), &record)]);
}

#[test]
fn an_invitation_ends_by_the_replicated_time() {
    let mut member = Member::founded();
    member.does(invite("m2", "s", 50));
    member.pass(40);
    let late = member
        .state
        .may_admit(&name("m2"), &digest("s"), &digest("k"), ClusterVersion::NEWEST);
    assert_eq!(late, Err(Refused::Token));
    assert_eq!(word(&member.does(admit("m2", "s", "k"))), "TOKEN_REFUSED");
    // However long it was asked for.
    member.does(invite("m2", "s", 1_000_000_000));
    member.pass(limits::REQUEST_SECONDS - 1);
    let may = member
        .state
        .may_admit(&name("m2"), &digest("s"), &digest("k"), ClusterVersion::NEWEST);
    assert_eq!(may, Ok(None));
    member.pass(1);
    assert_eq!(word(&member.does(admit("m2", "s", "k"))), "TOKEN_REFUSED");
}

#[test]
fn of_two_keys_with_one_secret_the_first_is_let_in_and_asks_again_for_ever() {
    let mut member = Member::founded();
    member.invites("m2", "s");
    let first = member.does(admit("m2", "s", "k"));
    assert!(matches!(first, Response::MemberAdmitted { .. }), "{first:?}");
    assert_eq!(word(&member.does(admit("m2", "s", "thief"))), "TOKEN_REFUSED");
    assert_eq!(word(&member.does(admit("m2", "other", "k"))), "TOKEN_REFUSED");
    member.pass(10 * limits::REQUEST_SECONDS);
    let before = member.state.members.clone();
    assert_eq!(member.does(admit("m2", "s", "k")), first, "its answer was lost");
    assert_eq!(member.state.members, before);
    let may = member
        .state
        .may_admit(&name("m2"), &digest("s"), &digest("k"), ClusterVersion::NEWEST);
    let Response::MemberAdmitted { number } = first else {
        panic!("{first:?}")
    };
    assert_eq!(may, Ok(Some(number)));
}

#[test]
fn another_invitation_takes_the_place_of_one_that_nobody_used() {
    let mut member = Member::founded();
    member.invites("m2", "s");
    member.invites("m2", "t");
    assert_eq!(word(&member.does(admit("m2", "s", "k"))), "TOKEN_REFUSED");
    let admitted = member.does(admit("m2", "t", "k"));
    assert!(
        matches!(admitted, Response::MemberAdmitted { .. }),
        "{admitted:?}"
    );
}

#[test]
fn who_does_not_know_the_version_is_not_let_in_and_spends_nothing() {
    let mut member = Member::founded();
    let (older, newer) = (ClusterVersion::of(2), ClusterVersion::of(3));
    member.does(Action::RaiseVersion { to: newer });
    member.invites("m2", "s");
    let knows = |newest| Action::AdmitMember {
        member: name("m2"),
        secret_hash: digest("s"),
        key: digest("k"),
        newest,
    };
    let refused = Refused::VersionNewer {
        cluster: newer,
        newest: older,
    };
    let may = member
        .state
        .may_admit(&name("m2"), &digest("s"), &digest("k"), older);
    assert_eq!(may, Err(refused.clone()));
    assert_eq!(member.does(knows(older)), Response::Refused(refused));
    // Whoever has no token is told nothing of the version.
    let may = member
        .state
        .may_admit(&name("m2"), &digest("t"), &digest("k"), older);
    assert_eq!(may, Err(Refused::Token));
    let admitted = member.does(knows(newer));
    assert!(
        matches!(admitted, Response::MemberAdmitted { .. }),
        "{admitted:?}"
    );
}

#[test]
fn the_version_is_not_raised_between_a_members_being_let_in_and_its_being_one() {
    let mut member = Member::founded();
    member.admits("m2");
    let raise = Action::RaiseVersion {
        to: ClusterVersion::of(2),
    };
    let joins = Response::Refused(Refused::MemberJoins(name("m2")));
    assert_eq!(member.does(raise.clone()), joins);
    member.pass(limits::JOINING_SECONDS - 1);
    assert_eq!(member.does(raise.clone()), joins);
    assert_eq!(member.state.version(), ClusterVersion::FIRST);
    member.pass(1);
    assert_eq!(member.does(raise.clone()), Response::VersionRaised);
    // Neither invitations nor who is gone are waited for.
    member.invites("m3", "s");
    let admitted = member.does(Action::AdmitMember {
        member: name("m3"),
        secret_hash: digest("s"),
        key: digest("k"),
        newest: ClusterVersion::of(2),
    });
    assert!(
        matches!(admitted, Response::MemberAdmitted { .. }),
        "{admitted:?}"
    );
    member.does(remove("m3"));
    member.invites("m4", "m4");
    assert_eq!(member.does(raise), Response::VersionRaised);
}

#[test]
fn one_of_before_there_were_versions_knows_the_first() {
    let admits = Action::AdmitMember {
        member: name("m2"),
        secret_hash: digest("s"),
        key: digest("k"),
        newest: ClusterVersion::FIRST,
    };
    let wanted = command(12, None, admits);
    let mut bytes = wanted.encode().to_vec();
    let said = bytes.split_off(bytes.len() - 2);
    assert_eq!(said, [0x20, 1]);
    // It is the last of the action, which is that much shorter.
    let place = bytes.windows(2).position(|two| two == [0xea, 3]).unwrap() + 2;
    bytes[place] -= 2;
    assert_eq!(Command::decode(bytes.into()), Ok(wanted));
}

#[test]
fn a_name_is_used_once() {
    let mut member = Member::founded();
    let number = member.admits("m2");
    assert_eq!(word(&member.does(invite("m2", "t", 100))), "MEMBER_NAME_TAKEN");
    assert_eq!(member.does(remove("m2")), Response::MemberRemoved);
    let removed = MemberRecord::Removed {
        number: Some(number),
        by: "person/ada".to_owned(),
        at: at(10),
    };
    assert_eq!(member.record("m2"), Some(&removed));
    let taken = member.does(invite("m2", "t", 100));
    assert_eq!(taken, Response::Refused(Refused::MemberNameTaken(name("m2"))));
    assert_eq!(
        word(&member.does(admit("m2", "m2", "m2"))),
        "TOKEN_REFUSED",
        "as it came once"
    );
    member.pass(5);
    let again = Command {
        actor: "person/bob".to_owned(),
        ..command(15, None, remove("m2"))
    };
    assert_eq!(member.checked(&again), Response::MemberRemoved);
    assert_eq!(member.record("m2"), Some(&removed), "as it was");
}

#[test]
fn an_invitation_is_taken_out_and_the_founder_is_removed_without_one() {
    let mut member = Member::founded();
    member.invites("m2", "s");
    let taken_out = command(11, Some("r"), remove("m2"));
    assert_eq!(member.checked(&taken_out), Response::MemberRemoved);
    assert_eq!(member.record("m2"), None);
    assert_eq!(word(&member.does(admit("m2", "s", "k"))), "TOKEN_REFUSED");
    assert_eq!(member.checked(&taken_out), Response::MemberRemoved, "sent again");
    assert_eq!(member.record("m2"), None, "and not removed for good");
    member.admits("m2");

    assert_eq!(member.does(remove("m1")), Response::MemberRemoved);
    let removed = MemberRecord::Removed {
        number: None,
        by: "person/ada".to_owned(),
        at: at(11),
    };
    assert_eq!(member.record("m1"), Some(&removed));
    assert_eq!(word(&member.does(invite("m1", "s", 100))), "MEMBER_NAME_TAKEN");
}

#[test]
fn members_let_in_by_one_entry_of_the_log_have_numbers_of_their_own() {
    let mut member = Member::founded();
    let mut numbers = vec![member.admits("m2")];
    let names = ["m3", "m4", "m5"];
    for of in names {
        member.invites(of, of);
    }
    member.index += 1;
    let index = member.index;
    // One is removed by the same entry: nobody gets its number.
    let actions = [
        admit("m3", "m3", "k"),
        admit("m4", "m4", "k"),
        remove("m4"),
        admit("m5", "m5", "k"),
    ];
    for (ordinal, action) in (0..).zip(actions) {
        if let Response::MemberAdmitted { number } = member.run_at(ordinal, &command(11, None, action)) {
            numbers.push(number);
        }
        assert_eq!(member.rebuilt(), member.state);
    }
    assert_eq!(numbers[1..], [index, index + 1, index + 2]);
    assert!(numbers[0] < index);
    assert_eq!(member.admits("m6"), index + 3, "nor by the entries after it");
    assert_eq!(member.admits("m7"), member.index);
}

#[test]
fn no_number_is_the_founders() {
    let mut member = Member::founded();
    member.invites("m2", "s");
    let mut state = State {
        revision: 1,
        ..member.state
    };
    let (response, _) = state.apply(1, 0, command(11, None, admit("m2", "s", "k")).encode());
    assert_eq!(response, Response::MemberAdmitted { number: 2 });
}

#[test]
fn a_request_that_comes_again_with_another_secret_is_told_so() {
    let mut member = Member::founded();
    let first = command(11, Some("r"), invite("m2", "s", 100));
    let made = Response::MemberInvited("of-s".to_owned());
    assert_eq!(member.checked(&first), made);
    assert_eq!(member.checked(&first), made);
    let again = command(12, Some("r"), invite("m2", "t", 101));
    assert_eq!(word(&member.checked(&again)), "TOKEN_ALREADY_CREATED");
    let other = command(12, Some("r"), invite("m3", "t", 101));
    assert_eq!(word(&member.checked(&other)), "REQUEST_ID_REUSED");
    let admitted = member.does(admit("m2", "s", "k"));
    assert!(
        matches!(admitted, Response::MemberAdmitted { .. }),
        "{admitted:?}"
    );
}

#[test]
fn there_are_so_many_rows_and_invitations_that_ended_give_their_places() {
    let mut member = Member::founded();
    for place in 1..limits::MEMBERS {
        member.invites(&format!("i{place}"), "s");
    }
    member.admits("m2");
    assert_eq!(word(&member.does(invite("m3", "s", 100))), "TOO_MANY_MEMBERS");
    assert_eq!(word(&member.does(remove("m1"))), "TOO_MANY_MEMBERS");
    member.invites("i1", "t");
    assert_eq!(
        member.does(remove("m2")),
        Response::MemberRemoved,
        "it has a row already"
    );
    member.pass(100);
    assert_eq!(member.does(remove("m1")), Response::MemberRemoved);
    assert_eq!(member.state.members().count(), 2);
    member.admits("m3");
}

#[test]
fn a_name_is_one_label() {
    let mut member = Member::founded();
    for action in [
        invite("a/b", "s", 100),
        admit("a/b", "s", "k"),
        remove("verger/controllers"),
    ] {
        assert_eq!(word(&member.does(action)), "INVALID_COMMAND");
    }
}

#[test]
fn rows_of_no_member_are_damage() {
    let removed = bytes_of(&MemberRecord::Removed {
        number: None,
        by: "b".to_owned(),
        at: at(1),
    });
    let of_founder = bytes_of(&MemberRecord::Admitted {
        number: 1,
        secret_hash: digest("s"),
        key: digest("k"),
        at: at(1),
    });
    for (key, value, told) in [
        ("a/b", removed, "names no member"),
        ("m2", of_founder, "its number is 1"),
        ("m2", vec![8, 1], "no record"),
    ] {
        let row = (Tree::Members, key.as_bytes().to_vec(), value);
        let error = State::from_rows(9, [row]).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn what_is_done_is_on_record_with_the_row_it_is_about() {
    let mut member = Member::founded();
    let key = digest("k");
    for (action, word, detail) in [
        (invite("m2", "s", 100), "invite-member", "member m2".to_owned()),
        (
            admit("m2", "s", "k"),
            "admit-member",
            format!("member m2, key {key}"),
        ),
        (remove("m2"), "remove-member", "member m2".to_owned()),
        (remove("m1"), "remove-member", "member m1".to_owned()),
    ] {
        let place = (Tree::Members, detail.as_bytes()[7..9].to_vec());
        let stored = |member: &Member| member.rows.get(&place).map(|value| Digest::of(value));
        let before = stored(&member);
        let counted = Command {
            counted: true,
            ..command(11, None, action)
        };
        member.checked(&counted);
        let row = last(&member);
        assert_eq!(
            (row.action.as_str(), row.outcome.as_str(), row.detail),
            (word, "ok", detail)
        );
        let told = [row.before, row.after].map(|digest| crate::convert::digest(&digest));
        assert_eq!(told, [before, stored(&member)]);
    }
    member.does(admit("m2", "s", "k"));
    assert_eq!(last(&member).outcome, "TOKEN_REFUSED");
    check_chain(&member);
}

fn bytes_of(record: &MemberRecord) -> Vec<u8> {
    crate::rows::member(&name("m2"), record).value.unwrap()
}

#[test]
fn stored_bytes_of_members_never_change() {
    let (ab, cd) = ("ab".repeat(32), "cd".repeat(32));
    let secret_hash = Digest::from_bytes([0xab; 32]);
    let key = Digest::from_bytes([0xcd; 32]);
    let mut member = Member::founded();
    let head = "0801 10e05d 1a0a706572736f6e2f616461";
    let time = "e05d";
    // The action; its row; what its repeats are answered.
    for (action, frozen, row, answer) in [
        (
            Action::InviteMember {
                member: name("m"),
                id: "i".to_owned(),
                secret_hash,
                expires: at(20),
            },
            format!("e203 2c 0a016d 120169 1a20{ab} 20a09c01"),
            format!("0801 1226 0a20{ab} 10a09c01"),
            Some("e2030169"),
        ),
        (
            Action::AdmitMember {
                member: name("m"),
                secret_hash,
                key,
                newest: ClusterVersion::FIRST,
            },
            format!("ea03 49 0a016d 1220{ab} 1a20{cd} 2001"),
            format!("0801 1a49 0803 1220{ab} 1a20{cd} 20{time}"),
            None,
        ),
        (
            Action::RemoveMember { member: name("m") },
            "f203 03 0a016d".to_owned(),
            format!("0801 2211 0a0a706572736f6e2f616461 10{time} 1803"),
            Some("e80301"),
        ),
    ] {
        let command = command(12, answer.map(|_| "r"), action);
        let id = if answer.is_some() { "220172" } else { "" };
        let frozen = format!("{head} {id} {frozen}").replace(' ', "");
        assert_eq!(hex_of(&command.encode()), frozen);
        assert_eq!(Command::decode(command.encode()), Ok(command.clone()));
        let done = member.checked(&command);
        assert_eq!(super::word(&done), "done", "{done:?}");
        let stored = |tree: Tree, key: &str| hex_of(&member.rows[&(tree, key.as_bytes().to_vec())]);
        assert_eq!(stored(Tree::Members, "m"), row.replace(' ', ""));
        if let Some(answer) = answer {
            let request = stored(Tree::Requests, "r");
            let asked = hex_of(command.asked().as_bytes());
            assert_eq!(
                request,
                format!("0801 10{time} {answer} 3220{asked}").replace(' ', "")
            );
            member.state.drop_request("r");
            member.rows.remove(&(Tree::Requests, b"r".to_vec()));
        }
    }
    for (turn, forced, frozen) in [
        (MemberTurn::Promoted, false, "fa03 05 0a016d 1001"),
        (MemberTurn::Demoted, true, "fa03 07 0a016d 1002 1801"),
        (MemberTurn::Leads, false, "fa03 05 0a016d 1003"),
    ] {
        let note = Action::NoteMember {
            member: name("m"),
            turn,
            forced,
        };
        let command = command(12, Some("r"), note);
        let frozen = format!("{head} 220172 {frozen}").replace(' ', "");
        assert_eq!(hex_of(&command.encode()), frozen);
        assert_eq!(Command::decode(command.encode()), Ok(command.clone()));
        let before = member.state.members.clone();
        assert_eq!(member.checked(&command), Response::MemberNoted);
        assert_eq!(member.state.members, before);
        let request = hex_of(&member.rows[&(Tree::Requests, b"r".to_vec())]);
        assert!(request.starts_with(&format!("080110{time}f00301")), "{request}");
        member.state.drop_request("r");
        member.rows.remove(&(Tree::Requests, b"r".to_vec()));
    }
    // Of a founder there is no number.
    let founder = MemberRecord::Removed {
        number: None,
        by: "b".to_owned(),
        at: at(12),
    };
    assert_eq!(
        hex_of(&bytes_of(&founder)),
        format!("08012206 0a0162 10{time}").replace(' ', "")
    );
}
