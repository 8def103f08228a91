//! NodeRestriction: an agent reads and writes what is its own host's, and nothing else; people and agents have no call in common.
//!
//! Each shows what the agent can do for itself, that the same is refused for another, and that the other goes on undisturbed.

use tonic::Code;
use verger_controller_state::Action;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::cluster::v1 as cpb;
use verger_proto::policy::v1 as ppb;
use verger_wire::digest_bytes;

use crate::world::{Caller, World, guardrail, host, instance, refused, request_of, start, workload};

/// The agents `a` and `b`, each with a host object in a zone of its own, and a workload of each zone.
async fn world() -> World {
    let world = World::founded();
    let objects = [
        host("a", "a"),
        host("b", "b"),
        workload("for-a", "a", 1),
        workload("for-b", "b", 1),
        guardrail(),
    ];
    world.apply(&objects, &[]).await;
    world.enrol(&["a", "b"]);
    world
}

async fn bodies(caller: &Caller) -> Vec<String> {
    let mut talk = caller.hello((0, Default::default())).await;
    let (_, update) = talk.set().await;
    let keys = update.bodies.into_iter().filter_map(|body| body.key);
    keys.map(|key| key.name).collect()
}

#[tokio::test(start_paused = true)]
async fn an_agent_reads_the_bodies_that_select_its_host_and_no_others() {
    let world = world().await;
    let (a, b) = (world.caller("agent/a"), world.caller("agent/b"));
    let (of_a, of_b) = (bodies(&a).await, bodies(&b).await);
    assert!(
        of_a.contains(&"for-a".to_owned()) && !of_a.contains(&"for-b".to_owned()),
        "{of_a:?}"
    );
    assert!(
        of_b.contains(&"for-b".to_owned()) && !of_b.contains(&"for-a".to_owned()),
        "{of_b:?}"
    );
    // Nor by any call of people's.
    let key = |name: &str| ppb::GetRequest {
        key: Some(ppb::ObjectKey {
            kind: "Workload".to_owned(),
            name: name.to_owned(),
        }),
    };
    for name in ["for-a", "for-b"] {
        refused(
            a.policy().get(key(name)).await,
            Code::PermissionDenied,
            "NOT_A_PERSON",
        );
        world.ada().policy().get(key(name)).await.unwrap();
    }
    let all = a.policy().get_set(ppb::GetSetRequest { with_bodies: true }).await;
    refused(all, Code::PermissionDenied, "NOT_A_PERSON");
    let list = a.policy().list(ppb::ListRequest::default()).await;
    refused(list, Code::PermissionDenied, "NOT_A_PERSON");
    let watch = a.policy().watch(ppb::WatchRequest::default()).await.map(drop);
    refused(watch, Code::PermissionDenied, "NOT_A_PERSON");
}

