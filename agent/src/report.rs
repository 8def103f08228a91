//! Driving the stream of findings: sockets, disk and timers around the state machine of the core.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use verger_agent_core::report::{Report, ReportAction, ReportEvent};
use verger_agent_core::store::{Numbered, SpoolStore, SpoolUsage, StoreError};
use verger_policy::digest::Digest;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;
use verger_seal::SignedHead;
use verger_wire::{IntoWire as _, digest_bytes};

use crate::controller::Controllers;
use crate::link::{Heard, Link};
use crate::signing::HeadSigner;

/// What the report needs of the rest of the agent.
pub(crate) struct ReportPorts {
    pub(crate) controllers: Arc<Controllers>,
    pub(crate) spool: Arc<dyn SpoolStore>,
    /// The last number given.
    pub(crate) spooled: watch::Receiver<u64>,
    /// Whether controllers' numbers are this host's: the reconciler raises it where they are not.
    pub(crate) contradicted: watch::Sender<Numbers>,
    /// Signs where the findings stand.
    pub(crate) signer: Arc<HeadSigner>,
}

/// A batch that was read, with what is signed of the spool as it is after it.
#[derive(Default)]
struct Read {
    batch: Vec<Numbered>,
    head: Option<(u64, SignedHead)>,
}

/// A stream that has been up for so long without a word holds nothing against this host's numbers.
const HEARD_AFTER: Duration = Duration::from_mins(1);

/// What is known in this run of how controllers' numbers of findings fit this host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// No controller has said anything yet.
    #[default]
    NotHeard,
    /// They fit.
    Fit,
    /// They do not, or did not since this run began.
    Contradict(Contradiction),
}

/// A controller acknowledged more transitions of findings than this agent has ever numbered, fewer than it acknowledged before,
/// or holds others under the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// The number acknowledged.
    pub(crate) acknowledged: u64,
    /// The last number given.
    pub(crate) last: u64,
    /// The numbers fit, and what stands under them does not.
    pub(crate) other_chain: bool,
}

type ReportLink = Link<pb::ReportRequest, pb::ReportResponse>;

/// Runs until stopped.
pub(crate) async fn drive(mut report: Report, mut ports: ReportPorts, stop: CancellationToken) {
    let began = Instant::now();
    let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut link = Link::Down;
    let mut loading: Option<oneshot::Receiver<Read>> = None;
    // Of the batch that was read last.
    let mut head: Option<(u64, SignedHead)> = None;
    let mut beginning: Option<oneshot::Receiver<Result<SpoolUsage, StoreError>>> = None;
    let mut up_since: Option<Instant> = None;
    loop {
        let deadline = report
            .deadline()
            .map(|at| Duration::from_millis(at.saturating_sub(now())));
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = next_of_link(&mut link, &ports.controllers) => event,
            read = loaded(&mut loading) => {
                head = read.head;
                ReportEvent::Loaded(read.batch)
            }
            event = begun(&mut beginning) => event,
            changed = ports.spooled.changed() => {
                if changed.is_err() { return }
                ReportEvent::Spooled { last: *ports.spooled.borrow_and_update() }
            }
            () = sleep(deadline) => ReportEvent::Tick,
            () = quiet(&ports.contradicted, up_since) => {
                fit(&ports.contradicted);
                continue;
            }
        };
        let acknowledges = matches!(event, ReportEvent::Acknowledged { .. });
        match event {
            ReportEvent::Connected => up_since = Some(Instant::now()),
            ReportEvent::Disconnected { .. } => {
                up_since = None;
                link = Link::Down;
            }
            _ => {}
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in report.on(now(), event) {
                match action {
                    ReportAction::Connect { after } => {
                        link = open(Arc::clone(&ports.controllers), after);
                    }
                    ReportAction::Close { why } => {
                        tracing::info!(why, "closing the findings stream");
                        link = Link::Down;
                        up_since = None;
                    }
                    ReportAction::Load { from, max, max_bytes } => {
                        loading = Some(load(&ports, from, max, max_bytes));
                    }
                    ReportAction::Send { batch, anew } => {
                        let last = batch.last().map_or(0, |last| last.sequence);
                        let signed = head.take().filter(|(sequence, _)| *sequence == last);
                        let first = batch.first().map_or(0, |first| first.sequence);
                        let before = chain_before(&*ports.spool, first, anew);
                        link.send(|| message(first, &batch, before, signed, ports.controllers.machine()));
                    }
                    ReportAction::Sign { last, anew } => {
                        let (spool, signer) = (Arc::clone(&ports.spool), Arc::clone(&ports.signer));
                        // What was spooled meanwhile must not be passed over: the message says where the next one begins.
                        let signing = move || signed(&*spool, &signer, last);
                        if let Ok(Some((last, head))) = tokio::task::spawn_blocking(signing).await {
                            let before = chain_before(&*ports.spool, last + 1, anew);
                            link.send(|| {
                                message(
                                    last + 1,
                                    &[],
                                    before,
                                    Some((last, head)),
                                    ports.controllers.machine(),
                                )
                            });
                        }
                    }
                    ReportAction::Forget { sequence, chain } => {
                        let spool = Arc::clone(&ports.spool);
                        let forgot =
                            tokio::task::spawn_blocking(move || forget(&*spool, sequence, chain)).await;
                        match forgot {
                            Ok(Ok(true)) => {}
                            Ok(Ok(false)) => events.push_back(ReportEvent::OtherChain { sequence }),
                            Ok(Err(error)) => {
                                tracing::error!(%error, "acknowledged findings stay in the spool");
                            }
                            Err(error) => tracing::error!(%error, "the forgetting task was lost"),
                        }
                    }
                    ReportAction::Contradiction {
                        acknowledged,
                        last,
                        other_chain,
                    } => {
                        tracing::error!(
                            acknowledged,
                            last,
                            other_chain,
                            "what a controller holds of this host's findings is not what this host told; everything is told anew"
                        );
                        let spool = Arc::clone(&ports.spool);
                        let (done, answer) = oneshot::channel();
                        tokio::task::spawn_blocking(move || drop(done.send(spool.begin_anew(acknowledged))));
                        beginning = Some(answer);
                        ports
                            .contradicted
                            .send_replace(Numbers::Contradict(Contradiction {
                                acknowledged,
                                last,
                                other_chain,
                            }));
                    }
                }
            }
        }
        if acknowledges {
            fit(&ports.contradicted);
        }
    }
}

