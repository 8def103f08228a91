//! Watching findings.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Streaming;
use verger_controller_state::Action;
use verger_proto::findings::v1 as pb;

use super::follower::{Follower, Heard, Message as _, Seen, is_expired};
use crate::world::{World, key_digest, soon, start};

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

/// Evicts an agent, and enrols another under its id: what the first one told is forgotten.
fn begin_anew(world: &World, agent: &str) -> u64 {
    let id: verger_policy::model::AgentId = agent.parse().unwrap();
    let secret_hash = verger_policy::digest::Digest::of(b"secret");
    let token_id = format!("another token of {agent}");
    world.evict(agent);
    world.run(Action::CreateToken {
        id: token_id.clone(),
        secret_hash,
        agent: id.clone(),
        expires: start() + jiff::SignedDuration::from_secs(600),
        approval: false,
    });
    world.run(Action::Enrol {
        token_id,
        secret_hash,
        agent: id,
        key: key_digest("another"),
        machine: None,
    });
    world.log.state().revision()
}

/// What is told without anything more happening: the type, and the field, or of what is gone the uid.
async fn told(stream: &mut Streaming<pb::WatchResponse>) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(message) = timeout(Duration::from_millis(1), stream.message()).await {
        let message = message.unwrap().unwrap();
        let kind = message
            .r#type()
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_owned();
        if let Some(finding) = message.finding {
            let name = finding.check.map_or_else(|| "?".to_owned(), |check| check.field);
            told.push(format!("{kind} {name}"));
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn findings_that_are_forgotten_are_told_as_gone_also_to_whoever_resumes() {
    let world = world();
    take_in(&world, "h1", vec![world.fault("one"), world.fault("both")]);
    let before = take_in(&world, "h2", vec![world.fault("both")]);
    let mut watch = Watch::start(&world, 0).await;
    watch.all().await;
    let revision = begin_anew(&world, "h1");
    let wanted = [
        seen(revision, &world.fault("one").uid.to_string(), "DELETED"),
        seen(revision, "both", "OPEN 1"),
    ];
    let sorted = |mut seen: Vec<Seen>| {
        seen.sort();
        seen
    };
    assert_eq!(sorted(watch.all().await), sorted(wanted.to_vec()));
    let mut resumed = Watch::start(&world, before).await;
    assert_eq!(sorted(resumed.all().await), sorted(wanted.to_vec()));
    let mut fresh = Watch::start(&world, 0).await;
    assert_eq!(
        fresh.all().await,
        [seen(revision, "both", "OPEN 1")],
        "nothing was there for it"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_filter_no_longer_lets_through_is_told_as_gone() {
    let world = world();
    let open_ones = pb::Filter {
        lifecycles: vec![pb::Lifecycle::Open.into()],
        ..Default::default()
    };
    let of_h1 = pb::Filter {
        agent_id: "h1".to_owned(),
        ..Default::default()
    };
    let before = take_in(&world, "h1", vec![world.fault("a"), world.fault("b")]);
    take_in(&world, "h2", vec![world.fault("b"), world.resolved("c")]);
    let now = world.log.state().revision();
    let request = |filter: &pb::Filter, after_revision| pb::WatchRequest {
        filter: Some(filter.clone()),
        after_revision,
        only_new: false,
    };
    let mut open_ones_now = open(&world, request(&open_ones, 0)).await;
    assert_eq!(told(&mut open_ones_now).await.len(), 2);
    let mut of_h1_now = open(&world, request(&of_h1, 0)).await;
    assert_eq!(told(&mut of_h1_now).await.len(), 2);

    take_in(&world, "h1", vec![world.resolved("a")]);
    assert_eq!(told(&mut open_ones_now).await, ["DELETED a"]);
    assert_eq!(told(&mut of_h1_now).await, ["CHANGED a"]);
    let mut resumed = open(&world, request(&open_ones, now)).await;
    assert_eq!(told(&mut resumed).await, ["DELETED a"]);
    // What never was of its kind since, is not told.
    take_in(&world, "h2", vec![world.resolved("c"), world.resolved("d")]);
    assert_eq!(told(&mut open_ones_now).await, Vec::<String>::new());
    assert_eq!(told(&mut of_h1_now).await, Vec::<String>::new());

    begin_anew(&world, "h1");
    let mut gone = told(&mut of_h1_now).await;
    gone.sort();
    assert_eq!(gone, ["DELETED ?", "DELETED b"], "h2 still has the other");
    let mut resumed = open(&world, request(&of_h1, before)).await;
    let mut gone = told(&mut resumed).await;
    gone.sort();
    assert_eq!(gone, ["DELETED ?", "DELETED b"]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_it_is_being_told_is_told_again_and_nothing_is_skipped() {
    let world = world();
    let fields: Vec<String> = (0..400).map(|number| format!("f{number}")).collect();
    for some in fields.chunks(100) {
        take_in(
            &world,
            "h1",
            some.iter().map(|field| world.fault(field)).collect(),
        );
    }
    let mut watch = Watch::start(&world, 0).await;
    let mut copy = std::collections::BTreeMap::new();
    let mut take = |heard: Heard, complete: &mut u64| match heard {
        Heard::Change(seen) => {
            copy.insert(seen.name, seen.what);
        }
        Heard::Bookmark(revision) => *complete = revision,
    };
    let mut marks = 0;
    while marks < 2 {
        let heard = watch.hear().await.unwrap();
        marks += usize::from(matches!(heard, Heard::Bookmark(_)));
        take(heard, &mut watch.complete);
    }
    assert!(
        watch.complete < world.log.state().revision(),
        "complete up to a part of it"
    );
    take_in(&world, "h2", vec![world.fault("f0"), world.fault("f399")]);
    watch.resume().await;
    while let Some(heard) = watch.hear().await {
        take(heard, &mut watch.complete);
    }
    assert_eq!(watch.complete, world.log.state().revision());
    assert_eq!(copy.len(), 400);
    let twice = copy.iter().filter(|(_, what)| *what == "OPEN 2");
    assert_eq!(twice.map(|(name, _)| &**name).collect::<Vec<_>>(), ["f0", "f399"]);
}