#[tokio::test(start_paused = true)]
async fn an_agent_reports_findings_of_its_host_and_of_no_other() {
    let world = world().await;
    let fault = world.fault("user");
    let mut b = world.caller("agent/b").report().await.unwrap();
    assert_eq!(b.tell(1, std::slice::from_ref(&fault)).await.unwrap(), 1);
    let before = world.log.state().host(&"b".parse().unwrap()).cloned();
    // Nothing in a message says whose it is: what `a` says is over is over on `a`.
    let mut a = world.caller("agent/a").report().await.unwrap();
    assert_eq!(a.tell(1, &[world.resolved("user")]).await.unwrap(), 1);
    let finding = world.log.state().finding(&fault.uid).unwrap();
    assert_eq!(finding.hosts[&"b".parse().unwrap()].affected, 1);
    assert_eq!(world.log.state().host(&"b".parse().unwrap()).cloned(), before);
    // Nor can it say what only controllers say of a host: that it is heard of, or that its identity is its own.
    world.run(Action::TellSilence {
        agent: "b".parse().unwrap(),
        silent: true,
        since: None,
        unrecorded: true,
    });
    let mut forged = world.resolved("agent");
    forged.check.rule = "host/silent".parse().unwrap();
    forged.subject = verger_policy::finding::SubjectClass::Host;
    forged.image = None;
    world.identify(&mut forged);
    let answer = a.tell(2, &[forged]).await;
    refused(answer, Code::InvalidArgument, "FORGED_FINDING");
    assert!(world.log.state().is_silent(&"b".parse().unwrap()));
    assert_eq!(b.tell(2, &[world.resolved("user")]).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_agent_tells_the_status_of_its_host_and_of_no_other() {
    let world = world().await;
    world.note_instances("b", vec![instance("i-b", "web-b")]);
    let before = world.fleet.of(&"b".parse().unwrap()).instances;
    let mut talk = world.caller("agent/a").hello((0, Default::default())).await;
    talk.set().await;
    let claimed = cpb::Instance {
        agent_id: "b".to_owned(),
        ..instance("i-a", "web-a")
    };
    talk.say(Up::Status(pb::Status {
        instances: vec![claimed],
        ..Default::default()
    }))
    .await;
    world.settle().await;
    let owner = |agent: &str| world.fleet.of(&agent.parse().unwrap()).instances;
    assert_eq!(owner("b"), before);
    assert_eq!((owner("a").len(), &*owner("a")[0].agent_id), (1, "a"));
    let instance = cpb::GetInstanceRequest {
        agent_id: "b".to_owned(),
        instance: "i-b".to_owned(),
    };
    let looks = world.caller("agent/a").cluster().get_instance(instance).await;
    refused(looks, Code::PermissionDenied, "NOT_A_PERSON");
    let looks = world
        .caller("agent/a")
        .cluster()
        .list_hosts(cpb::ListHostsRequest::default())
        .await;
    refused(looks, Code::PermissionDenied, "NOT_A_PERSON");
}

#[tokio::test(start_paused = true)]
async fn an_agent_renews_its_own_certificate_and_no_others() {
    let world = world().await;
    let renew = |caller: Caller, key: &str| {
        let csr = request_of(key);
        async move {
            let machine = Default::default();
            caller.session().renew(pb::RenewRequest { csr, machine }).await
        }
    };
    let own = renew(world.caller("agent/a"), "a").await.unwrap().into_inner();
    assert_eq!(own.chain[0].as_ref(), b"a holds a");
    // With the other's request; and under the other's name, with a key that is not the other's.
    refused(
        renew(world.caller("agent/a"), "b").await,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
    );
    let end = start().as_second() + 60;
    let posing = world.caller_with("agent/b", "a", end);
    refused(renew(posing, "a").await, Code::PermissionDenied, "UNKNOWN_AGENT");
    renew(world.caller("agent/b"), "b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_decides_nothing_of_itself_or_of_others() {
    let world = world().await;
    world.wait("c", "c");
    let a = world.caller("agent/a");
    let approve = cpb::ApproveHostRequest {
        request_id: world.request_id(),
        agent_id: "c".to_owned(),
        key: digest_bytes(&crate::world::key_digest("c")),
    };
    let evict = cpb::EvictHostRequest {
        request_id: world.request_id(),
        agent_id: "b".to_owned(),
        reason: String::new(),
    };
    let before = world.log.state();
    refused(
        a.cluster().approve_host(approve.clone()).await,
        Code::PermissionDenied,
        "NOT_A_PERSON",
    );
    refused(
        a.cluster().evict_host(evict.clone()).await,
        Code::PermissionDenied,
        "NOT_A_PERSON",
    );
    assert_eq!(world.log.state(), before);
    world.ada().cluster().approve_host(approve).await.unwrap();
    world.ada().cluster().evict_host(evict).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_person_makes_no_call_of_agents() {
    let world = world().await;
    let ada = world.ada();
    let before = world.log.state();
    refused(
        ada.connect().await.map(drop),
        Code::PermissionDenied,
        "NOT_AN_AGENT",
    );
    refused(
        ada.report().await.map(drop),
        Code::PermissionDenied,
        "NOT_AN_AGENT",
    );
    // Also under the name of an agent, and with its key.
    let posing = world.caller_with("person/a", "a", start().as_second() + 60);
    for caller in [ada, posing] {
        let renew = pb::RenewRequest {
            csr: request_of("a"),
            machine: Default::default(),
        };
        refused(
            caller.session().renew(renew).await,
            Code::PermissionDenied,
            "NOT_AN_AGENT",
        );
    }
    assert_eq!(world.log.state(), before);
    world.caller("agent/a").connect().await.unwrap();
}
