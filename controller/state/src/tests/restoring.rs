//! What goes on with what a snapshot held, and hosts that came further before.

use super::*;
use crate::{ClusterVersion, MemberRecord, Place, SnapshotPlace};

/// Far behind whatever the log came to that the snapshot is of.
const BASE: u64 = 1 << 40;

fn name(text: &str) -> verger_policy::model::Name {
    text.parse().unwrap()
}

fn invite(member: &str) -> Action {
    Action::InviteMember {
        member: name(member),
        id: member.to_owned(),
        secret_hash: Digest::of(member.as_bytes()),
        expires: at(500),
    }
}

fn restore() -> Action {
    Action::Restore {
        from: SnapshotPlace {
            digest: Digest::of(b"snapshot"),
            index: 7,
            term: 3,
        },
        members: vec![(name("c1"), 1)],
    }
}

fn agent() -> AgentId {
    "h1".parse().unwrap()
}

/// With a set, a member that was let in, and others and a host that may come.
fn member() -> Member {
    let mut member = Member::founded();
    let change = member.change(0, &key());
    member.run(&command(11, None, change));
    member.enrol("h1", b"key");
    for action in [
        invite("c2"),
        Action::AdmitMember {
            member: name("c2"),
            secret_hash: Digest::of(b"c2"),
            key: Digest::of(b"key"),
            newest: ClusterVersion::NEWEST,
        },
        invite("c3"),
        Action::CreateToken {
            id: "open".to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: "h2".parse().unwrap(),
            expires: at(400),
            approval: false,
        },
    ] {
        let done = member.run(&command(12, None, action));
        assert!(!matches!(done, Response::Refused(_)), "{done:?}");
    }
    member
}

#[test]
fn nothing_of_before_is_let_in_and_every_watcher_begins_anew() {
    let mut member = member();
    let before = member.state.clone();
    let place = Place::after(member.index);
    assert!(member.state.objects_changed(&place).is_some());
    member.index = BASE;
    assert_eq!(member.checked(&command(13, None, restore())), Response::Restored);
    let state = &member.state;
    for (of, number) in [
        ("c1", Some(1)),
        ("c2", before.member(&name("c2")).unwrap().number()),
        // It was invited, and may have come after the snapshot.
        ("c3", None),
    ] {
        let removed = MemberRecord::Removed {
            number,
            by: "person/ada".to_owned(),
            at: at(13),
        };
        assert_eq!(state.member(&name(of)), Some(&removed), "{of}");
    }
    let spent = Action::Enrol {
        token_id: "open".to_owned(),
        secret_hash: Digest::of(b"s"),
        agent: "h2".parse().unwrap(),
        key: Digest::of(b"k"),
        machine: None,
    };
    assert_eq!(word(&member.checked(&command(14, None, spent))), "TOKEN_REFUSED");
    let admit = Action::AdmitMember {
        member: name("c3"),
        secret_hash: Digest::of(b"c3"),
        key: Digest::of(b"key"),
        newest: ClusterVersion::NEWEST,
    };
    assert_eq!(word(&member.checked(&command(14, None, admit))), "TOKEN_REFUSED");
    for taken in ["c1", "c3"] {
        let again = member.checked(&command(14, None, invite(taken)));
        assert_eq!(word(&again), "MEMBER_NAME_TAKEN", "{taken}");
    }
    // What is not of members and tokens is as it was.
    assert_eq!(member.state.set(), before.set());
    assert_eq!(member.state.host(&agent()), before.host(&agent()));
    let restored = member.state.restored().unwrap();
    assert_eq!((restored.revision, restored.from.index), (BASE + 1, 7));
    // Of whatever log a revision is that is before this one: nothing tells what came between.
    for after in [1, place.complete, BASE, restored.revision - 1] {
        assert!(member.state.objects_changed(&Place::after(after)).is_none());
        assert!(member.state.findings_changed(&Place::after(after)).is_none());
    }
    let now = Place::after(restored.revision);
    assert_eq!(member.state.objects_changed(&now).unwrap().count(), 0);
    let all = Place::beginning(member.state.revision());
    assert_eq!(member.state.objects_changed(&all).unwrap().count(), 1);
    // It is on record.
    assert_eq!(member.state.audit_head().written, before.audit_head().written + 5);
}

#[test]
fn a_member_that_joins_what_was_restored_has_a_number_that_nobody_had() {
    let mut member = member();
    member.index = BASE;
    member.run(&command(13, None, restore()));
    member.run(&command(14, None, invite("c9")));
    let admit = Action::AdmitMember {
        member: name("c9"),
        secret_hash: Digest::of(b"c9"),
        key: Digest::of(b"key"),
        newest: ClusterVersion::NEWEST,
    };
    let number = BASE + 3;
    assert_eq!(
        member.checked(&command(15, None, admit)),
        Response::MemberAdmitted { number }
    );
}

