//! An agent that does not read.

use std::time::Duration;

use verger_proto::agent::v1::connect_response::Message as Down;

use crate::world::{World, filler, host};

const BYTES: usize = 200_000;
/// More than what fits between the member and the agent.
const TIMES: u32 = 30;
/// The most sets that wait: those in the queue, and what HTTP/2 takes in ahead of its reader.
const WAITING: usize = 8;

/// Everything that comes without time passing: epochs of sets, and how many heartbeats.
async fn read(talk: &mut crate::world::Talk) -> (Vec<u64>, usize) {
    let (mut epochs, mut heartbeats) = (Vec::new(), 0);
    while let Some(message) = talk.there().await {
        match message {
            Down::Set(update) => epochs.push(update.epoch),
            Down::Heartbeat(_) => heartbeats += 1,
        }
    }
    (epochs, heartbeats)
}

#[tokio::test(start_paused = true)]
async fn a_slow_agent_is_offered_what_there_is_now_and_holds_up_no_other() {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    world.apply(&[host("h1", "a"), host("h2", "a")], &[]).await;
    let mut slow = world.caller("agent/h1").hello((0, bytes::Bytes::new())).await;
    let mut quick = world.caller("agent/h2").hello((0, bytes::Bytes::new())).await;
    quick.set().await;
    for uid in 1..=TIMES {
        world
            .apply(
                &[
                    filler("web", "a", uid, BYTES / 2),
                    filler("web/2", "a", uid, BYTES / 2),
                ],
                &[],
            )
            .await;
        let (nonce, update) = quick.set().await;
        assert_eq!(update.epoch, u64::from(uid) + 1, "the other has it at once");
        quick.ack(nonce, world.position()).await;
    }
    let (epochs, _) = read(&mut slow).await;
    assert!(epochs.len() <= WAITING, "{} sets waited", epochs.len());
    assert!(
        epochs.is_sorted() && epochs.last() == Some(&(u64::from(TIMES) + 1)),
        "{epochs:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reads_again_after_an_hour_finds_no_hour_of_heartbeats() {
    let world = World::founded();
    world.enrol(&["h1"]);
    world.apply(&[host("h1", "a")], &[]).await;
    let mut talk = world.caller("agent/h1").hello((0, bytes::Bytes::new())).await;
    talk.next().await.unwrap();
    for uid in 1..=TIMES {
        world.apply(&[filler("web", "a", uid, BYTES)], &[]).await;
    }
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let (epochs, heartbeats) = read(&mut talk).await;
    assert_eq!(epochs.last(), Some(&(u64::from(TIMES) + 1)));
    assert!(heartbeats < 8, "{heartbeats} heartbeats waited");
}
