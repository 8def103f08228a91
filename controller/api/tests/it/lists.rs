//! Lists, and their pages.

use tonic::Status;
use verger_policy::model::PolicyObject;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{World, guardrail, host, instance, workload};

fn many(count: usize) -> Vec<PolicyObject> {
    let named = |number| {
        let mut object = guardrail();
        object.metadata.name = format!("g{number:05}").parse().unwrap();
        object
    };
    (0..count).map(named).collect()
}

async fn objects(world: &World, kind: &str, page_size: u32, page_token: &str) -> pb::ListResponse {
    let request = pb::ListRequest {
        kind: kind.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    world.ada().policy().list(request).await.unwrap().into_inner()
}

#[tokio::test(start_paused = true)]
async fn a_page_has_a_hundred_unless_asked_and_a_thousand_at_most() {
    let world = World::founded();
    world.run_change(&many(1_001), &[]);
    for (asked, given) in [
        (0, 100),
        (1, 1),
        (99, 99),
        (1_000, 1_000),
        (1_001, 1_000),
        (u32::MAX, 1_000),
    ] {
        let page = objects(&world, "", asked, "").await;
        assert_eq!(page.objects.len(), given, "asked for {asked}");
        assert!(!page.next_page_token.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn pages_give_each_object_once_in_order_whatever_is_deleted_between_them() {
    let world = World::founded();
    world.run_change(
        &[many(5), vec![host("h1", "a"), workload("web", "a", 1)]].concat(),
        &[],
    );
    let (mut names, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = objects(&world, "", 2, &token).await;
        names.extend(
            page.objects
                .into_iter()
                .map(|object| object.entry.unwrap().key.unwrap().name),
        );
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        // What the token names may be gone by then.
        if pages == 1 {
            world.run_change(&[], &["Guardrail/g00001"]);
        }
    }
    assert_eq!(
        names,
        ["g00000", "g00001", "g00002", "g00003", "g00004", "h1", "web"]
    );
    assert_eq!(pages, 4);
    let exact = objects(&world, "Host", 1, "").await;
    assert_eq!(
        (exact.objects.len(), &*exact.next_page_token),
        (1, ""),
        "nothing comes after it"
    );
}

/// Everything a method lists, page by page.
async fn walk<T>(mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Status>) -> Vec<T> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let (items, next) = page(token).await.unwrap();
        assert!(items.len() <= 2, "as many as were asked for");
        all.extend(items);
        if next.is_empty() {
            return all;
        }
        token = next;
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_hosts_findings_and_instances_give_each_once() {
    let world = World::founded();
    world.enrol(&["h1", "h2", "h3"]);
    let faults: Vec<_> = (0..5).map(|number| world.fault(&format!("f{number}"))).collect();
    world.log.run(&world.ingestion("h1", faults));
    for agent in ["h1", "h2"] {
        // In the order an agent happens to say them.
        let instances = ["i2", "i0", "i1"].map(|id| instance(id, "n"));
        world.note_instances(agent, instances.to_vec());
    }
    let ada = world.ada();
    let hosts = walk(async |page_token| {
        let request = cpb::ListHostsRequest {
            page_size: 2,
            page_token,
        };
        let page = ada.cluster().list_hosts(request).await?.into_inner();
        Ok((page.hosts, page.next_page_token))
    })
    .await;
    let hosts: Vec<_> = hosts.iter().map(|host| &*host.agent_id).collect();
    assert_eq!(hosts, ["h1", "h2", "h3"]);
    let findings = walk(async |page_token| {
        let request = fpb::ListRequest {
            page_size: 2,
            page_token,
            filter: None,
        };
        let page = ada.findings().list(request).await?.into_inner();
        Ok((page.findings, page.next_page_token))
    })
    .await;
    assert_eq!(findings.len(), 5);
    assert!(findings.is_sorted_by(|one, next| one.uid < next.uid));
    let instances = walk(async |page_token| {
        let request = cpb::ListInstancesRequest {
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = ada.cluster().list_instances(request).await?.into_inner();
        Ok((page.instances, page.next_page_token))
    })
    .await;
    let places: Vec<_> = instances.iter().map(|one| (&*one.agent_id, &*one.id)).collect();
    assert_eq!(places.len(), 6);
    assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
}

#[tokio::test(start_paused = true)]
async fn instances_are_listed_by_host_and_by_workload_or_the_lack_of_one() {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    let of = |id: &str, workloads: &[&str]| cpb::Instance {
        workloads: workloads.iter().map(ToString::to_string).collect(),
        ..instance(id, "n")
    };
    world.note_instances(
        "h1",
        vec![of("i1", &["web"]), of("i2", &[]), of("i3", &["web", "db"])],
    );
    world.note_instances("h2", vec![of("i4", &["db"])]);
    for (agent_id, workload, ids) in [
        ("", "", &["i1", "i2", "i3", "i4"][..]),
        ("h1", "", &["i1", "i2", "i3"]),
        ("", "db", &["i3", "i4"]),
        ("h1", "db", &["i3"]),
        ("", "-", &["i2"]),
        ("h2", "-", &[]),
        ("", "cache", &[]),
    ] {
        let request = cpb::ListInstancesRequest {
            agent_id: agent_id.to_owned(),
            workload: workload.to_owned(),
            ..Default::default()
        };
        let list = world
            .ada()
            .cluster()
            .list_instances(request)
            .await
            .unwrap()
            .into_inner();
        let found: Vec<_> = list.instances.iter().map(|instance| &*instance.id).collect();
        assert_eq!(found, ids, "host `{agent_id}`, workload `{workload}`");
    }
}
