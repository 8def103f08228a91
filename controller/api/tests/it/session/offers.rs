//! What is offered, and what agents answer.

use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::agent::v1::connect_response::Message as Down;
use verger_wire::digest_bytes;

use super::shown;
use crate::world::{World, workload};

async fn world() -> World {
    let world = World::founded();
    world.apply(&[workload("web", "a", 1)], &[]).await;
    world.enrol(&["h1"]);
    world
}

const NOTHING: (u64, bytes::Bytes) = (0, bytes::Bytes::new());

#[tokio::test(start_paused = true)]
async fn a_set_is_offered_once_with_every_entry_and_its_seal() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(NOTHING).await;
    let (_, update) = talk.set().await;
    let state = world.log.state();
    assert_eq!((update.base_epoch, update.epoch), (0, 1));
    assert_eq!(update.seal.unwrap().json, *state.seal().unwrap());
    assert_eq!(update.entries.len(), state.set().len());
    // Most of what moves the log on is not about policy.
    world.log.run(&world.ingestion("h1", vec![world.fault("user")]));
    world.log.run_nothing();
    talk.is_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_the_set_is_offered_the_next_one_only() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    talk.is_quiet().await;
    world.apply(&[workload("db", "a", 1)], &[]).await;
    assert_eq!(talk.set().await.1.epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn before_the_first_set_nothing_is_offered() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let mut talk = world.caller("agent/h1").hello(NOTHING).await;
    talk.is_quiet().await;
    world.apply(&[workload("web", "a", 1)], &[]).await;
    assert_eq!(talk.set().await.1.epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn an_ack_is_noted_as_what_the_host_holds() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(NOTHING).await;
    let (nonce, _) = talk.set().await;
    assert_eq!(shown(&world, "h1").await.epoch, 0, "an offer is not held yet");
    talk.ack(nonce, world.position()).await;
    let host = shown(&world, "h1").await;
    assert_eq!((host.epoch, host.root), world.position());
    assert!(host.refusal.is_empty());
    talk.is_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_nack_is_noted_with_its_reason_until_something_is_accepted() {
    let world = world().await;
    let first = world.position();
    let mut talk = world.caller("agent/h1").hello(first.clone()).await;
    world.apply(&[workload("web", "a", 2)], &[]).await;
    let (nonce, _) = talk.set().await;
    talk.nack(nonce, "expired", "the seal ended\u{1b}[2J").await;
    let host = shown(&world, "h1").await;
    assert_eq!(
        host.refusal, "expired: the seal ended\\u{1b}[2J",
        "made safe to show"
    );
    assert_eq!((host.epoch, host.root), first, "the last good set stays");
    talk.is_quiet().await;

    world.apply(&[], &[]).await;
    let (nonce, update) = talk.set().await;
    assert_eq!(update.epoch, 3);
    talk.ack(nonce, world.position()).await;
    let host = shown(&world, "h1").await;
    assert_eq!((host.refusal.as_str(), host.epoch), ("", 3));
}

#[tokio::test(start_paused = true)]
async fn a_long_refusal_is_cut() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(NOTHING).await;
    let (nonce, _) = talk.set().await;
    talk.nack(nonce, "wrong-key", &"ü".repeat(5_000)).await;
    let refusal = shown(&world, "h1").await.refusal;
    assert_eq!(refusal.chars().count(), 501, "500 and an ellipsis");
}

#[tokio::test(start_paused = true)]
async fn a_new_session_forgets_the_refusal_of_the_last() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(NOTHING).await;
    let (nonce, _) = talk.set().await;
    talk.nack(nonce, "ledger", "the disk is full").await;
    assert!(!shown(&world, "h1").await.refusal.is_empty());
    let mut again = world.caller("agent/h1").hello(NOTHING).await;
    assert_eq!(again.set().await.1.epoch, 1, "it is offered anew");
    assert!(shown(&world, "h1").await.refusal.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_one_agent_answers_moves_no_other() {
    let world = world().await;
    world.enrol(&["h2"]);
    let mut one = world.caller("agent/h1").hello(NOTHING).await;
    let mut other = world.caller("agent/h2").hello(NOTHING).await;
    let (nonce, _) = one.set().await;
    other.set().await;
    one.ack(nonce, world.position()).await;
    other
        .say(Up::Nack(verger_proto::agent::v1::Nack {
            nonce,
            reason: "wrong-key".to_owned(),
            ..Default::default()
        }))
        .await;
    let (one, other) = (shown(&world, "h1").await, shown(&world, "h2").await);
    assert_eq!((one.epoch, one.refusal.as_str()), (1, ""));
    assert_eq!((other.epoch, other.refusal.as_str()), (0, "wrong-key: "));
    assert_eq!(
        other.root,
        digest_bytes(&verger_policy::digest::Digest::from_bytes([0; 32]))
    );
}

#[tokio::test(start_paused = true)]
async fn changes_that_come_faster_than_they_are_read_are_one_offer() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    talk.next().await.unwrap();
    for uid in 2..20 {
        world.run_change(&[workload("web", "a", uid)], &[]);
    }
    assert_eq!(talk.set().await.1.epoch, 19, "as it is now");
    while let Some(message) = talk.there().await {
        assert!(matches!(message, Down::Heartbeat(_)), "{message:?}");
    }
}
