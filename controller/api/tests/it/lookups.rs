//! One thing at a time: by its name, its id, or the beginning of one.

use std::collections::BTreeMap;

use tonic::Code;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{World, host, instance, refused, workload};

#[tokio::test(start_paused = true)]
async fn an_object_is_given_with_its_entry_and_body_or_not_found() {
    let world = World::founded();
    let web = workload("web", "a", 1);
    world.run_change(&[host("h1", "a")], &[]);
    world.run_change(std::slice::from_ref(&web), &[]);
    let get = |name: &str| pb::GetRequest {
        key: Some(pb::ObjectKey {
            kind: "Workload".to_owned(),
            name: name.to_owned(),
        }),
    };
    let found = world.ada().policy().get(get("web")).await.unwrap().into_inner();
    assert_eq!(found.body.unwrap().canonical, web.canonical_bytes());
    let entry = found.entry.unwrap();
    assert_eq!(
        (entry.epoch, entry.digest),
        (2, verger_wire::digest_bytes(&web.digest()))
    );
    let status = refused(
        world.ada().policy().get(get("db")).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    assert!(status.message().contains("Workload/db"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_found_by_its_id_before_a_name_or_a_prefix_that_is_somebody_elses() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let instances = vec![
        instance("aa11", "web"),
        instance("aa12", "db"),
        instance("aa1", "short"),
        // Whoever starts a container chooses its name.
        instance("bb22", "aa11"),
        instance("bb33", "twin"),
        instance("bb44", "twin"),
    ];
    world.note_instances("h1", instances);
    for (asked, found) in [
        ("aa11", "aa11"),
        ("web", "aa11"),
        ("aa1", "aa1"),
        ("bb2", "bb22"),
        ("bb33", "bb33"),
    ] {
        let request = cpb::GetInstanceRequest {
            agent_id: "h1".to_owned(),
            instance: asked.to_owned(),
        };
        let answer = world
            .ada()
            .cluster()
            .get_instance(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.instance.unwrap().id, found, "{asked}");
    }
    for (asked, code, why) in [
        ("twin", Code::FailedPrecondition, "AMBIGUOUS"),
        ("bb", Code::FailedPrecondition, "AMBIGUOUS"),
        ("cc", Code::NotFound, "NOT_FOUND"),
    ] {
        let request = cpb::GetInstanceRequest {
            agent_id: "h1".to_owned(),
            instance: asked.to_owned(),
        };
        refused(world.ada().cluster().get_instance(request).await, code, why);
    }
}

/// Two fields whose findings have uids that begin with the same eight digits.
fn twins(world: &World) -> (String, String) {
    let mut seen = BTreeMap::new();
    for number in 0..1_000_000_u32 {
        let field = format!("env[{number}]");
        let uid = world.fault(&field).uid;
        let first: [u8; 4] = uid.0.as_bytes()[..4].try_into().unwrap();
        if let Some(other) = seen.insert(first, field.clone()) {
            return (other, field);
        }
    }
    panic!("of a million uids no two begin alike");
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_found_by_a_prefix_that_no_other_has() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let (one, other) = twins(&world);
    let (one, other) = (world.fault(&one), world.fault(&other));
    let alone = world.fault("user");
    world
        .log
        .run(&world.ingestion("h1", vec![one.clone(), other, alone.clone()]));
    let get = |uid: &str| {
        let (mut client, uid) = (world.ada().findings(), uid.to_owned());
        async move { client.get(fpb::GetRequest { uid }).await }
    };
    for (fault, digits) in [(&alone, 8), (&alone, 64), (&one, 64)] {
        let uid = fault.uid.to_string();
        let found = get(&uid[..digits]).await.unwrap().into_inner().finding.unwrap();
        assert_eq!(found.uid, verger_wire::digest_bytes(&fault.uid.0));
    }
    let prefix = &one.uid.to_string()[..8];
    refused(get(prefix).await, Code::FailedPrecondition, "AMBIGUOUS");
    refused(get(&"0".repeat(64)).await, Code::NotFound, "NOT_FOUND");
    let before = world.log.state();
    for (uid, code, why) in [
        (prefix, Code::FailedPrecondition, "AMBIGUOUS"),
        ("00000000", Code::NotFound, "NOT_FOUND"),
    ] {
        let request = fpb::AckRequest {
            request_id: world.request_id(),
            uid: uid.to_owned(),
            note: "known".to_owned(),
        };
        refused(world.ada().findings().ack(request).await, code, why);
        assert_eq!(world.log.state(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_are_given_with_their_sealed_labels_or_not_found() {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    world.run_change(&[host("h1", "eu")], &[]);
    let list = world
        .ada()
        .cluster()
        .list_hosts(cpb::ListHostsRequest::default())
        .await
        .unwrap();
    let labels: Vec<_> = list
        .into_inner()
        .hosts
        .into_iter()
        .map(|host| (host.agent_id, host.labels.get("zone").cloned()))
        .collect();
    assert_eq!(
        labels,
        [("h1".to_owned(), Some("eu".to_owned())), ("h2".to_owned(), None)]
    );
    let request = cpb::GetHostRequest {
        agent_id: "h9".to_owned(),
    };
    refused(
        world.ada().cluster().get_host(request).await,
        Code::NotFound,
        "NOT_FOUND",
    );
}

#[tokio::test(start_paused = true)]
async fn the_status_is_that_of_this_member_and_this_cluster() {
    let world = World::founded();
    world.run_change(&[host("h1", "a")], &[]);
    let status = world
        .ada()
        .cluster()
        .get_status(cpb::GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let state = world.log.state();
    assert_eq!(status.cluster_id, world.cluster_id().hex());
    assert_eq!(
        (status.epoch, status.revision, status.leader),
        (1, state.revision(), true)
    );
    assert_eq!((&*status.member_id, &*status.address), ("c1", "c1.example:7443"));
    assert_eq!(
        (&*status.enrol_address, &*status.ca_pin),
        ("c1.example:7444", "sha256:00")
    );
    assert_eq!(status.trust_root.unwrap().json, state.cluster().unwrap().envelope);
    let unfounded = World::new();
    let status = unfounded
        .ada()
        .cluster()
        .get_status(cpb::GetStatusRequest {})
        .await;
    refused(status, Code::FailedPrecondition, "NOT_FOUNDED");
}
