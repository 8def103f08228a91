//! Requests that come again after a lost answer.

use futures::future::join_all;
use tonic::Code;
use verger_controller_api::ports::Unavailable;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{World, refused, workload};

#[tokio::test(start_paused = true)]
async fn a_change_that_comes_again_is_answered_as_the_first_and_made_once() {
    let world = World::founded();
    let request = world.change(&[workload("web", "a", 1)], &[]);
    let first = world
        .ada()
        .policy()
        .apply(request.clone())
        .await
        .unwrap()
        .into_inner();
    let later = world.apply(&[workload("db", "a", 1)], &[]).await;
    assert_eq!(later.epoch, 2);
    let again = world.ada().policy().apply(request).await.unwrap().into_inner();
    assert_eq!(again, first, "not the conflict that it would be by now");
    assert_eq!(world.position(), (later.epoch, later.root));
}

#[tokio::test(start_paused = true)]
async fn of_a_change_sent_ten_times_at_once_one_set_is_made() {
    let world = World::founded();
    let request = world.change(&[workload("web", "a", 1)], &[]);
    let answers = join_all((0..10).map(|_| {
        let (mut client, request) = (world.ada().policy(), request.clone());
        async move { client.apply(request).await.unwrap().into_inner() }
    }))
    .await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(world.log.state().set().epoch(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_refused_or_not_made_may_come_again_under_its_id() {
    let world = World::founded();
    let good = world.change(&[workload("web", "a", 1)], &[]);
    let unsealed = pb::ApplyRequest {
        seal: None,
        ..good.clone()
    };
    let answer = world.ada().policy().apply(unsealed).await;
    refused(answer, Code::PermissionDenied, "SEAL_REFUSED");
    world
        .log
        .answer(Err(Unavailable::Elsewhere("an election".to_owned())));
    let answer = world.ada().policy().apply(good.clone()).await;
    refused(answer, Code::Unavailable, "NOT_LEADING");
    assert_eq!(world.log.state().set().epoch(), 0);
    world.ada().policy().apply(good).await.unwrap();
    assert_eq!(world.log.state().set().epoch(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_not_forgotten_by_a_clock_alone() {
    let world = World::founded();
    let request = world.change(&[workload("web", "a", 1)], &[]);
    let apply = async || world.ada().policy().apply(request.clone()).await;
    let first = apply().await.unwrap().into_inner();
    for seconds in [601, 3_600] {
        world.surroundings.pass(seconds);
        assert_eq!(apply().await.unwrap().into_inner(), first);
    }
    assert_eq!(world.log.state().set().epoch(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_once_whoever_asks_again() {
    let world = World::founded();
    let request = cpb::CreateJoinTokenRequest {
        request_id: "the-same".to_owned(),
        agent_id: "h1".to_owned(),
        ttl_seconds: 0,
        approval: false,
    };
    world
        .ada()
        .cluster()
        .create_join_token(request.clone())
        .await
        .unwrap();
    let before = world.log.state();
    let answer = world.ada().cluster().create_join_token(request).await;
    refused(answer, Code::AlreadyExists, "TOKEN_ALREADY_CREATED");
    assert_eq!(world.log.state().set(), before.set());
}

#[tokio::test(start_paused = true)]
async fn a_finding_acknowledged_again_keeps_the_first_word() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let fault = world.fault("user");
    world.log.run(&world.ingestion("h1", vec![fault.clone()]));
    let ack = |note: &str| fpb::AckRequest {
        request_id: "the-same".to_owned(),
        uid: fault.uid.to_string(),
        note: note.to_owned(),
    };
    let first = world
        .ada()
        .findings()
        .ack(ack("known"))
        .await
        .unwrap()
        .into_inner();
    world.surroundings.pass(30);
    for (person, note) in [("person/bob", "known"), ("person/ada", "mine")] {
        let answer = world.caller(person).findings().ack(ack(note)).await;
        refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    let again = world
        .ada()
        .findings()
        .ack(ack("known"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    let acknowledged = again.finding.unwrap().acknowledged.unwrap();
    assert_eq!((&*acknowledged.person, &*acknowledged.note), ("ada", "known"));
}

#[tokio::test(start_paused = true)]
async fn an_id_used_for_another_kind_of_request_is_refused() {
    let world = World::founded();
    let change = world.change(&[workload("web", "a", 1)], &[]);
    let token = cpb::CreateJoinTokenRequest {
        request_id: change.request_id.clone(),
        agent_id: "h1".to_owned(),
        ttl_seconds: 0,
        approval: false,
    };
    world.ada().cluster().create_join_token(token).await.unwrap();
    let answer = world.ada().policy().apply(change).await;
    refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(world.log.state().set().epoch(), 0);
}
