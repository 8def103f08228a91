//! Current reads, by read index (§6.4 of Ongaro's dissertation): who asks while others do is answered with them.
//!
//! A round asks whoever leads up to where a read is current, and waits until that is applied here. It answers those who had come when it
//! began: what was acknowledged before they came was before it. Whoever comes later waits for the next, which begins when it ends, so that
//! the more ask at once, the less each of them costs.

use std::sync::Arc;
use std::time::Duration;

use openraft::raft::ReadPolicy;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::leading::{self, Leads};
use crate::member::Raft;
use crate::peers::{PeerError, Peers};
use crate::runtime::Background;
use crate::state_machine::Applied;

/// How long a read waits to be current. A leader that lost its quorum has nobody to tell it so, and callers can ask again.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// A round that takes longer holds nobody up who comes after it.
const SLOW: Duration = Duration::from_millis(50);
/// Between two questions where nothing is told.
const MOMENT: Duration = Duration::from_millis(50);
/// Who waits for a place in the next round beyond that waits outside.
const QUEUE: usize = 1_024;

/// Why a read cannot be current.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a current read is not possible at the moment: {0}")]
pub struct ReadError(String);

type Waiting = oneshot::Sender<Result<(), ReadError>>;

/// Where callers wait.
#[derive(Clone)]
pub(crate) struct Reading(mpsc::Sender<Waiting>);

impl Reading {
    /// Starts the task that begins the rounds.
    pub(crate) fn start(reader: Reader) -> (Self, Background) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let reader = Arc::new(reader);
        let round = move || {
            let reader = Arc::clone(&reader);
            async move { reader.round().await }
        };
        (Self(queue), Background::start(begin_rounds(round, waiting)))
    }

    /// Waits for the first round that begins after this.
    pub(crate) async fn current(&self) -> Result<(), ReadError> {
        let stopped = || ReadError("the member stops".to_owned());
        let waits = async {
            let (told, answer) = oneshot::channel();
            self.0.send(told).await.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        };
        let late = || not_current("it was not confirmed in time".to_owned());
        timeout(READ_WITHIN, waits).await.unwrap_or_else(|_| Err(late()))
    }
}

async fn begin_rounds<F>(round: impl Fn() -> F, mut waiting: mpsc::Receiver<Waiting>)
where
    F: Future<Output = Result<(), ReadError>> + Send + 'static,
{
    let mut rounds = JoinSet::new();
    let mut slow = Instant::now();
    while let Some(first) = waiting.recv().await {
        if !rounds.is_empty() {
            tokio::select! {
                biased;
                _ = rounds.join_next() => {}
                () = sleep_until(slow) => {}
            }
        }
        let mut all = vec![first];
        while let Ok(next) = waiting.try_recv() {
            all.push(next);
        }
        slow = Instant::now() + SLOW;
        let round = round();
        rounds.spawn(async move {
            let result = round.await;
            for told in all {
                // Whoever has gone away needs no answer.
                let _ = told.send(result.clone());
            }
        });
        while rounds.try_join_next().is_some() {}
    }
}

/// What a round takes.
pub(crate) struct Reader {
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) applied: Arc<Applied>,
}

impl Reader {
    async fn round(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + READ_WITHIN;
        let mut why = "nobody leads the cluster at the moment".to_owned();
        loop {
            let leads = leading::now(&self.raft);
            let asked = async {
                let left = deadline.saturating_duration_since(Instant::now());
                match &leads {
                    None => Err((true, why.clone())),
                    Some(Leads::Here(_)) => timeout(left, confirmed_index(&self.raft))
                        .await
                        .unwrap_or_else(|_| Err((false, "a quorum did not confirm the leader".to_owned()))),
                    Some(Leads::There(_, _, node)) => {
                        let peer = self.peers.peer(&node.name, &node.address);
                        index_of(peer.read_index(left).await)
                    }
                }
            };
            let confirmed = tokio::select! {
                biased;
                confirmed = asked => confirmed,
                // Who was asked may never answer.
                true = leading::changes(&self.raft, leads.as_ref(), deadline) => continue,
            };
            match confirmed {
                Ok(index) => return self.reach(index, deadline).await,
                Err((false, why)) => return Err(not_current(why)),
                Err((true, last)) => why = last,
            }
            if Instant::now() >= deadline {
                return Err(not_current(why));
            }
            // Whoever was asked does not lead, or did not hear it: somebody else may lead soon, and asking again does no harm.
            let moment = deadline.min(Instant::now() + MOMENT);
            if !leading::changes_or_passes(&self.raft, leads.as_ref(), moment).await {
                return Err(not_current("the member stops".to_owned()));
            }
        }
    }

