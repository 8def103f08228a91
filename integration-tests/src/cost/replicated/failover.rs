//! How long nobody can write after the leader was killed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::MEMBERS;
use super::load::Acknowledged;
use super::side::{Client, Side};

/// A write that is not answered within this is asked for at the next member.
const GIVE_UP: Duration = Duration::from_millis(250);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(5);
/// How long it writes before, and after.
const BEFORE: Duration = Duration::from_millis(500);
/// Longer than this is no failover.
const STUCK: Duration = Duration::from_secs(30);

/// When the write began that was acknowledged last, and when it was.
type Last = Arc<Mutex<Option<(Instant, Instant)>>>;

/// Kills the leader under the load of one client. How long it took until a write was acknowledged that began after that.
pub(super) fn once(handle: &Handle, side: &mut dyn Side, acknowledged: &Acknowledged) -> Result<Duration> {
    let leader = side.leader()?;
    let mut clients = Vec::new();
    for member in 0..MEMBERS {
        clients.push(Client::connect(side, member, member)?);
    }
    let (last, stop) = (Last::default(), CancellationToken::new());
    let task = handle.spawn(write(
        clients,
        leader,
        Arc::clone(&last),
        stop.clone(),
        acknowledged.clone(),
    ));
    std::thread::sleep(BEFORE);
    let before = *last.lock().unwrap_or_else(PoisonError::into_inner);
    before.with_context(|| {
        format!(
            "{}: nothing is acknowledged before the leader is killed",
            side.name()
        )
    })?;
    let killed = Instant::now();
    side.kill(leader)?;
    let took = loop {
        let now = *last.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some((began, at)) if began >= killed => break at - killed,
            _ => ensure!(
                killed.elapsed() < STUCK,
                "{}: no write for {STUCK:?}",
                side.name()
            ),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    stop.cancel();
    handle.block_on(task).context("the client was lost")?;
    side.start(leader)?;
    std::thread::sleep(BEFORE);
    Ok(took)
}

async fn write(
    mut clients: Vec<Client>,
    leader: usize,
    last: Last,
    stop: CancellationToken,
    acknowledged: Acknowledged,
) {
    let mut at = leader;
    while !stop.is_cancelled() {
        let began = Instant::now();
        match tokio::time::timeout(GIVE_UP, clients[at].write()).await {
            Ok(Ok(())) => {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, Instant::now()));
                acknowledged.one_more();
            }
            Ok(Err(_)) | Err(_) => {
                at = (at + 1) % clients.len();
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
