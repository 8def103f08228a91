//! Arguments that have no meaning: each names its field, and nothing is done.

use tonic::{Code, Response, Status};
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{World, fields, refused, workload};

/// Asserts a refusal that names this field and changes nothing.
struct Judge {
    world: World,
    before: verger_controller_state::State,
    proposed: usize,
}

impl Judge {
    async fn new() -> Self {
        let world = World::founded();
        world.apply(&[workload("web", "a", 1)], &[]).await;
        world.enrol(&["h1"]);
        world.log.run(&world.ingestion("h1", vec![world.fault("user")]));
        Self {
            before: world.log.state(),
            proposed: world.log.proposed().len(),
            world,
        }
    }

    #[track_caller]
    fn names<T: std::fmt::Debug>(&self, field: &str, answer: Result<Response<T>, Status>) {
        let status = refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(fields(&status), [field], "{status:?}");
        assert!(
            status.message().contains(field),
            "a person is told which field, too: {status:?}"
        );
        assert_eq!(self.world.log.state(), self.before);
        assert_eq!(self.world.log.proposed().len(), self.proposed);
    }
}

fn key(kind: &str, name: &str) -> Option<pb::ObjectKey> {
    Some(pb::ObjectKey {
        kind: kind.to_owned(),
        name: name.to_owned(),
    })
}

/// Keys without meaning, with the field at fault.
fn bad_keys() -> Vec<(&'static str, Option<pb::ObjectKey>)> {
    vec![
        ("key", None),
        ("key.kind", key("", "web")),
        ("key.kind", key("workload", "web")),
        ("key.kind", key("Secret", "web")),
        ("key.name", key("Workload", "")),
        ("key.name", key("Workload", "Web")),
        ("key.name", key("Workload", &"w".repeat(254))),
    ]
}

#[tokio::test(start_paused = true)]
async fn keys_of_objects() {
    let judge = Judge::new().await;
    let mut policy = judge.world.ada().policy();
    for (field, key) in bad_keys() {
        judge.names(field, policy.get(pb::GetRequest { key: key.clone() }).await);
        for dry_run in [false, true] {
            let request = pb::DeleteRequest {
                request_id: judge.world.request_id(),
                key: key.clone(),
                dry_run,
                ..Default::default()
            };
            judge.names(field, policy.delete(request).await);
        }
    }
    let request = pb::ApplyRequest {
        request_id: judge.world.request_id(),
        deletes: vec![
            key("Workload", "web").unwrap(),
            key("Workload", "no name").unwrap(),
        ],
        ..Default::default()
    };
    judge.names("deletes[1].name", policy.apply(request).await);
}

