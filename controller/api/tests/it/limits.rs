//! What is too much is refused before it is written anywhere, and the limit is named.

use tonic::{Code, Status};
use verger_controller_api::{MESSAGE_BYTES, SMALL_MESSAGE_BYTES};
use verger_controller_state::limits;
use verger_policy::model::PolicyObject;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{World, body, fields, filler, guardrail, refused};

async fn apply(world: &World, request: pb::ApplyRequest) -> Result<pb::ApplyResponse, Status> {
    world
        .ada()
        .policy()
        .apply(request)
        .await
        .map(tonic::Response::into_inner)
}

/// The same object under another name.
fn named(object: &PolicyObject, number: usize) -> PolicyObject {
    let mut object = object.clone();
    object.metadata.name = format!("w{number}").parse().unwrap();
    object
}

#[track_caller]
fn names(status: &Status, limit: usize) {
    assert!(status.message().contains(&limit.to_string()), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_over_its_limit_is_refused_also_in_a_rehearsal() {
    let world = World::founded();
    let most = filler(
        "web",
        "a",
        1,
        limits::OBJECT_BYTES - filler("web", "a", 1, 0).canonical_bytes().len(),
    );
    assert_eq!(most.canonical_bytes().len(), limits::OBJECT_BYTES);
    let over = filler("web", "a", 1, limits::OBJECT_BYTES);
    for dry_run in [true, false] {
        let request = pb::ApplyRequest {
            dry_run,
            ..world.change(std::slice::from_ref(&over), &[])
        };
        let status = refused(apply(&world, request).await, Code::InvalidArgument, "SET_REFUSED");
        names(&status, limits::OBJECT_BYTES);
        assert_eq!(world.log.state().set().epoch(), 0);
    }
    let request = pb::ApplyRequest {
        dry_run: true,
        ..world.change(std::slice::from_ref(&most), &[])
    };
    apply(&world, request).await.unwrap();
    world.apply(&[most], &[]).await;
    assert_eq!(world.log.state().set().epoch(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_over_the_limit_of_a_command_is_refused_before_it_is_proposed() {
    let world = World::founded();
    // Each is within its own limit.
    let count = limits::COMMAND_BYTES / (limits::OBJECT_BYTES - 1_000) + 1;
    let large = filler("w", "a", 1, limits::OBJECT_BYTES - 1_000);
    let upserts: Vec<pb::Body> = (0..count).map(|number| body(&named(&large, number))).collect();
    for dry_run in [true, false] {
        let request = pb::ApplyRequest {
            request_id: world.request_id(),
            upserts: upserts.clone(),
            dry_run,
            ..Default::default()
        };
        let status = refused(
            apply(&world, request).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        );
        assert_eq!(fields(&status), ["upserts"]);
        names(&status, limits::COMMAND_BYTES - 1_024);
    }
    assert!(world.log.proposed().is_empty());
    assert_eq!(world.log.state().set().epoch(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_of_messages_is_not_taken_in() {
    let world = World::founded();
    let request = pb::ApplyRequest {
        upserts: vec![pb::Body {
            key: None,
            canonical: vec![0; MESSAGE_BYTES].into(),
        }],
        ..Default::default()
    };
    let status = apply(&world, request).await.expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    names(&status, MESSAGE_BYTES);
    assert!(world.log.proposed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_set_over_its_limit_is_refused_also_in_a_rehearsal() {
    let world = World::founded();
    let small = guardrail();
    let upserts: Vec<pb::Body> = (0..=limits::OBJECTS)
        .map(|number| body(&named(&small, number)))
        .collect();
    for dry_run in [true, false] {
        let request = pb::ApplyRequest {
            request_id: world.request_id(),
            upserts: upserts.clone(),
            dry_run,
            ..Default::default()
        };
        let status = refused(apply(&world, request).await, Code::InvalidArgument, "SET_REFUSED");
        names(&status, limits::OBJECTS);
        assert_eq!(world.log.state().set().epoch(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_that_no_agent_could_take_is_refused_also_in_a_rehearsal() {
    let world = World::founded();
    let large = filler("w", "a", 1, limits::OBJECT_BYTES - 1_000);
    let at_once = limits::COMMAND_BYTES / limits::OBJECT_BYTES - 1;
    let mut number = 0;
    let mut more = || {
        number += at_once;
        (number - at_once..number)
            .map(|number| named(&large, number))
            .collect::<Vec<_>>()
    };
    let objects = loop {
        let objects = more();
        let next = world.log.state().set().change(objects.clone(), []).unwrap();
        if next.bytes() > limits::SET_BYTES {
            break objects;
        }
        world.apply(&objects, &[]).await;
    };
    let epoch = world.log.state().set().epoch();
    assert!(epoch > 1, "most of it is taken");
    for dry_run in [true, false] {
        let request = pb::ApplyRequest {
            dry_run,
            ..world.change(&objects, &[])
        };
        let status = refused(apply(&world, request).await, Code::InvalidArgument, "SET_REFUSED");
        names(&status, limits::SET_BYTES);
        assert_eq!(world.log.state().set().epoch(), epoch);
    }
}

#[tokio::test(start_paused = true)]
async fn services_without_policy_take_in_small_messages_alone() {
    let world = World::founded();
    let long = "x".repeat(SMALL_MESSAGE_BYTES);
    let ack = fpb::AckRequest {
        note: long.clone(),
        ..Default::default()
    };
    let evict = cpb::EvictHostRequest {
        reason: long.clone(),
        ..Default::default()
    };
    let ada = world.ada();
    for status in [
        ada.findings().ack(ack).await.map(drop).unwrap_err(),
        ada.cluster().evict_host(evict).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
        names(&status, SMALL_MESSAGE_BYTES);
    }
    // The benign twin: where policy is taken in, as much is.
    let large = filler("web", "a", 1, SMALL_MESSAGE_BYTES);
    world.apply(&[large], &[]).await;
}
