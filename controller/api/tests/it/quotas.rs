//! Nobody takes what the others need.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_controller_api::denials::keep_record;

use crate::world::{World, denied, refused};

/// Calls that an agent may have open at a time.
const OPEN: usize = 12;

/// The refused calls of the audit: actor and reason.
async fn on_record(world: &World) -> Vec<(String, String)> {
    let entries = denied(world).await.into_iter();
    entries.map(|entry| (entry.actor, entry.outcome)).collect()
}

fn waits(status: &Status) -> Duration {
    status.get_details_retry_info().unwrap().retry_delay.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_agents_open_streams_are_bounded_over_all_its_connections_and_others_are_served() {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    let (denials, log) = (Arc::clone(&world.denials), Arc::clone(&world.log));
    let surroundings = Arc::clone(&world.surroundings);
    tokio::spawn(async move { keep_record(&denials, &*log, &*surroundings).await });
    let held = (0, bytes::Bytes::new());
    let mut open = Vec::new();
    for _ in 0..OPEN {
        // Each on a connection of its own.
        open.push(world.caller("agent/h1").hello(held.clone()).await);
    }
    let over = world.caller("agent/h1").connect().await.map(drop);
    let status = refused(over, Code::ResourceExhausted, "TOO_MANY_CALLS");
    assert!(waits(&status) > Duration::ZERO, "{status:?}");
    let over = world.caller("agent/h1").report().await.map(drop);
    refused(over, Code::ResourceExhausted, "TOO_MANY_CALLS");
    // The other one has both its streams, and people are served.
    world.caller("agent/h2").hello(held.clone()).await;
    world.caller("agent/h2").report().await.unwrap();
    world.settle().await;
    let row = ("agent/h1".to_owned(), "TOO_MANY_CALLS".to_owned());
    assert_eq!(on_record(&world).await, [row]);
    // What is closed makes room.
    drop(open.pop());
    world.settle().await;
    world.caller("agent/h1").report().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_too_often_are_refused_until_time_has_passed_and_others_are_served() {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    let caller = world.caller("agent/h1");
    let mut begun = 0;
    let status = loop {
        match caller.report().await {
            Ok(_) => begun += 1,
            Err(status) => break status,
        }
        assert!(begun < 1_000, "it goes on for ever");
    };
    assert!(
        begun >= 100,
        "an agent that reconnects is not in the way of itself: {begun}"
    );
    let status = refused(Err::<(), _>(status), Code::ResourceExhausted, "TOO_OFTEN");
    world.caller("agent/h2").report().await.unwrap();
    tokio::time::sleep(waits(&status)).await;
    caller.report().await.unwrap();
}