/// Takes note that nothing contradicts, unless something did.
fn fit(numbers: &watch::Sender<Numbers>) {
    numbers.send_if_modified(|held| {
        let first = *held == Numbers::NotHeard;
        if first {
            *held = Numbers::Fit;
        }
        first
    });
}

/// Waits until a stream has been up for long enough for the first time.
async fn quiet(numbers: &watch::Sender<Numbers>, up_since: Option<Instant>) {
    match up_since {
        Some(since) if *numbers.borrow() == Numbers::NotHeard => {
            tokio::time::sleep_until((since + HEARD_AFTER).into()).await;
        }
        _ => pending().await,
    }
}

/// Reads a batch, and signs where the findings stand if it reaches the end of the spool.
fn load(ports: &ReportPorts, from: u64, max: usize, max_bytes: usize) -> oneshot::Receiver<Read> {
    let (spool, signer) = (Arc::clone(&ports.spool), Arc::clone(&ports.signer));
    let (done, answer) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let batch = spool.pending(from, max, max_bytes).unwrap_or_else(|error| {
            tracing::error!(%error, "the spool of findings cannot be read");
            Vec::new()
        });
        let last = batch.last().map(|last| last.sequence);
        let head = last.and_then(|last| signed(&*spool, &signer, last));
        let _ = done.send(Read { batch, head });
    });
    answer
}

/// What is signed of the spool as it is after `last`; nothing where it has moved on.
fn signed(spool: &dyn SpoolStore, signer: &HeadSigner, last: u64) -> Option<(u64, SignedHead)> {
    signer.sign(spool, last).unwrap_or_else(|error| {
        // Controllers and people see an old one.
        tracing::error!(%error, "where the findings stand was not signed");
        None
    })
}

/// Forgets what is acknowledged, and says whether the controller's chain is this host's.
fn forget(spool: &dyn SpoolStore, sequence: u64, chain: Option<Digest>) -> Result<bool, StoreError> {
    if let (Some(theirs), Some(ours)) = (chain, spool.chain_at(sequence)?)
        && theirs != ours
    {
        return Ok(false);
    }
    spool.acknowledge(sequence).map(|()| true)
}

