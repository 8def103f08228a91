//! Watching findings.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Streaming;
use verger_proto::findings::v1 as pb;

use super::follower::{Follower, Heard, Message as _, Seen, is_expired};
use crate::world::{World, soon};

type Watch = Follower<pb::WatchResponse>;

fn world() -> World {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    world
}

/// Takes in transitions of an agent as one entry; gives its revision.
fn take_in(world: &World, agent: &str, transitions: Vec<verger_policy::finding::Transition>) -> u64 {
    world.log.run(&world.ingestion(agent, transitions));
    world.log.state().revision()
}

fn seen(revision: u64, name: &str, what: &str) -> Seen {
    Seen {
        revision,
        name: name.to_owned(),
        what: what.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_told_as_it_is_and_again_whenever_it_changes() {
    let world = world();
    let first = take_in(&world, "h1", vec![world.fault("user")]);
    let mut watch = Watch::start(&world, 0).await;
    assert_eq!(watch.all().await, [seen(first, "user", "OPEN 1")]);
    let other = take_in(&world, "h2", vec![world.fault("user")]);
    assert_eq!(
        watch.all().await,
        [seen(other, "user", "OPEN 2")],
        "of both hosts"
    );
    let request = pb::AckRequest {
        request_id: world.request_id(),
        uid: world.fault("user").uid.to_string(),
        note: "known".to_owned(),
    };
    world.ada().findings().ack(request).await.unwrap();
    let acknowledged = world.log.state().revision();
    assert_eq!(watch.all().await, [seen(acknowledged, "user", "ACKNOWLEDGED 2")]);
    take_in(&world, "h1", vec![world.resolved("user")]);
    let resolved = take_in(&world, "h2", vec![world.resolved("user")]);
    assert_eq!(
        watch.all().await,
        [seen(resolved, "user", "RESOLVED 0")],
        "as it is now, once"
    );
    assert_eq!(watch.complete, resolved);
}

#[tokio::test(start_paused = true)]
async fn of_many_findings_in_one_entry_none_is_lost_to_whoever_resumes_from_bookmarks() {
    let world = world();
    let before = world.log.state().revision();
    let faults: Vec<_> = (0..200)
        .map(|number| world.fault(&format!("f{number}")))
        .collect();
    let revision = take_in(&world, "h1", faults);
    let mut watch = Watch::start(&world, before).await;
    for _ in 0..50 {
        assert!(matches!(watch.hear().await, Some(Heard::Change(_))));
    }
    watch.resume().await;
    let told = watch.all().await;
    let names: std::collections::BTreeSet<_> = told.iter().map(|seen| &seen.name).collect();
    assert_eq!((told.len(), names.len(), watch.complete), (200, 200, revision));
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_the_log_has_not_reached_is_refused() {
    let world = world();
    is_expired::<pb::WatchResponse>(&world, world.log.state().revision() + 1).await;
}

async fn open(world: &World, request: pb::WatchRequest) -> Streaming<pb::WatchResponse> {
    world.ada().findings().watch(request).await.unwrap().into_inner()
}

/// Fields of the findings that are there without anything more happening.
async fn there(stream: &mut Streaming<pb::WatchResponse>) -> Vec<String> {
    let mut names = Vec::new();
    while let Ok(message) = timeout(Duration::from_millis(1), stream.message()).await {
        if let Heard::Change(seen) = message.unwrap().unwrap().heard() {
            names.push(seen.name);
        }
    }
    names
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_new_findings_only_is_told_nothing_older() {
    let world = world();
    take_in(&world, "h1", vec![world.fault("old")]);
    let request = pb::WatchRequest {
        only_new: true,
        ..Default::default()
    };
    let mut stream = open(&world, request).await;
    let first = soon(stream.message()).await.unwrap().unwrap();
    assert!(
        first.finding.is_none() && first.revision == world.log.state().revision(),
        "{first:?}"
    );
    take_in(&world, "h1", vec![world.fault("new")]);
    assert_eq!(there(&mut stream).await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_filter_lets_through_what_fits_it_all() {
    let world = world();
    let mut elsewhere = world.fault("elsewhere");
    elsewhere.subject = verger_policy::finding::SubjectClass::Host;
    elsewhere.image = None;
    world.identify(&mut elsewhere);
    take_in(&world, "h1", vec![world.fault("open"), elsewhere]);
    take_in(&world, "h2", vec![world.resolved("over")]);
    let open_ones = vec![pb::Lifecycle::Open.into()];
    let cases = [
        (pb::Filter::default(), vec!["elsewhere", "open", "over"]),
        (
            pb::Filter {
                lifecycles: open_ones.clone(),
                ..Default::default()
            },
            vec!["elsewhere", "open"],
        ),
        (
            pb::Filter {
                workload: "web".to_owned(),
                ..Default::default()
            },
            vec!["open", "over"],
        ),
        (
            pb::Filter {
                agent_id: "h2".to_owned(),
                ..Default::default()
            },
            vec!["over"],
        ),
        (
            pb::Filter {
                lifecycles: open_ones,
                controls: vec!["privilege".to_owned()],
                workload: "web".to_owned(),
                agent_id: "h1".to_owned(),
                rule: "privilege/is-root".to_owned(),
            },
            vec!["open"],
        ),
        (
            pb::Filter {
                rule: "config/user".to_owned(),
                ..Default::default()
            },
            vec![],
        ),
        (
            pb::Filter {
                controls: vec!["config".to_owned(), "files".to_owned()],
                ..Default::default()
            },
            vec![],
        ),
    ];
    for (filter, wanted) in cases {
        let request = pb::WatchRequest {
            filter: Some(filter.clone()),
            ..Default::default()
        };
        let mut told = there(&mut open(&world, request).await).await;
        told.sort();
        assert_eq!(told, wanted, "watched: {filter:?}");
        let request = pb::ListRequest {
            filter: Some(filter.clone()),
            ..Default::default()
        };
        let list = world.ada().findings().list(request).await.unwrap().into_inner();
        let mut listed: Vec<_> = list
            .findings
            .into_iter()
            .map(|finding| finding.check.unwrap().field)
            .collect();
        listed.sort();
        assert_eq!(listed, wanted, "listed: {filter:?}");
    }
}
