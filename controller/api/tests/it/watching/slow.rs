//! A watcher that does not read.

use verger_proto::policy::v1 as pb;

use super::follower::{Follower, Heard, short};
use crate::world::{World, filler};

/// How often the object changes meanwhile: much more often than messages fit between the member and the watcher.
const TIMES: u32 = 250;
/// The most of them that wait: those in the queue of the stream, and what HTTP/2 takes in ahead of its reader.
const WAITING: usize = 100;
const BYTES: usize = 40_000;

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_holds_up_nobody_and_is_then_told_how_things_are() {
    let world = World::founded();
    let mut slow = Follower::<pb::WatchResponse>::start(&world, 0).await;
    let mut quick = Follower::<pb::WatchResponse>::start(&world, 0).await;
    assert_eq!((slow.all().await, quick.all().await), (vec![], vec![]));
    let mut last = None;
    for uid in 1..=TIMES {
        let object = filler("web", "a", uid, BYTES);
        let answer = world.apply(std::slice::from_ref(&object), &[]).await;
        let told = quick.all().await;
        assert_eq!(told.len(), 1, "the other has it at once");
        assert_eq!(quick.complete, answer.revision);
        last = Some((answer.revision, short(&object.canonical_bytes())));
    }
    let (revision, digest) = last.unwrap();
    let mut told = Vec::new();
    while let Some(heard) = slow.hear().await {
        match heard {
            Heard::Change(seen) => told.push(seen),
            Heard::Bookmark(revision) => slow.complete = revision,
        }
    }
    assert!(told.len() < WAITING, "{} changes waited", told.len());
    assert!(
        told.is_sorted_by(|one, next| one.revision < next.revision),
        "in order, each once"
    );
    assert!(
        told.last().unwrap().what.ends_with(&digest),
        "the last is how it is now"
    );
    assert_eq!(
        (told.last().unwrap().revision, slow.complete),
        (revision, revision)
    );
}