/// The chain before the first of what is told anew.
fn chain_before(spool: &dyn SpoolStore, first: u64, anew: bool) -> Option<Option<Digest>> {
    anew.then(|| {
        spool.chain_at(first.saturating_sub(1)).unwrap_or_else(|error| {
            tracing::error!(%error, "the chain of findings cannot be read");
            None
        })
    })
}

fn message(
    first_sequence: u64,
    batch: &[Numbered],
    anew: Option<Option<Digest>>,
    head: Option<(u64, SignedHead)>,
    machine: Bytes,
) -> pb::ReportRequest {
    pb::ReportRequest {
        machine,
        anew: anew.is_some(),
        chain_before: anew.flatten().as_ref().map(digest_bytes).unwrap_or_default(),
        first_sequence,
        transitions: batch
            .iter()
            .map(|numbered| (&numbered.transition).into_wire())
            .collect(),
        head: head.map(|(_, head)| (&head).into_wire()),
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => pending().await,
    }
}

async fn begun(beginning: &mut Option<oneshot::Receiver<Result<SpoolUsage, StoreError>>>) -> ReportEvent {
    let Some(answer) = beginning.as_mut() else {
        return pending().await;
    };
    let begun = answer.await;
    *beginning = None;
    match begun {
        Ok(Ok(usage)) => ReportEvent::BegunAnew {
            acknowledged: usage.acknowledged,
            last: usage.next_sequence - 1,
        },
        Ok(Err(error)) => {
            tracing::error!(%error, "findings could not be told anew; trying again at the next contradiction");
            ReportEvent::NotBegun
        }
        Err(_) => ReportEvent::NotBegun,
    }
}

async fn loaded(loading: &mut Option<oneshot::Receiver<Read>>) -> Read {
    let Some(answer) = loading.as_mut() else {
        return pending().await;
    };
    let read = answer.await.unwrap_or_default();
    *loading = None;
    read
}

/// What the link tells, as the state machine takes it in. Cancellation safe, as [`Link::next`] is.
async fn next_of_link(link: &mut ReportLink, controllers: &Controllers) -> ReportEvent {
    match link.next().await {
        Heard::Connected => ReportEvent::Connected,
        Heard::Message(pb::ReportResponse { acknowledged, chain }) => ReportEvent::Acknowledged {
            sequence: acknowledged,
            // One of another length is none of ours.
            chain: (!chain.is_empty()).then(|| {
                let bytes = <[u8; 32]>::try_from(&*chain);
                bytes.map_or_else(|_| Digest::of(&chain), Digest::from_bytes)
            }),
        },
        Heard::Lost(lost) => {
            tracing::info!(why = %lost, retry_after_ms = lost.retry_after, "no findings stream to a controller");
            controllers.turn_from(&lost);
            ReportEvent::Disconnected {
                retry_after: lost.retry_after,
            }
        }
    }
}

fn open(controllers: Arc<Controllers>, after: u64) -> ReportLink {
    Link::open(after, move |queue| async move {
        let call = |mut client: SessionServiceClient<_>| async move { client.report(queue).await };
        controllers.open(call).await
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_a_word_is_believed_after_a_while_and_none_is_not() {
        let (numbers, _) = watch::channel(Numbers::default());
        let up = Some(Instant::now());
        let soon = HEARD_AFTER - Duration::from_secs(1);
        tokio::time::timeout(soon, quiet(&numbers, up)).await.unwrap_err();
        tokio::time::timeout(HEARD_AFTER * 9, quiet(&numbers, None))
            .await
            .unwrap_err();
        let up = Some(tokio::time::Instant::now().into_std());
        tokio::time::timeout(HEARD_AFTER * 2, quiet(&numbers, up))
            .await
            .unwrap();
        fit(&numbers);
        assert_eq!(*numbers.borrow(), Numbers::Fit);
        // Once known, there is nothing to wait for.
        tokio::time::timeout(HEARD_AFTER * 9, quiet(&numbers, up))
            .await
            .unwrap_err();
    }

    #[test]
    fn a_contradiction_stays_one_whatever_fits_later() {
        let held = Numbers::Contradict(Contradiction {
            acknowledged: 9,
            last: 1,
            other_chain: false,
        });
        let (numbers, _) = watch::channel(held);
        fit(&numbers);
        assert_eq!(*numbers.borrow(), held);
    }
}
