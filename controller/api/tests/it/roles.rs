//! Roles as callers meet them: what is denied and how it is told, what a change of roles does at once, and what nobody may do.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_policy::model::PolicyObject;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{Caller, World, binding, body, host, labelled, refused, role, soon, workload};

/// Founded, with Ada an admin and Bob something else.
async fn bound(bob: &str, more: &str) -> World {
    let world = World::founded();
    let bindings = [
        binding("admins", "admin", "ada", ""),
        binding("bobs", bob, "bob", more),
    ];
    world.apply(&bindings, &[]).await;
    world
}

async fn apply(world: &World, caller: &Caller, objects: &[PolicyObject]) -> Result<(), Status> {
    let request = world.change(objects, &[]);
    caller.policy().apply(request).await.map(drop)
}

async fn in_force(world: &World) -> bool {
    let status = world.ada().cluster().get_status(cpb::GetStatusRequest {}).await;
    status.unwrap().into_inner().roles_in_force
}

#[tokio::test(start_paused = true)]
async fn while_no_role_is_bound_every_person_may_do_everything_and_that_is_told() {
    let world = World::founded();
    let bob = world.caller("person/bob");
    assert!(!in_force(&world).await);
    apply(&world, &bob, &[workload("web", "a", 1)]).await.unwrap();
    apply(&world, &bob, &[binding("admins", "admin", "ada", "")])
        .await
        .unwrap();
    assert!(in_force(&world).await);
    refused(
        apply(&world, &bob, &[workload("db", "a", 1)]).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    let request = world.change(&[], &["RoleBinding/admins"]);
    world.ada().policy().apply(request).await.unwrap();
    assert!(!in_force(&world).await);
    apply(&world, &bob, &[workload("db", "a", 1)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_denial_names_the_verb_the_resource_and_the_rule() {
    let world = bound("author", "").await;
    let never = "effect: deny, verbs: [ apply ], resources: [ Workload ], names: [ payments/* ]";
    let more = [role("never", never), binding("no-bob", "never", "bob", "")];
    apply(&world, &world.ada(), &more).await.unwrap();
    let bob = world.caller("person/bob");
    let denied = apply(&world, &bob, &[workload("payments/web", "a", 1)]).await;
    let status = refused(denied, Code::PermissionDenied, "ROLE_DENIED");
    let rule = "`deny apply on Workload named payments/*` of role never, given by RoleBinding/no-bob";
    assert_eq!(
        status.message(),
        format!("bob may not apply Workload/payments/web: {rule}")
    );
    let metadata = status.get_details_error_info().unwrap().metadata;
    for (key, value) in [
        ("verb", "apply"),
        ("resource", "Workload"),
        ("name", "payments/web"),
        ("rule", rule),
    ] {
        assert_eq!(metadata[key], value);
    }
    let request = cpb::CreateJoinTokenRequest {
        request_id: world.request_id(),
        agent_id: "h1".to_owned(),
        ttl_seconds: 0,
        approval: false,
    };
    let denied = bob.cluster().create_join_token(request).await;
    let status = refused(denied, Code::PermissionDenied, "ROLE_DENIED");
    assert_eq!(
        status.message(),
        "bob may not create tokens/h1: no rule allows it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_is_gone_with_the_next_request_and_from_open_streams() {
    let world = bound("viewer", "").await;
    let bob = world.caller("person/bob");
    let mut objects = bob
        .policy()
        .watch(pb::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    let findings = fpb::WatchRequest::default();
    let mut findings = bob.findings().watch(findings).await.unwrap().into_inner();
    while soon(objects.message()).await.unwrap().unwrap().object.is_some() {}
    soon(findings.message()).await.unwrap().unwrap();
    let request = world.change(&[], &["RoleBinding/bobs"]);
    world.ada().policy().apply(request).await.unwrap();
    refused(
        soon(objects.message()).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    refused(
        soon(findings.message()).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    let request = pb::GetSetRequest { with_bodies: false };
    refused(
        bob.policy().get_set(request).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
}

#[tokio::test(start_paused = true)]
async fn the_audit_stops_for_whoever_may_watch_it_no_more() {
    let world = bound("operator", "").await;
    let bob = world.caller("person/bob");
    let mut rows = bob
        .audit()
        .watch(cpb::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    while soon(rows.message()).await.unwrap().unwrap().row.is_some() {}
    apply(&world, &world.ada(), &[binding("bobs", "viewer", "bob", "")])
        .await
        .unwrap();
    refused(soon(rows.message()).await, Code::PermissionDenied, "ROLE_DENIED");
}

#[tokio::test(start_paused = true)]
async fn nobody_can_lock_everybody_out() {
    let world = World::founded();
    let ada = world.ada();
    let viewer = [binding("bobs", "viewer", "bob", "")];
    for dry_run in [true, false] {
        let request = pb::ApplyRequest {
            dry_run,
            ..world.change(&viewer, &[])
        };
        refused(
            ada.policy().apply(request).await,
            Code::FailedPrecondition,
            "NOBODY_LEFT",
        );
    }
    let both = [viewer.to_vec(), vec![binding("admins", "admin", "ada", "")]].concat();
    apply(&world, &ada, &both).await.unwrap();
    let last = world.change(&[], &["RoleBinding/admins"]);
    let request = pb::DeleteRequest {
        request_id: world.request_id(),
        expected_epoch: last.expected_epoch,
        key: last.deletes.first().cloned(),
        seal: last.seal.clone(),
        dry_run: false,
    };
    refused(
        ada.policy().delete(request).await,
        Code::FailedPrecondition,
        "NOBODY_LEFT",
    );
    let all = world.change(&[], &["RoleBinding/admins", "RoleBinding/bobs"]);
    ada.policy().apply(all).await.unwrap();
    let dangling = [binding("a", "admin", "ada", ""), binding("b", "gone", "bob", "")];
    refused(
        apply(&world, &ada, &dangling).await,
        Code::FailedPrecondition,
        "NO_SUCH_ROLE",
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_signature_cannot_lock_everybody_out_either() {
    let world = World::founded_of(2);
    let objects = [binding("bobs", "viewer", "bob", "")];
    let next = world.next_set(&objects, &[]);
    let request = pb::ProposeRequest {
        request_id: world.request_id(),
        expected_epoch: 0,
        upserts: objects.iter().map(body).collect(),
        deletes: Vec::new(),
        seal: Some(world.seal(&next, &world.key)),
    };
    let proposed = world.ada().proposals().propose(request.clone()).await;
    refused(proposed, Code::FailedPrecondition, "NOBODY_LEFT");
    // As one that another version of this program took in.
    world.run(verger_controller_state::Action::Propose {
        expected_epoch: 0,
        upserts: request
            .upserts
            .iter()
            .map(|body| body.canonical.clone())
            .collect(),
        deletes: Vec::new(),
        seal: request.seal.unwrap().json,
    });
    let sign = pb::SignRequest {
        request_id: world.request_id(),
        number: 1,
        seal: Some(world.seal(&next, &world.second)),
    };
    refused(
        world.caller("person/bob").proposals().sign(sign).await,
        Code::FailedPrecondition,
        "NOBODY_LEFT",
    );
    assert_eq!(world.log.state().set().epoch(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_scoped_author_changes_what_is_and_stays_within_the_scope() {
    let world = bound("author", ", scope: { labels: { app: pay } }").await;
    let theirs = [labelled("web", "pay", 1), labelled("db", "other", 1)];
    apply(&world, &world.ada(), &theirs).await.unwrap();
    let bob = world.caller("person/bob");
    apply(&world, &bob, &[labelled("web", "pay", 2)]).await.unwrap();
    for outside in [
        labelled("db", "other", 2),
        // Neither taken in nor let go by relabelling.
        labelled("db", "pay", 1),
        labelled("web", "other", 2),
    ] {
        let denied = apply(&world, &bob, &[outside]).await;
        refused(denied, Code::PermissionDenied, "ROLE_DENIED");
    }
    let both = [labelled("web", "pay", 3), labelled("db", "other", 2)];
    refused(
        apply(&world, &bob, &both).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    // What is there already is no change.
    let same = [labelled("web", "pay", 3), labelled("db", "other", 1)];
    apply(&world, &bob, &same).await.unwrap();
    let delete = world.change(&[], &["Workload/db"]);
    refused(
        bob.policy().apply(delete).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    let delete = world.change(&[], &["Workload/web"]);
    bob.policy().apply(delete).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_of_nothing_or_of_nonsense_is_for_those_who_seal() {
    let world = bound("viewer", "").await;
    let bob = world.caller("person/bob");
    refused(
        apply(&world, &bob, &[]).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    let proposed = world.log.proposed().len();
    let request = pb::ApplyRequest {
        upserts: vec![pb::Body {
            key: None,
            canonical: "nonsense".into(),
        }],
        ..world.change(&[], &[])
    };
    refused(
        bob.policy().apply(request).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    assert_eq!(world.log.proposed().len(), proposed);
    apply(&world, &world.ada(), &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_made_on_a_set_to_come_is_refused_before_it_is_proposed() {
    let world = bound("author", "").await;
    let proposed = world.log.proposed().len();
    let request = pb::ApplyRequest {
        expected_epoch: 2,
        ..world.change(&[workload("web", "a", 1)], &[])
    };
    refused(
        world.caller("person/bob").policy().apply(request).await,
        Code::Aborted,
        "EPOCH_CONFLICT",
    );
    assert_eq!(world.log.proposed().len(), proposed);
}

#[tokio::test(start_paused = true)]
async fn findings_and_hosts_are_within_scopes_by_their_workload_and_sealed_labels() {
    let world = bound("operator", ", scope: { labels: { zone: a } }").await;
    let objects = [host("h1", "a"), host("h2", "b")];
    apply(&world, &world.ada(), &objects).await.unwrap();
    world.enrol(&["h1", "h2"]);
    let bob = world.caller("person/bob");
    let get = |agent: &str| cpb::GetHostRequest {
        agent_id: agent.to_owned(),
    };
    bob.cluster().get_host(get("h1")).await.unwrap();
    for agent in ["h2", "h3"] {
        let denied = bob.cluster().get_host(get(agent)).await;
        refused(denied, Code::PermissionDenied, "ROLE_DENIED");
    }
    let all = bob.cluster().list_hosts(cpb::ListHostsRequest::default()).await;
    refused(all, Code::PermissionDenied, "ROLE_DENIED");
    let list = |agent: &str| cpb::ListInstancesRequest {
        agent_id: agent.to_owned(),
        ..Default::default()
    };
    bob.cluster().list_instances(list("h1")).await.unwrap();
    refused(
        bob.cluster().list_instances(list("h2")).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    // Of findings that are not there, too, nothing is told.
    let request = fpb::GetRequest { uid: "0".repeat(64) };
    refused(
        bob.findings().get(request).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
}
