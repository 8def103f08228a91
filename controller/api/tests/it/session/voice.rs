//! Agents that say that they are there, and agents that do not.

use std::time::Duration;

use tokio::time::{Instant, advance};
use tonic::Code;
use verger_controller_api::fleet::SILENT_AFTER;
use verger_policy::model::AgentId;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_wire::digest_bytes;

use crate::world::{Talk, World, fields, filler, host, key_digest, refused};

const HEARTBEAT: Duration = Duration::from_secs(5);

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

async fn two() -> (World, Talk, Talk) {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    let one = world.caller("agent/h1").hello((0, Default::default())).await;
    let other = world.caller("agent/h2").hello((0, Default::default())).await;
    world.settle().await;
    (world, one, other)
}

/// Time passes for everybody.
async fn pass(world: &World, time: Duration) {
    world.settle().await;
    advance(time).await;
    world.surroundings.pass(i64::try_from(time.as_secs()).unwrap());
    world.settle().await;
}

fn quiet(world: &World) -> Vec<AgentId> {
    let since = Instant::now().checked_sub(SILENT_AFTER).unwrap();
    world.fleet.quiet_since(since).into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_speaking_and_closes_nothing_is_quiet_and_one_with_nothing_else_to_say_is_not() {
    let (world, one, other) = two().await;
    // Tests begin at the beginning of time.
    advance(SILENT_AFTER).await;
    // The positive control: both say no more than that they are there, for a minute.
    for _ in 0..12 {
        one.alive().await;
        other.alive().await;
        pass(&world, HEARTBEAT).await;
        assert_eq!(quiet(&world), []);
    }
    // One stops. Its session stays open.
    for _ in 0..2 {
        other.alive().await;
        pass(&world, HEARTBEAT).await;
    }
    let voice = world.fleet.voice(&agent("h1"));
    assert_eq!((quiet(&world), voice.sessions), (vec![agent("h1")], 1));
    // And it is back with a word, on the same session.
    one.alive().await;
    world.settle().await;
    assert_eq!(quiet(&world), []);
}

#[tokio::test(start_paused = true)]
async fn that_an_agent_is_there_is_noted_and_costs_the_log_nothing() {
    let (world, one, _other) = two().await;
    let (before, proposed) = (world.log.state(), world.log.proposed().len());
    pass(&world, Duration::from_secs(30)).await;
    one.alive().await;
    world.settle().await;
    let last = super::shown(&world, "h1").await.last_seen.unwrap();
    assert_eq!(last.seconds, crate::world::start().as_second() + 30);
    let last = super::shown(&world, "h2").await.last_seen.unwrap();
    assert_eq!(last.seconds, crate::world::start().as_second(), "of it alone");
    assert!(world.log.state() == before && world.log.proposed().len() == proposed);
}

#[tokio::test(start_paused = true)]
async fn that_a_session_ends_is_no_word_of_its_agent() {
    let (world, one, _other) = two().await;
    let before = world.fleet.voice(&agent("h1"));
    pass(&world, Duration::from_secs(12)).await;
    drop(one);
    world.settle().await;
    let after = world.fleet.voice(&agent("h1"));
    assert_eq!((before.sessions, after.sessions), (1, 0));
    assert_eq!((before.heard, before.last), (after.heard, after.last));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_there_says_hello_first() {
    let (world, ..) = two().await;
    world.enrol(&["h3"]);
    let mut talk = world.caller("agent/h3").connect().await.unwrap();
    talk.alive().await;
    let status = refused::<()>(Err(talk.end().await), Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(fields(&status), ["message"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_slow_to_read_is_heard_all_the_same() {
    const BYTES: usize = 200_000;
    let world = World::founded();
    world.enrol(&["h1"]);
    world.apply(&[host("h1", "a")], &[]).await;
    let slow = world.caller("agent/h1").hello((0, Default::default())).await;
    // More than fits between the two.
    for uid in 1..=30 {
        world.apply(&[filler("web", "a", uid, BYTES)], &[]).await;
        pass(&world, HEARTBEAT).await;
    }
    let unread = super::shown(&world, "h1").await.last_seen.unwrap();
    assert_eq!(
        unread.seconds,
        crate::world::start().as_second(),
        "it has said nothing"
    );
    slow.alive().await;
    slow.say(Up::Status(pb::Status {
        findings_made: 7,
        ..Default::default()
    }))
    .await;
    world.settle().await;
    let host = super::shown(&world, "h1").await;
    assert_eq!(
        (host.last_seen.unwrap().seconds, host.findings_made),
        (crate::world::start().as_second() + 150, 7)
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reads_nothing_is_shut_out_and_ends_with_its_certificate_all_the_same() {
    const BYTES: usize = 200_000;
    for expires in [false, true] {
        let world = World::founded();
        world.enrol(&["h1"]);
        world.apply(&[host("h1", "a")], &[]).await;
        let end = crate::world::start().as_second() + 600;
        let caller = world.caller_with("agent/h1", "h1", end);
        let _unread = caller.hello((0, Default::default())).await;
        for uid in 1..=30 {
            world.apply(&[filler("web", "a", uid, BYTES)], &[]).await;
            pass(&world, HEARTBEAT).await;
        }
        assert_eq!(
            world.fleet.voice(&agent("h1")).sessions,
            1,
            "the positive control"
        );
        if expires {
            world.surroundings.pass(600);
        } else {
            world.evict("h1");
        }
        pass(&world, HEARTBEAT).await;
        assert_eq!(world.fleet.voice(&agent("h1")).sessions, 0, "{expires}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_uses_the_key_elsewhere_or_says_no_hello_keeps_no_dead_host_from_being_missed() {
    let world = World::founded();
    world.enrol_on("h1", "m1");
    let hello = |on: &str| {
        Up::Hello(pb::Hello {
            machine: digest_bytes(&key_digest(on)),
            ..Default::default()
        })
    };
    let caller = world.caller("agent/h1");
    let own = caller.connect().await.unwrap();
    own.say(hello("m1")).await;
    pass(&world, SILENT_AFTER).await;
    // The positive control: it says that it is there, and is heard.
    own.alive().await;
    world.settle().await;
    let heard = world.fleet.voice(&agent("h1"));
    assert_eq!((quiet(&world), heard.sessions), (vec![], 1));
    // It dies. Its key is used on another machine, by who says nothing, and by who says something else, again and again.
    drop(own);
    let mut mute = Vec::new();
    for _ in 0..6 {
        let mut thief = caller.connect().await.unwrap();
        thief.say(hello("m2")).await;
        refused(
            Err::<(), _>(thief.end().await),
            Code::PermissionDenied,
            "COPIED_IDENTITY",
        );
        let mut early = caller.connect().await.unwrap();
        early.alive().await;
        refused(
            Err::<(), _>(early.end().await),
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        );
        mute.push(caller.connect().await.unwrap());
        pass(&world, HEARTBEAT).await;
    }
    let after = world.fleet.voice(&agent("h1"));
    assert_eq!(quiet(&world), [agent("h1")]);
    assert_eq!(
        (after.sessions, after.heard, after.last),
        (0, heard.heard, heard.last)
    );
    assert!(!super::shown(&world, "h1").await.connected);
    // The benign twin: the machine is back, and is heard at once.
    let own = caller.connect().await.unwrap();
    own.say(hello("m1")).await;
    world.settle().await;
    assert_eq!(quiet(&world), []);
    assert!(super::shown(&world, "h1").await.connected);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent_is_shown_as_away_though_its_session_is_open() {
    let (world, one, other) = two().await;
    let connected = async |name: &str| super::shown(&world, name).await.connected;
    pass(&world, SILENT_AFTER - HEARTBEAT).await;
    assert!(connected("h1").await && connected("h2").await);
    other.alive().await;
    pass(&world, HEARTBEAT).await;
    assert!(!connected("h1").await && connected("h2").await);
    assert_eq!(world.fleet.voice(&agent("h1")).sessions, 1);
    // With a word on the same session it is there again.
    one.alive().await;
    assert!(connected("h1").await);
}
