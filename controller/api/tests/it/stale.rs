//! What may be out of date is shown to who says that this is good enough, and is good enough for looking alone.

use tonic::{Code, Request};
use verger_controller_api::ports::Unavailable;
use verger_controller_state::Action;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{World, reason};

fn stale<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("verger-stale-ok", "1".parse().unwrap());
    request
}

/// A member that cannot tell whether what it knows is current.
fn cut_off() -> World {
    let world = World::founded();
    world.enrol(&["h1"]);
    let lost = "a quorum did not confirm the leader".to_owned();
    world.log.fall_behind(Unavailable::Elsewhere(lost));
    world
}

#[tokio::test(start_paused = true)]
async fn policy_hosts_instances_and_findings_are_shown_as_the_member_knows_them() {
    let world = cut_off();
    let get = pb::GetSetRequest { with_bodies: true };
    let current = world.ada().policy().get_set(get).await.unwrap_err();
    assert_eq!(current.code(), Code::Unavailable);
    let set = world.ada().policy().get_set(stale(get)).await.unwrap();
    assert_eq!(set.into_inner().revision, world.log.state().revision());
    let hosts = cpb::ListHostsRequest::default();
    let hosts = world.ada().cluster().list_hosts(stale(hosts)).await.unwrap();
    assert_eq!(hosts.into_inner().hosts.len(), 1);
    let instances = cpb::ListInstancesRequest::default();
    world
        .ada()
        .cluster()
        .list_instances(stale(instances))
        .await
        .unwrap();
    let findings = fpb::ListRequest::default();
    world.ada().findings().list(stale(findings)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_watched_or_told_of_the_audit_by_what_may_be_out_of_date() {
    let world = cut_off();
    let before = world.log.proposed().len();
    let apply = pb::ApplyRequest {
        request_id: world.request_id(),
        ..Default::default()
    };
    let token = cpb::CreateJoinTokenRequest {
        request_id: world.request_id(),
        agent_id: "h2".to_owned(),
        ..Default::default()
    };
    let save = cpb::SaveSnapshotRequest {
        request_id: world.request_id(),
    };
    let answers = [
        world.ada().policy().apply(stale(apply)).await.map(drop),
        world
            .ada()
            .cluster()
            .create_join_token(stale(token))
            .await
            .map(drop),
        world.ada().members().save_snapshot(stale(save)).await.map(drop),
        world
            .ada()
            .audit()
            .list(stale(cpb::ListRequest::default()))
            .await
            .map(drop),
        world
            .ada()
            .proposals()
            .list_proposals(stale(pb::ListProposalsRequest::default()))
            .await
            .map(drop),
        world
            .ada()
            .policy()
            .watch(stale(pb::WatchRequest::default()))
            .await
            .map(drop),
    ];
    for (place, answer) in answers.into_iter().enumerate() {
        let status = answer.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "INVALID_ARGUMENT"),
            "{place}"
        );
    }
    assert_eq!(world.log.proposed().len(), before);
}

#[tokio::test(start_paused = true)]
async fn who_is_known_here_to_be_shut_out_sees_nothing_that_is_stale_either() {
    let world = cut_off();
    let status = world
        .caller("person/stranger")
        .policy()
        .get_set(stale(pb::GetSetRequest { with_bodies: false }))
        .await
        .unwrap_err();
    assert!(
        matches!(
            status.code(),
            Code::PermissionDenied | Code::Unauthenticated | Code::Unavailable
        ),
        "{status:?}"
    );
}

/// A member that knows a login that was revoked elsewhere meanwhile.
fn out_of_date() -> World {
    let world = World::founded();
    world.log.lag();
    world.run(Action::RevokeLogin {
        person: "ada".to_owned(),
        reason: "left".to_owned(),
    });
    world
}

async fn looks(world: &World) -> [Result<(), tonic::Status>; 2] {
    let get = pb::GetSetRequest { with_bodies: false };
    let list = cpb::ListMembersRequest { stale_ok: true };
    // A caller of its own each: whoever is refused may be cut off.
    [
        world.ada().policy().get_set(stale(get)).await.map(drop),
        world.ada().members().list_members(list).await.map(drop),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_revoked_is_refused_by_every_member_that_can_tell() {
    for which in 0..2 {
        let world = out_of_date();
        let status = looks(&world).await.into_iter().nth(which).unwrap().unwrap_err();
        assert_eq!(reason(&status), "LOGIN_REVOKED", "{which}: {status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_tell_within_a_second_answers_of_what_it_knows() {
    let lost = || Unavailable::Elsewhere("a quorum did not confirm the leader".to_owned());
    let refuses = |world: &World| world.log.fall_behind(lost());
    let hangs = |world: &World| world.log.hang();
    for (makes, takes) in [(&refuses as &dyn Fn(&World), 0..1_000), (&hangs, 1_000..1_500)] {
        let world = out_of_date();
        makes(&world);
        for looked in looks(&world).await {
            looked.unwrap();
        }
        let begun = tokio::time::Instant::now();
        let list = cpb::ListHostsRequest::default();
        world.ada().cluster().list_hosts(stale(list)).await.unwrap();
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
        assert!(takes.contains(&took), "{took} ms of {takes:?}");
    }
}
