//! How sessions begin and end.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt as _;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::agent::v1::connect_response::Message as Down;
use verger_proto::cluster::v1 as cpb;
use verger_proto::policy::v1 as ppb;

use super::shown;
use crate::world::{Talk, World, fields, reason, refused, soon, workload};

async fn world() -> World {
    let world = World::founded();
    world.apply(&[workload("web", "a", 1)], &[]).await;
    world.enrol(&["h1"]);
    world
}

async fn connect(world: &World) -> Talk {
    world.caller("agent/h1").connect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn whoever_says_anything_before_hello_is_refused_and_nothing_of_it_is_noted() {
    let world = world().await;
    let early = [
        Up::Ack(pb::Ack {
            nonce: 1,
            epoch: 1,
            root: world.position().1,
        }),
        Up::Nack(pb::Nack {
            reason: "wrong-key".to_owned(),
            ..Default::default()
        }),
        Up::Status(pb::Status {
            unreadable: [("docker".to_owned(), "why".to_owned())].into(),
            ..Default::default()
        }),
    ];
    for message in early {
        let mut talk = connect(&world).await;
        talk.say(message).await;
        let status = refused::<()>(Err(talk.end().await), Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(fields(&status), ["message"]);
        let host = shown(&world, "h1").await;
        assert!(!host.connected && host.epoch == 0, "{host:?}");
        assert!(host.refusal.is_empty() && host.unreadable.is_empty(), "{host:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_cut_off_after_ten_seconds() {
    let world = world().await;
    let began = Instant::now();
    let mut talk = connect(&world).await;
    let status = talk.end().await;
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::DeadlineExceeded, "NO_HELLO")
    );
    assert!(!shown(&world, "h1").await.connected);
}

#[tokio::test(start_paused = true)]
async fn a_second_hello_and_an_empty_message_end_a_session() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    talk.hello(world.position()).await;
    let status = refused::<()>(Err(talk.end().await), Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(fields(&status), ["message"]);
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    talk.say_nothing().await;
    let status = refused::<()>(Err(talk.end().await), Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(fields(&status), ["message"]);
    assert!(!shown(&world, "h1").await.connected);
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_no_digest_names_its_field() {
    let world = world().await;
    let short = bytes::Bytes::from_static(b"short");
    let mut talk = world.caller("agent/h1").hello((1, short.clone())).await;
    assert_eq!(fields(&talk.end().await), ["hello.root"]);
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    talk.ack(1, (9, short)).await;
    assert_eq!(fields(&talk.end().await), ["ack.root"]);
    assert_eq!(shown(&world, "h1").await.epoch, 1, "what it said before");
}

#[tokio::test(start_paused = true)]
async fn a_host_is_connected_while_one_of_its_sessions_lasts() {
    let world = world().await;
    assert!(!shown(&world, "h1").await.connected);
    let old = world.caller("agent/h1").hello(world.position()).await;
    let new = world.caller("agent/h1").hello(world.position()).await;
    let host = shown(&world, "h1").await;
    assert_eq!(
        (host.connected, host.epoch, &*host.agent_version),
        (true, 1, "1.2.3")
    );
    drop(old);
    assert!(
        shown(&world, "h1").await.connected,
        "the old session was noticed gone after the new began"
    );
    world.surroundings.pass(30);
    new.alive().await;
    world.settle().await;
    world.surroundings.pass(30);
    drop(new);
    let host = shown(&world, "h1").await;
    assert!(!host.connected && host.epoch == 1, "{host:?}");
    assert_eq!(
        host.last_seen.unwrap().seconds,
        crate::world::start().as_second() + 30,
        "that a connection is gone is no word of the agent"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_closes_its_side_ends_its_session_well() {
    let world = world().await;
    let followers = world.log.followers();
    let talk = world.caller("agent/h1").hello(world.position()).await;
    world.settle().await;
    assert_eq!(world.log.followers(), followers + 1);
    let mut answers = talk.fall_silent();
    while let Some(message) = soon(answers.message()).await.unwrap() {
        assert!(matches!(message.message, Some(Down::Heartbeat(_))), "{message:?}");
    }
    assert!(!shown(&world, "h1").await.connected);
    assert_eq!(world.log.followers(), followers, "nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_comes_at_once_and_every_five_seconds_with_the_epoch() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    let began = Instant::now();
    for number in 0..5_u64 {
        let pb::ConnectResponse { nonce, message } = talk.next().await.unwrap();
        assert_eq!(
            message,
            Some(Down::Heartbeat(pb::Heartbeat {
                epoch: 1,
                ..pb::Heartbeat::default()
            }))
        );
        assert_eq!(nonce, number + 1, "a nonce per message");
        assert_eq!(began.elapsed().as_secs(), number * 5);
    }
    world.run_change(&[workload("web", "a", 2)], &[]);
    talk.set().await;
    let next = talk.next().await.unwrap().message;
    assert_eq!(
        next,
        Some(Down::Heartbeat(pb::Heartbeat {
            epoch: 2,
            ..pb::Heartbeat::default()
        }))
    );
}

#[tokio::test(start_paused = true)]
async fn what_members_signed_of_freshness_is_sent_once_to_each_session_and_to_people() {
    let world = world().await;
    let heartbeat = |stamp: Option<&[u8]>| {
        let stamp = stamp.map(|json| verger_proto::policy::v1::Envelope {
            json: json.to_vec().into(),
        });
        Some(Down::Heartbeat(pb::Heartbeat {
            epoch: 1,
            stamp,
            members: Vec::new(),
        }))
    };
    let first = world.stamp();
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    assert_eq!(talk.next().await.unwrap().message, heartbeat(Some(&first)));
    assert_eq!(
        talk.next().await.unwrap().message,
        heartbeat(None),
        "it was sent already"
    );
    world.surroundings.pass(60);
    let second = world.stamp();
    assert_eq!(talk.next().await.unwrap().message, heartbeat(Some(&second)));
    assert_eq!(talk.next().await.unwrap().message, heartbeat(None));
    let mut later = world.caller("agent/h1").hello(world.position()).await;
    assert_eq!(later.next().await.unwrap().message, heartbeat(Some(&second)));
    let ada = world.ada();
    let set = ada
        .policy()
        .get_set(ppb::GetSetRequest { with_bodies: false })
        .await
        .unwrap();
    assert_eq!(&*set.into_inner().stamp.unwrap().json, second.as_slice());
    let head = ada.audit().head(cpb::HeadRequest {}).await.unwrap().into_inner();
    assert_eq!(&*head.stamp.unwrap().json, second.as_slice());
    let first = &world.log.state().cluster().unwrap().envelope.clone();
    assert_eq!(head.trust_roots.len(), 1);
    assert_eq!(&head.trust_roots[0].json, first);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_told_to_try_elsewhere_when_the_member_stops() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    talk.next().await.unwrap();
    world.log.stop();
    let status = refused::<()>(Err(talk.end().await), Code::Unavailable, "NOT_LEADING");
    let retry = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(retry, Some(Duration::from_millis(500)));
}

#[tokio::test(start_paused = true)]
async fn where_the_members_are_called_is_told_once_and_when_it_changes() {
    let world = world().await;
    world.members.call("c1", "c1.example:7400");
    let mut talk = world.caller("agent/h1").hello((0, Default::default())).await;
    let heard = async |talk: &mut Talk| {
        loop {
            if let Some(Down::Heartbeat(heartbeat)) = talk.next().await.unwrap().message {
                return heartbeat.members;
            }
        }
    };
    assert_eq!(heard(&mut talk).await, ["c1.example:7400"]);
    assert_eq!(heard(&mut talk).await, [""; 0]);
    world.members.call("c2", "c2.example:7400");
    assert_eq!(heard(&mut talk).await, ["c1.example:7400", "c2.example:7400"]);
}
