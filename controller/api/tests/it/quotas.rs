//! Nobody takes what the others need.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_controller_api::denials::keep_record;
use verger_proto::policy::v1 as pb;

use crate::world::{World, denied, filler, host, reason, refused, soon};

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
    assert_eq!(on_record(&world).await, [row.clone(), row], "one of each rpc");
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

/// Half a change of 20 MiB, on a connection of its own. Says how much of it was taken, and how it ended.
async fn half_a_change(
    world: &World,
    who: &str,
) -> (mpsc::Sender<()>, tokio::task::JoinHandle<(usize, String)>) {
    const PIECE: usize = 16 << 10;
    let mut channel = world.caller(who).0;
    let (ready, pieces) = mpsc::channel::<Bytes>(1);
    let (stop, mut stopped) = mpsc::channel(1);
    let frames = ReceiverStream::new(pieces).map(|piece| Ok::<_, Status>(http_body::Frame::data(piece)));
    let mut request = http::Request::new(Body::new(http_body_util::StreamBody::new(frames)));
    *request.uri_mut() = "http://member/verger.policy.v1.PolicyService/Apply"
        .parse()
        .unwrap();
    *request.method_mut() = http::Method::POST;
    let kind = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    let mut first = vec![0];
    first.put_u32(20 << 20);
    // An object of 20 MiB, and so on.
    first.extend([0x1a, 0x80, 0x80, 0x80, 0x0a]);
    let call = tokio::spawn(async move {
        let sends = async {
            ready.send(first.into()).await.ok()?;
            let mut sent = 0;
            while sent < 2 << 20 {
                let piece = vec![7; PIECE].into();
                tokio::select! {
                    sent = ready.send(piece) => sent.ok()?,
                    _ = stopped.recv() => return Some(sent),
                }
                sent += PIECE;
            }
            stopped.recv().await;
            Some(sent)
        };
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let answers = channel.call(request);
        tokio::pin!(sends, answers);
        let sent = tokio::select! {
            sent = &mut sends => sent,
            answer = &mut answers => return (0, ended(answer.ok())),
        };
        match sent {
            Some(taken) => (taken, String::new()),
            // Nobody reads it any more: it is answered.
            None => (0, ended(answers.await.ok())),
        }
    });
    (stop, call)
}

fn ended(answer: Option<http::Response<Body>>) -> String {
    let status = answer.and_then(|answer| Status::from_header_map(answer.headers()));
    status.map(|status| reason(&status)).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn whoever_floods_a_member_with_halves_of_large_changes_is_read_four_times_and_all_are_served() {
    let world = World::founded();
    let mut flood = Vec::new();
    for _ in 0..12 {
        flood.push(half_a_change(&world, "person/eve").await);
    }
    world.settle().await;
    // Large changes and answers of others; and small ones of hers.
    let large: Vec<_> = (0..3)
        .map(|each| filler(&format!("w{each}"), "a", 1, 200 << 10))
        .collect();
    soon(world.apply(&large, &[])).await;
    let request = pb::GetSetRequest { with_bodies: true };
    let set = soon(world.ada().policy().get_set(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(set.bodies.len(), 3);
    let change = world.change(&[host("h1", "a")], &[]);
    soon(world.caller("person/eve").policy().apply(change))
        .await
        .unwrap();
    let mut taken = Vec::new();
    for (stop, call) in flood {
        stop.send(()).await.ok();
        taken.push(call.await.unwrap());
    }
    // A connection holds a quarter of a MiB that nobody reads.
    let read = taken.iter().filter(|(taken, _)| *taken >= 1 << 20).count();
    assert_eq!(read, 4, "{taken:?}");
    assert!(taken.iter().all(|(_, ended)| ended.is_empty()), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_half_a_large_change_is_told_in_half_a_minute_and_those_that_wait_sooner() {
    let world = World::founded();
    let mut flood = Vec::new();
    for _ in 0..6 {
        flood.push(half_a_change(&world, "person/eve").await);
    }
    let mut ended = Vec::new();
    for (_stop, call) in flood {
        ended.push(soon(call).await.unwrap().1);
    }
    ended.sort();
    let mut expected = vec!["TOO_MANY_LARGE_CALLS"; 2];
    expected.extend(["TOO_SLOW"; 4]);
    assert_eq!(ended, expected);
}

#[tokio::test(start_paused = true)]
async fn whoever_stole_a_key_is_refused_and_the_host_that_joined_anew_is_served() {
    let world = World::founded();
    world.enrol(&["h1"]);
    // The host's own calls of before are the thief's to make as well.
    let thief = world.caller("agent/h1");
    let mut held = Vec::new();
    for _ in 0..OPEN {
        held.push(thief.report().await.unwrap());
    }
    refused(
        thief.report().await.map(drop),
        Code::ResourceExhausted,
        "TOO_MANY_CALLS",
    );
    world.evict("h1");
    world.enrol_with("h1", "new");
    let host = world.caller_with("agent/h1", "new", crate::world::start().as_second() + 86_400);
    host.report().await.unwrap();
    // It goes on for as long as it likes.
    let status = loop {
        match thief.report().await {
            Ok(_) => panic!("it is evicted"),
            Err(status) if reason(&status) == "TOO_OFTEN" => break status,
            Err(status) => assert_eq!(status.code(), Code::PermissionDenied, "{status:?}"),
        }
    };
    assert!(waits(&status) > Duration::ZERO);
    for _ in 0..OPEN - 1 {
        held.push(host.report().await.unwrap());
    }
    // The same of people.
    let replaced = world.caller("person/eve");
    world.give_login("eve", "new");
    let request = || pb::GetSetRequest { with_bodies: false };
    let answer = replaced.policy().get_set(request()).await;
    assert!(matches!(
        reason(&answer.unwrap_err()).as_str(),
        "TOO_OFTEN" | "LOGIN_REPLACED"
    ));
    let person = world.caller_with("person/eve", "new", crate::world::start().as_second() + 86_400);
    person.policy().get_set(request()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_person_watches_policy_sixteen_times_and_another_does_as_well() {
    let world = World::founded();
    let watch = async |caller: &crate::world::Caller| {
        let request = pb::WatchRequest::default();
        Ok::<_, Status>(caller.policy().watch(request).await?.into_inner())
    };
    let mut open = Vec::new();
    for _ in 0..16 {
        // Each on a connection of its own.
        open.push(watch(&world.caller("person/eve")).await.unwrap());
    }
    let over = watch(&world.caller("person/eve")).await.map(drop);
    refused(over, Code::ResourceExhausted, "TOO_MANY_CALLS");
    watch(&world.ada()).await.unwrap();
    drop(open.pop());
    world.settle().await;
    watch(&world.caller("person/eve")).await.unwrap();
}