#[test]
fn nothing_is_saved_or_restored_before_the_founding() {
    for action in [Action::SaveSnapshot, restore()] {
        let mut member = Member::default();
        assert_eq!(word(&member.run(&command(1, None, action))), "NOT_FOUNDED");
    }
}

#[test]
fn a_saved_snapshot_is_on_record_and_changes_nothing_else() {
    let mut member = member();
    let before = member.rows.clone();
    let done = member.checked(&command(13, None, Action::SaveSnapshot));
    assert_eq!(done, Response::SnapshotNoted);
    let others = |rows: &std::collections::BTreeMap<(Tree, Vec<u8>), Vec<u8>>| {
        let mut rows = rows.clone();
        rows.retain(|(tree, key), _| *tree != Tree::Audit && *key != b"audit" && *key != b"clock");
        rows
    };
    assert_eq!(others(&member.rows), others(&before));
    assert_eq!(member.rows.len(), before.len() + 1, "the row of the audit");
}

fn tell(member: &mut Member, epoch: u64) -> Response {
    let action = Action::TellAhead {
        agent: agent(),
        epoch,
    };
    member.checked(&command(member.now(), None, action))
}

#[test]
fn a_host_that_came_further_than_the_set_is_a_finding_until_the_set_is_above_it() {
    let mut member = member();
    let findings = |member: &Member| -> Vec<_> { member.state.findings_after_uid(None).collect() };
    assert_eq!(tell(&mut member, 1), Response::AheadTold);
    assert_eq!(findings(&member).len(), 0, "it has what is in force");
    let written = member.state.audit_head().written;
    for _ in 0..2 {
        assert_eq!(tell(&mut member, 7), Response::AheadTold);
        assert!(member.state.is_told_ahead(&agent()));
        let found = findings(&member);
        assert_eq!(
            (found.len(), found[0].rule.as_str(), found[0].lifecycle),
            (1, "host/ahead-of-set", verger_policy::finding::Lifecycle::Open)
        );
    }
    assert_eq!(
        member.state.audit_head().written,
        written,
        "the finding is the record"
    );
    let above = sealed_at(&member, 8);
    let applied = member.checked(&command(20, None, above));
    assert!(
        matches!(applied, Response::SetApplied { epoch: 8, .. }),
        "{applied:?}"
    );
    assert_eq!(tell(&mut member, 8), Response::AheadTold);
    assert!(!member.state.is_told_ahead(&agent()));
    let unknown = Action::TellAhead {
        agent: "nobody".parse().unwrap(),
        epoch: 9,
    };
    assert_eq!(
        word(&member.checked(&command(21, None, unknown))),
        "UNKNOWN_AGENT"
    );
}

/// The set as it is, sealed at an epoch.
fn sealed_at(member: &Member, epoch: u64) -> Action {
    let next = member.state.set().change_to(epoch, [], []).unwrap();
    Action::ApplySet {
        expected_epoch: member.state.set().epoch(),
        upserts: vec![],
        deletes: vec![],
        seal: member.seal(&next, &key()),
    }
}

#[test]
fn a_seal_leaves_out_epochs_but_not_all_that_there_are() {
    let mut member = member();
    let most = 2 + crate::limits::EPOCHS_LEFT_OUT;
    for (epoch, wanted) in [
        (most + 1, "SEAL_REFUSED"),
        (verger_policy::set::MAX_EPOCH, "SEAL_REFUSED"),
        (most, "done"),
    ] {
        let change = sealed_at(&member, epoch);
        assert_eq!(
            word(&member.checked(&command(20, None, change))),
            wanted,
            "{epoch}"
        );
    }
    assert_eq!(member.state.set().epoch(), most);
    // What was changed is of the epoch that was sealed.
    let object = verger_policy::draft::read("h", HOST.replace("h1", "h3").as_bytes())
        .unwrap()
        .remove(0);
    let next = member
        .state
        .set()
        .change_to(most + 5, [object.clone()], [])
        .unwrap();
    let change = Action::ApplySet {
        expected_epoch: most,
        upserts: vec![canonical(&object)],
        deletes: vec![],
        seal: member.seal(&next, &key()),
    };
    assert_eq!(word(&member.checked(&command(21, None, change))), "done");
    assert_eq!(member.state.set().entry(&object.key()).unwrap().epoch, most + 5);
    assert!(
        member.state.set().change_to(most + 5, [], []).is_err(),
        "not above"
    );
}

#[test]
fn stored_bytes_of_the_commands_never_change() {
    for (action, hex) in [
        (Action::SaveSnapshot, "820500"),
        (
            restore(),
            "8a05300a260a2016a0eeb0791b6c92451fd284dd9f599e0a7dbe7f6ebea6e2d2d06c7f74aec1121007180312060a0263311001",
        ),
        (
            Action::TellAhead {
                agent: agent(),
                epoch: 9,
            },
            "9205060a0268311009",
        ),
    ] {
        let command = command(1, None, action);
        let bytes = command.encode();
        let found: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(found.ends_with(hex), "{found}");
        assert_eq!(Command::decode(bytes).unwrap(), command);
    }
}