    /// Waits until this is applied here.
    async fn reach(&self, index: u64, deadline: Instant) -> Result<(), ReadError> {
        let mut revisions = self.applied.revision.receiver();
        let reached = timeout_at(deadline, revisions.until(|applied| *applied >= index)).await;
        match reached {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ReadError("the member stops".to_owned())),
            Err(_) => Err(not_current(format!("this member has not applied {index} yet"))),
        }
    }
}

/// Up to where a read is current, of this member as the leader; or why not, and whether it is because it does not lead.
pub(crate) async fn confirmed_index(raft: &Raft) -> Result<u64, (bool, String)> {
    match raft.get_read_log_id(ReadPolicy::ReadIndex).await {
        Ok((read, _applied)) => Ok(read.index()),
        Err(error) => Err((error.forward_to_leader().is_some(), error.to_string())),
    }
}

/// What a leader said of up to where a read is current.
fn index_of(
    answer: Result<verger_proto::peer::v1::ReadIndexResponse, PeerError>,
) -> Result<u64, (bool, String)> {
    use verger_proto::peer::v1::read_index_response::Outcome;
    match answer.map(|answer| answer.outcome) {
        Ok(Some(Outcome::Index(index))) => Ok(index.index),
        Ok(Some(Outcome::Refused(refused))) => Err((refused.not_leader, refused.reason)),
        Ok(None) => Err((false, "the leader's answer says nothing".to_owned())),
        // It may be on its way out: asking again does no harm.
        Err(error) => Err((true, format!("the leader: {error}"))),
    }
}

fn not_current(why: String) -> ReadError {
    tracing::warn!(why, "a read was not confirmed");
    ReadError(why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;

    use super::*;

    /// Rounds that end when they are told to, and when each began.
    struct Rounds {
        began: Arc<Mutex<Vec<Instant>>>,
        may_end: Arc<Semaphore>,
        reading: Reading,
        _task: Background,
    }

    impl Rounds {
        /// The first of them never end.
        fn new(hang: usize) -> Self {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let (began, may_end) = (Arc::default(), Arc::new(Semaphore::new(0)));
            let (times, ends): (Arc<Mutex<Vec<Instant>>>, _) = (Arc::clone(&began), Arc::clone(&may_end));
            let round = move || {
                let number = {
                    let mut times = times.lock().unwrap();
                    times.push(Instant::now());
                    times.len()
                };
                let ends = Arc::clone(&ends);
                async move {
                    if number <= hang {
                        std::future::pending::<()>().await;
                    }
                    ends.acquire().await.unwrap().forget();
                    Ok(())
                }
            };
            Self {
                began,
                may_end,
                reading: Reading(queue),
                _task: Background::start(begin_rounds(round, waiting)),
            }
        }

        fn count(&self) -> usize {
            self.began.lock().unwrap().len()
        }

        /// Somebody asks, and is answered when a round ends that began later.
        fn ask(&self) -> JoinHandle<Result<(), ReadError>> {
            let reading = self.reading.clone();
            tokio::spawn(async move { reading.current().await })
        }

        async fn settle(&self) {
            for _ in 0..2_000 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_others_do_is_answered_with_them_by_a_round_that_begins_later() {
        let rounds = Rounds::new(0);
        let first = rounds.ask();
        rounds.settle().await;
        assert_eq!(rounds.count(), 1);
        let others: Vec<_> = (0..500).map(|_| rounds.ask()).collect();
        rounds.settle().await;
        assert_eq!(rounds.count(), 1, "the first round goes on");
        rounds.may_end.add_permits(1);
        first.await.unwrap().unwrap();
        rounds.settle().await;
        // What the first found may be older than what they ask for.
        assert_eq!(rounds.count(), 2);
        assert!(others.iter().all(|other| !other.is_finished()));
        rounds.may_end.add_permits(1);
        for other in others {
            other.await.unwrap().unwrap();
        }
        assert_eq!(rounds.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_is_never_answered_holds_nobody_up_for_long_and_ends_for_who_is_in_it() {
        let rounds = Rounds::new(1);
        let asked = Instant::now();
        let stuck = rounds.ask();
        rounds.settle().await;
        let next = rounds.ask();
        rounds.may_end.add_permits(1);
        next.await.unwrap().unwrap();
        assert!(
            asked.elapsed() <= SLOW + Duration::from_millis(5),
            "{:?}",
            asked.elapsed()
        );
        let error = stuck.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("not confirmed in time"), "{error}");
        assert!(asked.elapsed() >= READ_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_member_that_stops() {
        let rounds = Rounds::new(1);
        let stuck = rounds.ask();
        rounds.settle().await;
        rounds._task.end();
        let error = stuck.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("stops"), "{error}");
        assert!(rounds.reading.current().await.is_err());
    }
}
