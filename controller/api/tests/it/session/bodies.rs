//! Which bodies go to which host, and against what.

use verger_policy::model::PolicyObject;
use verger_proto::agent::v1 as pb;
use verger_wire::digest_bytes;

use crate::world::{Talk, World, guardrail, host, workload};

const NOTHING: (u64, bytes::Bytes) = (0, bytes::Bytes::new());

/// The hosts `h1` in zone `a` and `h2` in zone `b`, a workload of each zone, and a guardrail of all hosts.
async fn world() -> World {
    let world = World::founded();
    let objects = [
        host("h1", "a"),
        host("h2", "b"),
        workload("for-a", "a", 1),
        workload("for-b", "b", 1),
        guardrail(),
    ];
    world.apply(&objects, &[]).await;
    world.enrol(&["h1", "h2", "h3"]);
    world
}

/// The base of an offer, and the names of its bodies.
fn told(update: &pb::SetUpdate) -> (u64, Vec<String>) {
    let names = update.bodies.iter().map(|body| body.key.as_ref().unwrap());
    (update.base_epoch, names.map(|key| key.name.clone()).collect())
}

async fn offered(talk: &mut Talk) -> (u64, Vec<String>) {
    told(&talk.set().await.1)
}

fn bodies(base: u64, names: &[&str]) -> (u64, Vec<String>) {
    (base, names.iter().map(|name| (*name).to_owned()).collect())
}

async fn change(world: &World, objects: &[PolicyObject]) {
    world.apply(objects, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_gets_every_entry_and_only_the_bodies_that_select_it() {
    let world = world().await;
    for (agent, names) in [
        ("h1", &["g", "h1", "h2", "for-a"][..]),
        ("h2", &["g", "h1", "h2", "for-b"]),
        // Without a host object there are no labels.
        ("h3", &["g", "h1", "h2"]),
    ] {
        let mut talk = world.caller(&format!("agent/{agent}")).hello(NOTHING).await;
        let (_, update) = talk.set().await;
        assert_eq!(told(&update), bodies(0, names), "{agent}");
        assert_eq!(update.entries.len(), 5, "{agent}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_a_set_gets_the_bodies_that_changed_since() {
    let world = world().await;
    let first = world.position();
    change(&world, &[workload("for-a", "a", 2), workload("for-b", "b", 2)]).await;
    let mut late = world.caller("agent/h1").hello(first).await;
    assert_eq!(offered(&mut late).await, bodies(1, &["for-a"]));
    let mut current = world.caller("agent/h1").hello(world.position()).await;
    change(&world, &[guardrail(), workload("new", "a", 1)]).await;
    assert_eq!(
        offered(&mut current).await,
        bodies(2, &["new"]),
        "the guardrail is as it was"
    );
}

#[tokio::test(start_paused = true)]
async fn an_offer_goes_by_what_is_held_and_not_by_what_was_offered_before() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    change(&world, &[workload("for-a", "a", 2)]).await;
    let (refused, _) = talk.set().await;
    talk.nack(refused, "expired", "").await;
    change(&world, &[workload("new", "a", 1)]).await;
    assert_eq!(
        offered(&mut talk).await,
        bodies(1, &["for-a", "new"]),
        "the first was refused"
    );
    // Not answered yet: the agent is busy with its disk, and will look at the newest only.
    change(&world, &[workload("newer", "a", 1)]).await;
    let (nonce, update) = talk.set().await;
    assert_eq!(told(&update), bodies(1, &["for-a", "new", "newer"]));
    talk.ack(nonce, world.position()).await;
    world.settle().await;
    change(&world, &[workload("newest", "a", 1)]).await;
    assert_eq!(
        offered(&mut talk).await,
        bodies(4, &["newest"]),
        "from what it accepted on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_labels_changed_gets_all_that_it_needs_now() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    change(&world, &[host("h1", "b")]).await;
    let (nonce, update) = talk.set().await;
    assert_eq!(
        told(&update),
        bodies(0, &["g", "h1", "h2", "for-b"]),
        "however old they are"
    );
    talk.ack(nonce, world.position()).await;
    world.settle().await;
    change(&world, &[host("h2", "a")]).await;
    assert_eq!(
        offered(&mut talk).await,
        bodies(2, &["h2"]),
        "another's labels are not its own"
    );
    // The host object goes: without labels only what is for all is left.
    world.apply(&[], &["Host/h1"]).await;
    assert_eq!(offered(&mut talk).await, bodies(0, &["g", "h2"]));
}

#[tokio::test(start_paused = true)]
async fn a_relabelling_that_was_refused_still_counts_with_the_next_offer() {
    let world = world().await;
    let mut talk = world.caller("agent/h1").hello(world.position()).await;
    change(&world, &[host("h1", "b")]).await;
    let (nonce, _) = talk.set().await;
    talk.nack(nonce, "ledger", "").await;
    change(&world, &[workload("new", "b", 1)]).await;
    assert_eq!(
        offered(&mut talk).await,
        bodies(0, &["g", "h1", "h2", "for-b", "new"])
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_what_this_cluster_does_not_know_gets_everything() {
    let world = world().await;
    let (epoch, root) = world.position();
    let stranger = digest_bytes(&verger_policy::digest::Digest::of(b"another history"));
    let everything = bodies(0, &["g", "h1", "h2", "for-a"]);
    for held in [(epoch + 1, root), (epoch, stranger.clone()), (u64::MAX, stranger)] {
        let mut talk = world.caller("agent/h1").hello(held.clone()).await;
        assert_eq!(offered(&mut talk).await, everything, "{held:?}");
    }
}
