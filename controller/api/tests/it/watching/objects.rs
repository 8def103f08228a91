//! Watching policy objects.

use std::slice::from_ref;

use verger_controller_state::limits;
use verger_policy::model::PolicyObject;
use verger_proto::policy::v1 as pb;

use super::follower::{Follower, Seen, is_expired, short};
use crate::world::{World, guardrail, host, workload};

type Watch = Follower<pb::WatchResponse>;

fn seen(revision: u64, kind: &str, object: &PolicyObject) -> Seen {
    Seen {
        revision,
        name: object.key().to_string(),
        what: format!("{kind} {}", short(&object.canonical_bytes())),
    }
}

fn gone(revision: u64, name: &str) -> Seen {
    Seen {
        revision,
        name: name.to_owned(),
        what: "DELETED".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_nothing_begins_with_what_there_is_and_not_with_what_is_gone() {
    let world = World::founded();
    let (h1, web, db) = (host("h1", "a"), workload("web", "a", 1), workload("db", "a", 1));
    let first = world.apply(&[web.clone(), db], &[]).await.revision;
    let second = world.apply(from_ref(&h1), &["Workload/db"]).await.revision;
    let mut watch = Watch::start(&world, 0).await;
    let told = watch.all().await;
    assert_eq!(
        told,
        [seen(first, "ADDED", &web), seen(second, "ADDED", &h1)],
        "oldest first"
    );
    assert_eq!(watch.complete, second);
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_once_in_order_and_what_changes_nothing_is_not_told() {
    let world = World::founded();
    let mut watch = Watch::start(&world, 0).await;
    assert_eq!(watch.all().await, []);
    let (web, db) = (workload("web", "a", 1), workload("db", "a", 1));
    let revision = world.apply(&[web.clone(), db.clone()], &[]).await.revision;
    assert_eq!(
        watch.all().await,
        [seen(revision, "ADDED", &db), seen(revision, "ADDED", &web)]
    );
    assert_eq!(watch.complete, revision);

    let newer = workload("web", "a", 2);
    let revision = world.apply(&[newer.clone(), db], &[]).await.revision;
    assert_eq!(
        watch.all().await,
        [seen(revision, "MODIFIED", &newer)],
        "the other is as it was"
    );
    let revision = world.apply(&[], &["Workload/web"]).await.revision;
    assert_eq!(watch.all().await, [gone(revision, "Workload/web")]);

    world.enrol(&["h1"]);
    world.log.run_nothing();
    assert!(watch.hear().await.is_none(), "no object changed");
    world.apply(&[], &[]).await;
    assert!(watch.hear().await.is_none(), "sealed again, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_resumes_is_told_what_it_missed_and_first_of_all_where_it_is() {
    let world = World::founded();
    let revision = world.apply(&[workload("web", "a", 1)], &[]).await.revision;
    let mut watch = Watch::start(&world, revision).await;
    assert_eq!(
        (watch.all().await, watch.complete),
        (vec![], revision),
        "a bookmark alone"
    );
    let mut other = Watch::start(&world, revision).await;
    drop(watch);
    world.apply(&[workload("web", "a", 2)], &[]).await;
    let newest = workload("web", "a", 3);
    let last = world.apply(from_ref(&newest), &[]).await.revision;
    other.resume().await;
    assert_eq!(
        other.all().await,
        [seen(last, "MODIFIED", &newest)],
        "as it is now, once"
    );
    other.resume().await;
    assert_eq!((other.all().await, other.complete), (vec![], last));

    let db = workload("db", "a", 1);
    world.apply(from_ref(&db), &[]).await;
    let revision = world
        .apply(&[workload("db", "a", 2)], &["Workload/web"])
        .await
        .revision;
    other.resume().await;
    let db = workload("db", "a", 2);
    assert_eq!(
        other.all().await,
        [seen(revision, "ADDED", &db), gone(revision, "Workload/web")],
        "new to it, however often it changed since"
    );
    let again = world.apply(from_ref(&newest), &[]).await.revision;
    other.resume().await;
    assert_eq!(
        other.all().await,
        [seen(again, "ADDED", &newest)],
        "another one of that name"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_lists_can_watch_from_there() {
    let world = World::founded();
    world.apply(&[workload("web", "a", 1)], &[]).await;
    world.enrol(&["h1"]);
    let list = world
        .ada()
        .policy()
        .list(pb::ListRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut watch = Watch::start(&world, list.revision).await;
    assert_eq!((watch.all().await, watch.complete), (vec![], list.revision));
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_the_log_has_not_reached_is_refused_instead_of_skipping_up_to_it() {
    let world = World::founded();
    let now = world.apply(&[workload("web", "a", 1)], &[]).await.revision;
    for after in [now + 1, u64::MAX] {
        is_expired::<pb::WatchResponse>(&world, after).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_before_what_is_remembered_is_told_to_list_again_and_then_goes_on() {
    let world = World::founded();
    // One more than is remembered is deleted.
    let objects: Vec<PolicyObject> = (0..=limits::TOMBSTONES)
        .map(|number| {
            let mut object = guardrail();
            object.metadata.name = format!("w{number}").parse().unwrap();
            object
        })
        .collect();
    let names: Vec<String> = objects.iter().map(|object| object.key().to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rest = workload("web", "a", 1);
    let there = world
        .apply(&[objects, vec![rest.clone()]].concat(), &[])
        .await
        .revision;
    let gone = world.apply(&[], &names).await.revision;

    is_expired::<pb::WatchResponse>(&world, there).await;
    let mut fresh = Watch::start(&world, 0).await;
    assert_eq!(
        fresh.all().await,
        [seen(there, "ADDED", &rest)],
        "from nothing is never too old"
    );
    let list = world
        .ada()
        .policy()
        .list(pb::ListRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((list.objects.len(), list.revision), (1, gone));
    let mut watch = Watch::start(&world, list.revision).await;
    assert_eq!((watch.all().await, watch.complete), (vec![], gone));
    let newer = workload("web", "a", 2);
    let last = world.apply(from_ref(&newer), &[]).await.revision;
    assert_eq!(watch.all().await, [seen(last, "MODIFIED", &newer)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_the_member_stops_and_is_forgotten_when_the_watcher_goes() {
    let world = World::founded();
    let idle = world.log.followers();
    let mut stays = Watch::start(&world, 0).await;
    let mut goes = Watch::start(&world, 0).await;
    assert_eq!((stays.all().await, goes.all().await), (vec![], vec![]));
    assert_eq!(world.log.followers(), idle + 2);
    drop(goes);
    world.settle().await;
    assert_eq!(
        world.log.followers(),
        idle + 1,
        "though nothing has changed since"
    );
    world.log.stop();
    assert!(stays.end().await.unwrap().is_none());
}