#[tokio::test(start_paused = true)]
async fn ids_of_requests() {
    let judge = Judge::new().await;
    let ada = judge.world.ada();
    for id in ["", " ", "a b", "ü", "a\n", &"x".repeat(65)] {
        let request_id = id.to_owned();
        let apply = pb::ApplyRequest {
            request_id: request_id.clone(),
            ..judge.world.change(&[], &["Workload/web"])
        };
        let delete = pb::DeleteRequest {
            request_id: request_id.clone(),
            key: key("Workload", "web"),
            ..Default::default()
        };
        let token = cpb::CreateJoinTokenRequest {
            request_id: request_id.clone(),
            agent_id: "h2".to_owned(),
            ttl_seconds: 0,
            approval: false,
        };
        let ack = fpb::AckRequest {
            request_id,
            uid: judge.world.fault("user").uid.to_string(),
            note: "known".to_owned(),
        };
        judge.names("request_id", ada.policy().apply(apply).await);
        judge.names("request_id", ada.policy().delete(delete).await);
        judge.names("request_id", ada.cluster().create_join_token(token).await);
        judge.names("request_id", ada.findings().ack(ack).await);
    }
    let longest = pb::ApplyRequest {
        request_id: "x".repeat(64),
        ..judge.world.change(&[], &["Workload/web"])
    };
    ada.policy().apply(longest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn kinds_and_page_tokens_of_lists() {
    let judge = Judge::new().await;
    let ada = judge.world.ada();
    for kind in ["workload", "Workloads", "*"] {
        let request = pb::ListRequest {
            kind: kind.to_owned(),
            ..Default::default()
        };
        judge.names("kind", ada.policy().list(request).await);
    }
    for token in [
        "x",
        "Workload",
        "Secret/web",
        "Workload/",
        "sha256:00",
        "/",
        "h1/docker",
        "H1/docker/i",
        " ",
    ] {
        let page_token = token.to_owned();
        let objects = pb::ListRequest {
            page_token: page_token.clone(),
            ..Default::default()
        };
        let findings = fpb::ListRequest {
            page_token: page_token.clone(),
            ..Default::default()
        };
        let instances = cpb::ListInstancesRequest {
            page_token: page_token.clone(),
            ..Default::default()
        };
        judge.names("page_token", ada.policy().list(objects).await);
        judge.names("page_token", ada.findings().list(findings).await);
        judge.names("page_token", ada.cluster().list_instances(instances).await);
    }
    for token in ["/", "H1", " ", "h1/"] {
        let request = cpb::ListHostsRequest {
            page_token: token.to_owned(),
            ..Default::default()
        };
        judge.names("page_token", ada.cluster().list_hosts(request).await);
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_and_instances() {
    let judge = Judge::new().await;
    let mut cluster = judge.world.ada().cluster();
    for agent in ["", "H1", "h1 ", "../h1"] {
        let agent_id = agent.to_owned();
        let host = cpb::GetHostRequest {
            agent_id: agent_id.clone(),
        };
        let instance = cpb::GetInstanceRequest {
            agent_id: agent_id.clone(),
            instance: "i".to_owned(),
        };
        judge.names("agent_id", cluster.get_host(host).await);
        judge.names("agent_id", cluster.get_instance(instance).await);
        if !agent.is_empty() {
            let list = cpb::ListInstancesRequest {
                agent_id,
                ..Default::default()
            };
            judge.names("agent_id", cluster.list_instances(list).await);
        }
    }
    let nameless = cpb::GetInstanceRequest {
        agent_id: "h1".to_owned(),
        instance: String::new(),
    };
    judge.names("instance", cluster.get_instance(nameless).await);
    let list = cpb::ListInstancesRequest {
        workload: "Web!".to_owned(),
        ..Default::default()
    };
    judge.names("workload", cluster.list_instances(list).await);
}

#[tokio::test(start_paused = true)]
async fn filters_of_findings() {
    let judge = Judge::new().await;
    let filter = fpb::Filter::default;
    let cases = [
        (
            "filter.lifecycles",
            fpb::Filter {
                lifecycles: vec![fpb::Lifecycle::Open.into(), 99],
                ..filter()
            },
        ),
        (
            "filter.lifecycles",
            fpb::Filter {
                lifecycles: vec![fpb::Lifecycle::Unspecified.into()],
                ..filter()
            },
        ),
        (
            "filter.controls",
            fpb::Filter {
                controls: vec!["config".to_owned(), "everything".to_owned()],
                ..filter()
            },
        ),
        (
            "filter.workload",
            fpb::Filter {
                workload: "Web".to_owned(),
                ..filter()
            },
        ),
        (
            "filter.agent_id",
            fpb::Filter {
                agent_id: "H1".to_owned(),
                ..filter()
            },
        ),
        (
            "filter.rule",
            fpb::Filter {
                rule: "privilege/*".to_owned(),
                ..filter()
            },
        ),
    ];
    let mut findings = judge.world.ada().findings();
    for (field, filter) in cases {
        let list = fpb::ListRequest {
            filter: Some(filter.clone()),
            ..Default::default()
        };
        judge.names(field, findings.list(list).await);
        let watch = fpb::WatchRequest {
            filter: Some(filter),
            ..Default::default()
        };
        judge.names(field, findings.watch(watch).await.map(|_| Response::new(())));
    }
}

#[tokio::test(start_paused = true)]
async fn uids_and_notes_of_findings() {
    let judge = Judge::new().await;
    let uid = judge.world.fault("user").uid.to_string();
    let mut findings = judge.world.ada().findings();
    let ack = |uid: &str, note: &str| fpb::AckRequest {
        request_id: judge.world.request_id(),
        uid: uid.to_owned(),
        note: note.to_owned(),
    };
    for bad in [
        "",
        &uid[..7],
        &uid.to_uppercase(),
        &format!("{uid}0"),
        "xyzw0123",
        &format!("sha256:{uid}"),
    ] {
        let get = fpb::GetRequest { uid: bad.to_owned() };
        judge.names("uid", findings.get(get).await);
        judge.names("uid", findings.ack(ack(bad, "known")).await);
    }
    for note in ["", " \n", &"x".repeat(1_025), &"ü".repeat(513)] {
        judge.names("note", findings.ack(ack(&uid, note)).await);
    }
    findings.ack(ack(&uid, &"ü".repeat(512))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn however_long_an_argument_is_its_refusal_arrives() {
    let judge = Judge::new().await;
    let mut policy = judge.world.ada().policy();
    // Percent signs and what is not ASCII take three bytes each on the way back.
    for text in ["x", "%", "ü", "\u{10ffff}"] {
        let request = pb::ListRequest {
            kind: text.repeat(100_000),
            ..Default::default()
        };
        judge.names("kind", policy.list(request).await);
    }
    // A body with a thousand problems, each with its place and its remedy.
    let rules: Vec<String> = (0..2_000).map(|number| format!("\"f{number}\":1")).collect();
    let canonical = format!("verger/v1/object\0{{{}}}", rules.join(","));
    let request = pb::ApplyRequest {
        expected_epoch: 1,
        upserts: vec![pb::Body {
            key: None,
            canonical: canonical.into(),
        }],
        dry_run: true,
        ..Default::default()
    };
    let status = refused(policy.apply(request).await, Code::InvalidArgument, "SET_REFUSED");
    assert!(
        status.message().contains("f0"),
        "the first of them are told: {status:?}"
    );
}
