//! What an agent says of its host.

use tonic::Code;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::cluster::v1 as cpb;

use super::shown;
use crate::world::{Talk, World, fields, instance, refused};

/// The most instances in one status.
const INSTANCES: usize = 20_000;

async fn world() -> (World, Talk) {
    let world = World::founded();
    world.enrol(&["h1"]);
    let talk = world.caller("agent/h1").hello((0, bytes::Bytes::new())).await;
    (world, talk)
}

fn instances(count: usize) -> Vec<cpb::Instance> {
    (0..count)
        .map(|number| instance(&format!("{number:08}"), ""))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_status_is_the_whole_state() {
    let (world, talk) = world().await;
    talk.say(Up::Status(pb::Status {
        instances: instances(3),
        controls: vec![cpb::ControlStatus {
            control: "config".to_owned(),
            effective: "monitor".to_owned(),
            unsupported: String::new(),
        }],
        unreadable: [("docker".to_owned(), "no permission".to_owned())].into(),
        ..Default::default()
    }))
    .await;
    let host = shown(&world, "h1").await;
    assert_eq!(
        (host.instances, host.controls.len(), host.unreadable.len()),
        (3, 1, 1)
    );
    talk.say(Up::Status(pb::Status {
        instances: instances(1),
        ..Default::default()
    }))
    .await;
    let host = shown(&world, "h1").await;
    assert_eq!(
        (host.instances, host.controls.len(), host.unreadable.len()),
        (1, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_status_of_too_many_instances_is_refused_and_the_last_one_stays() {
    let (world, mut talk) = world().await;
    talk.say(Up::Status(pb::Status {
        instances: instances(INSTANCES),
        ..Default::default()
    }))
    .await;
    assert_eq!(shown(&world, "h1").await.instances as usize, INSTANCES);
    talk.say(Up::Status(pb::Status {
        instances: instances(INSTANCES + 1),
        ..Default::default()
    }))
    .await;
    let status = refused::<()>(Err(talk.end().await), Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(fields(&status), ["status.instances"]);
    assert!(status.message().contains(&INSTANCES.to_string()), "{status:?}");
    let host = shown(&world, "h1").await;
    assert_eq!((host.instances as usize, host.connected), (INSTANCES, false));
}

#[tokio::test(start_paused = true)]
async fn a_status_over_the_limit_of_messages_ends_the_session() {
    let (world, mut talk) = world().await;
    talk.say(Up::Status(pb::Status {
        instances: vec![cpb::Instance {
            checks_json: vec![0; verger_controller_api::MESSAGE_BYTES].into(),
            ..Default::default()
        }],
        ..Default::default()
    }))
    .await;
    assert_eq!(talk.end().await.code(), Code::OutOfRange);
    let host = shown(&world, "h1").await;
    assert!(!host.connected && host.instances == 0, "{host:?}");
}

#[tokio::test(start_paused = true)]
async fn checks_are_shown_of_one_instance_and_not_in_lists() {
    let (world, talk) = world().await;
    let checks = bytes::Bytes::from_static(b"[]");
    let mut one = instances(1);
    one[0].checks_json = checks.clone();
    talk.say(Up::Status(pb::Status {
        instances: one,
        ..Default::default()
    }))
    .await;
    world.settle().await;
    let list = world
        .ada()
        .cluster()
        .list_instances(cpb::ListInstancesRequest::default())
        .await;
    assert!(list.unwrap().into_inner().instances[0].checks_json.is_empty());
    let request = cpb::GetInstanceRequest {
        agent_id: "h1".to_owned(),
        instance: "00000000".to_owned(),
    };
    let one = world
        .ada()
        .cluster()
        .get_instance(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(one.instance.unwrap().checks_json, checks);
}

#[tokio::test(start_paused = true)]
async fn a_version_is_shown_without_what_could_move_a_cursor() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let talk = world.caller("agent/h1").connect().await.unwrap();
    talk.say(Up::Hello(pb::Hello {
        epoch: 0,
        root: bytes::Bytes::new(),
        agent_version: format!("1.2\u{1b}[2J ü{}", "9".repeat(100)),
        machine: Default::default(),
    }))
    .await;
    let version = shown(&world, "h1").await.agent_version;
    assert_eq!(version, format!("1.2[2J{}", "9".repeat(26)));
}
