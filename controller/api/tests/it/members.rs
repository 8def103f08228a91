//! The members of the control plane: inviting, joining, changing and removing them.

use std::sync::Arc;

use tonic::Code;
use verger_controller_api::ports::{MemberChange, NotChanged, Unavailable};
use verger_controller_state::{Action, ClusterVersion, MemberRecord, MemberTurn};
use verger_proto::cluster::v1 as pb;

use crate::world::{World, reason, request_of};

async fn invite(world: &World, name: &str) -> Result<String, tonic::Status> {
    let request = pb::InviteMemberRequest {
        request_id: world.request_id(),
        name: name.to_owned(),
        ttl_seconds: 0,
    };
    let answer = world.ada().members().invite_member(request).await?;
    Ok(answer.into_inner().token)
}

fn joining(token: &str, name: &str, key: &str) -> pb::JoinRequest {
    pb::JoinRequest {
        token: token.to_owned(),
        name: name.to_owned(),
        peer_address: format!("{name}.example:7402"),
        address: format!("{name}.example:7400"),
        enrol_address: format!("{name}.example:7401"),
        csrs: Some(pb::Authorities {
            members: request_of(key),
            agents: request_of("agents"),
            people: request_of("people"),
        }),
        newest_version: 1,
    }
}

async fn join(world: &World, request: pb::JoinRequest) -> Result<pb::JoinResponse, tonic::Status> {
    let answer = world.caller("").joining().join(request).await?;
    Ok(answer.into_inner())
}

fn record(world: &World, name: &str) -> Option<MemberRecord> {
    world.log.state().member(&name.parse().unwrap()).cloned()
}

#[tokio::test(start_paused = true)]
async fn whoever_is_invited_joins_as_a_learner_and_asks_again_where_the_answer_was_lost() {
    let world = World::founded();
    let token = invite(&world, "c3").await.unwrap();
    let joined = join(&world, joining(&token, "c3", "k")).await.unwrap();
    let number = joined.number;
    assert!(number > 2);
    let own = joined.authorities.unwrap();
    assert_eq!(own.members, "c3 below with k");
    assert_eq!(joined.roots.unwrap().people, "people");
    let made = world.members.made();
    let [(MemberChange::Add(new), false)] = made.as_slice() else {
        panic!("{made:?}")
    };
    assert_eq!((new.number, new.name.as_str()), (number, "c3"));
    assert_eq!(new.peer_address, "c3.example:7402");
    assert_eq!(
        (new.address.as_str(), new.enrol_address.as_str()),
        ("c3.example:7400", "c3.example:7401")
    );
    let again = join(&world, joining(&token, "c3", "k")).await.unwrap();
    assert_eq!(again.number, number);
    assert_eq!(world.members.made().len(), 1, "it is a member already");
    // Another key, and another name.
    for (name, key) in [("c3", "other"), ("c4", "k")] {
        let refused = join(&world, joining(&token, name, key)).await.unwrap_err();
        assert_eq!(reason(&refused), "TOKEN_REFUSED", "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_spent_where_nobody_can_join() {
    let world = World::founded();
    let token = invite(&world, "c3").await.unwrap();
    *world.members.closed.lock().unwrap() = Some("set `peer_listen`".to_owned());
    let refused = join(&world, joining(&token, "c3", "k")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "CLOSED_TO_MEMBERS")
    );
    assert!(refused.message().contains("peer_listen"), "{refused:?}");
    *world.members.closed.lock().unwrap() = None;
    let mut unfit = joining(&token, "c3", "k");
    unfit.peer_address = "nowhere".to_owned();
    let refused = join(&world, unfit).await.unwrap_err();
    assert!(refused.message().contains("peer_address"), "{refused:?}");
    world.authority.fail();
    let refused = join(&world, joining(&token, "c3", "k")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "NO_ROOT_KEYS")
    );
    assert!(matches!(record(&world, "c3"), Some(MemberRecord::Invited { .. })));
    assert!(world.members.made().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_raised_elsewhere_decides_before_the_token_is_spent() {
    let world = World::founded();
    let token = invite(&world, "c3").await.unwrap();
    world.log.lag();
    let version = ClusterVersion::of(2);
    world.run(Action::RaiseVersion { to: version });
    let mut older = joining(&token, "c3", "k");
    older.newest_version = 1;
    let refused = join(&world, older.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "CLUSTER_VERSION_NEWER")
    );
    assert!(matches!(record(&world, "c3"), Some(MemberRecord::Invited { .. })));
    older.newest_version = 2;
    join(&world, older).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_member_has_or_had_is_invited_no_more() {
    let world = World::founded();
    for taken in ["c1", "c2"] {
        let refused = invite(&world, taken).await.unwrap_err();
        assert_eq!(reason(&refused), "MEMBER_NAME_TAKEN", "{refused:?}");
    }
    remove(&world, "c2", false).await.unwrap();
    let refused = invite(&world, "c2").await.unwrap_err();
    assert_eq!(reason(&refused), "MEMBER_NAME_TAKEN", "{refused:?}");
    for unfit in ["", "a/b", "a b"] {
        let refused = invite(&world, unfit).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{unfit}");
    }
    invite(&world, "c3").await.unwrap();
    let request = pb::ListMembersRequest { stale_ok: false };
    let listed = world
        .ada()
        .members()
        .list_members(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.invitations.len(), 1);
    assert_eq!(
        (listed.invitations[0].name.as_str(), listed.leader.as_str()),
        ("c3", "c1")
    );
}

async fn remove(world: &World, name: &str, force: bool) -> Result<(), tonic::Status> {
    let request = pb::RemoveMemberRequest {
        request_id: world.request_id(),
        name: name.to_owned(),
        force,
    };
    world.ada().members().remove_member(request).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_go_stays_who_it_is_and_one_that_goes_is_shut_out() {
    let world = World::founded();
    *world.members.refused.lock().unwrap() = Some(NotChanged {
        is_passing: false,
        reason: "NO_QUORUM".to_owned(),
        detail: "too few would be there (`--force`)".to_owned(),
    });
    let refused = remove(&world, "c2", false).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "NO_QUORUM")
    );
    assert_eq!(record(&world, "c2"), None);
    *world.members.refused.lock().unwrap() = None;
    remove(&world, "c2", true).await.unwrap();
    assert_eq!(
        world.members.made(),
        [(MemberChange::Remove("c2".to_owned()), true)]
    );
    assert!(matches!(record(&world, "c2"), Some(MemberRecord::Removed { .. })));
    // Once more, where the answer was lost.
    remove(&world, "c2", true).await.unwrap();
    let unknown = remove(&world, "c7", false).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(record(&world, "c7"), None, "a name that nobody had can be had");
    assert!(
        unknown.message().contains("c7") && unknown.message().contains("--force"),
        "{unknown:?}"
    );
    let made = world.members.made().len();
    // One that nobody knows any more, of what came after the snapshot that the cluster was restored from.
    remove(&world, "c7", true).await.unwrap();
    assert!(matches!(
        record(&world, "c7"),
        Some(MemberRecord::Removed { number: None, .. })
    ));
    assert_eq!(world.members.made().len(), made, "it is no member");
    assert_eq!(
        reason(&invite(&world, "c7").await.unwrap_err()),
        "MEMBER_NAME_TAKEN"
    );
    invite(&world, "c3").await.unwrap();
    remove(&world, "c3", false).await.unwrap();
    assert_eq!(record(&world, "c3"), None);
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_it_joins_is_no_learner_afterwards() {
    let world = World::founded();
    let names = || -> Vec<String> {
        let names = world.members.names.lock().unwrap();
        names.iter().map(|(name, _)| name.clone()).collect()
    };
    // It is removed after it is on record, and before it is a learner: who lets it in finds that.
    let token = invite(&world, "c3").await.unwrap();
    let removal = world.command(Action::RemoveMember {
        member: "c3".parse().unwrap(),
    });
    let log = Arc::clone(&world.log);
    *world.members.meanwhile.lock().unwrap() = Some(Box::new(move || drop(log.run(&removal))));
    let refused = join(&world, joining(&token, "c3", "k")).await.unwrap_err();
    assert_eq!(reason(&refused), "TOKEN_REFUSED", "{refused:?}");
    assert_eq!(names(), ["c1", "c2"]);
    assert!(matches!(record(&world, "c3"), Some(MemberRecord::Removed { .. })));

    // It becomes a learner after that was looked at, and before its removal is on record: who removes it finds that.
    let token = invite(&world, "c4").await.unwrap();
    join(&world, joining(&token, "c4", "k")).await.unwrap();
    let learner = world.members.names.lock().unwrap().pop().unwrap();
    world.log.hold();
    let removing = async {
        let mut removing = Box::pin(remove(&world, "c4", false));
        assert!(futures::poll!(&mut removing).is_pending());
        world.members.names.lock().unwrap().push(learner);
        world.log.release();
        removing.await
    };
    removing.await.unwrap();
    assert_eq!(names(), ["c1", "c2"]);

    // Another takes it out in between.
    *world.members.meanwhile.lock().unwrap() = {
        let members = Arc::clone(&world.members);
        Some(Box::new(move || {
            members.names.lock().unwrap().retain(|(name, _)| name != "c2")
        }))
    };
    remove(&world, "c2", false).await.unwrap();
    assert!(matches!(record(&world, "c2"), Some(MemberRecord::Removed { .. })));
}

#[tokio::test(start_paused = true)]
async fn who_withdrew_an_invitation_and_asks_again_removes_nobody_who_joined_since() {
    let world = World::founded();
    invite(&world, "c3").await.unwrap();
    let request = pb::RemoveMemberRequest {
        request_id: world.request_id(),
        name: "c3".to_owned(),
        force: true,
    };
    let ada = world.ada();
    ada.members().remove_member(request.clone()).await.unwrap();
    assert_eq!(record(&world, "c3"), None);
    let token = invite(&world, "c3").await.unwrap();
    join(&world, joining(&token, "c3", "k")).await.unwrap();
    let made = world.members.made();
    ada.members().remove_member(request).await.unwrap();
    assert_eq!(world.members.made(), made);
    assert!(matches!(
        record(&world, "c3"),
        Some(MemberRecord::Admitted { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_removal_whose_request_has_no_id_takes_nobody_out() {
    let world = World::founded();
    for id in ["", "a b"] {
        let request = pb::RemoveMemberRequest {
            request_id: id.to_owned(),
            name: "c2".to_owned(),
            force: true,
        };
        let refused = world.ada().members().remove_member(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains("request_id"), "{refused:?}");
        assert!(world.members.made().is_empty());
        assert_eq!(record(&world, "c2"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_members_that_comes_again_is_answered_and_not_made_again() {
    let world = World::founded();
    let demote = pb::DemoteMemberRequest {
        request_id: world.request_id(),
        name: "c2".to_owned(),
        force: false,
    };
    let promote = pb::PromoteMemberRequest {
        request_id: world.request_id(),
        name: "c2".to_owned(),
        force: false,
    };
    let ada = world.ada();
    ada.members().demote_member(demote.clone()).await.unwrap();
    ada.members().promote_member(promote).await.unwrap();
    let made = world.members.made();
    assert_eq!(made.len(), 2);
    // The answer to the first was lost, and somebody thought better of it since.
    ada.members().demote_member(demote.clone()).await.unwrap();
    assert_eq!(world.members.made(), made);
    let other = pb::DemoteMemberRequest {
        name: "c3".to_owned(),
        ..demote
    };
    let reused = ada.members().demote_member(other).await.unwrap_err();
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
    assert_eq!(world.members.made(), made);

    // What was taken out is not missed, and nobody is taken out twice.
    for name in ["c3", "c2"] {
        if name == "c3" {
            invite(&world, name).await.unwrap();
        }
        let request = pb::RemoveMemberRequest {
            request_id: world.request_id(),
            name: name.to_owned(),
            force: false,
        };
        for _ in 0..2 {
            ada.members().remove_member(request.clone()).await.unwrap();
        }
    }
    let removed = (MemberChange::Remove("c2".to_owned()), false);
    assert_eq!(world.members.made()[made.len()..], [removed]);
}

#[tokio::test(start_paused = true)]
async fn who_had_a_member_vote_or_lead_is_on_record_and_what_was_refused_is_not() {
    let world = World::founded();
    let promote = |force| pb::PromoteMemberRequest {
        request_id: world.request_id(),
        name: "c2".to_owned(),
        force,
    };
    let proposed = world.log.proposed().len();
    let refusal = |reason: &str, is_passing| NotChanged {
        is_passing,
        reason: reason.to_owned(),
        detail: "no".to_owned(),
    };
    for (refused, code) in [
        (refusal("MEMBER_BEHIND", false), Code::FailedPrecondition),
        (refusal("NO_LEADER", true), Code::Unavailable),
    ] {
        *world.members.refused.lock().unwrap() = Some(refused);
        let status = world
            .ada()
            .members()
            .promote_member(promote(false))
            .await
            .unwrap_err();
        assert_eq!(status.code(), code);
    }
    assert_eq!(world.log.proposed().len(), proposed);
    *world.members.refused.lock().unwrap() = None;
    world.ada().members().promote_member(promote(true)).await.unwrap();
    // It was made before: whoever asks again had no answer.
    *world.members.refused.lock().unwrap() = Some(refusal("ALREADY_SO", false));
    world
        .ada()
        .members()
        .promote_member(promote(false))
        .await
        .unwrap();
    let lead = pb::TransferLeaderRequest {
        request_id: world.request_id(),
        name: "c2".to_owned(),
    };
    *world.members.refused.lock().unwrap() = None;
    world.ada().members().transfer_leader(lead).await.unwrap();
    let noted: Vec<_> = world
        .log
        .proposed()
        .into_iter()
        .filter_map(|command| match command.action {
            Action::NoteMember { turn, forced, .. } => Some((command.actor, turn, forced)),
            _ => None,
        })
        .collect();
    let ada = || "person/ada".to_owned();
    assert_eq!(
        noted,
        [
            (ada(), MemberTurn::Promoted, true),
            (ada(), MemberTurn::Promoted, false),
            (ada(), MemberTurn::Leads, false),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_tell_what_is_current_who_says_so_is_shown_what_is_known() {
    let world = World::founded();
    let lost = Unavailable::Elsewhere("a quorum did not confirm the leader".to_owned());
    world.log.fall_behind(lost);
    let list = |stale_ok| {
        let ada = world.ada();
        async move {
            ada.members()
                .list_members(pb::ListMembersRequest { stale_ok })
                .await
        }
    };
    assert_eq!(list(false).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(list(true).await.unwrap().into_inner().members.len(), 2);
    assert_eq!(
        list(false).await.unwrap_err().code(),
        Code::Unavailable,
        "it stays so"
    );
}
