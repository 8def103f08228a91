//! Driving the stream of findings: sockets, disk and timers around the state machine of the core.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use verger_agent_core::report::{Report, ReportAction, ReportEvent};
use verger_agent_core::store::{Numbered, SpoolStore, SpoolUsage, StoreError};
use verger_proto::agent::v1 as pb;
use verger_wire::IntoWire as _;

use crate::controller::Controllers;
use crate::link::{Heard, Link, Lost};

/// What the report needs of the rest of the agent.
pub(crate) struct ReportPorts {
    pub(crate) controllers: Arc<Controllers>,
    pub(crate) spool: Arc<dyn SpoolStore>,
    /// The last number given.
    pub(crate) spooled: watch::Receiver<u64>,
    /// Whether controllers' numbers are this host's: the reconciler raises it where they are not.
    pub(crate) contradicted: watch::Sender<Numbers>,
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

/// A controller acknowledged more transitions of findings than this agent has ever numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// The number acknowledged.
    pub(crate) acknowledged: u64,
    /// The last number given.
    pub(crate) last: u64,
}

type ReportLink = Link<pb::ReportRequest, pb::ReportResponse>;

/// Runs until stopped.
pub(crate) async fn drive(mut report: Report, mut ports: ReportPorts, stop: CancellationToken) {
    let began = Instant::now();
    let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut link = Link::Down;
    let mut loading: Option<oneshot::Receiver<Vec<Numbered>>> = None;
    let mut beginning: Option<oneshot::Receiver<Result<SpoolUsage, StoreError>>> = None;
    let mut up_since: Option<Instant> = None;
    loop {
        let deadline = report
            .deadline()
            .map(|at| Duration::from_millis(at.saturating_sub(now())));
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = next_of_link(&mut link) => event,
            batch = loaded(&mut loading) => ReportEvent::Loaded(batch),
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
                    let spool = Arc::clone(&ports.spool);
                    let (done, answer) = oneshot::channel();
                    tokio::task::spawn_blocking(move || {
                        let batch = spool.pending(from, max, max_bytes).unwrap_or_else(|error| {
                            tracing::error!(%error, "the spool of findings cannot be read");
                            Vec::new()
                        });
                        let _ = done.send(batch);
                    });
                    loading = Some(answer);
                }
                ReportAction::Send { batch, anew } => {
                    link.send(|| message(&batch, anew, ports.controllers.machine()));
                }
                ReportAction::Forget { sequence } => {
                    let spool = Arc::clone(&ports.spool);
                    let forgot = tokio::task::spawn_blocking(move || spool.acknowledge(sequence)).await;
                    if let Ok(Err(error)) = forgot {
                        tracing::error!(%error, "acknowledged findings stay in the spool");
                    }
                }
                ReportAction::Contradiction { acknowledged, last } => {
                    tracing::error!(
                        acknowledged,
                        last,
                        "a controller's numbers of findings are not those of this host; everything is told anew"
                    );
                    let spool = Arc::clone(&ports.spool);
                    let (done, answer) = oneshot::channel();
                    tokio::task::spawn_blocking(move || drop(done.send(spool.begin_anew(acknowledged))));
                    beginning = Some(answer);
                    ports
                        .contradicted
                        .send_replace(Numbers::Contradict(Contradiction { acknowledged, last }));
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

fn message(batch: &[Numbered], anew: bool, machine: Bytes) -> pb::ReportRequest {
    pb::ReportRequest {
        anew,
        machine,
        first_sequence: batch.first().map_or(0, |first| first.sequence),
        transitions: batch
            .iter()
            .map(|numbered| (&numbered.transition).into_wire())
            .collect(),
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

async fn loaded(loading: &mut Option<oneshot::Receiver<Vec<Numbered>>>) -> Vec<Numbered> {
    let Some(answer) = loading.as_mut() else {
        return pending().await;
    };
    let batch = answer.await.unwrap_or_default();
    *loading = None;
    batch
}

/// What the link tells, as the state machine takes it in. Cancellation safe, as [`Link::next`] is.
async fn next_of_link(link: &mut ReportLink) -> ReportEvent {
    match link.next().await {
        Heard::Connected => ReportEvent::Connected,
        Heard::Message(pb::ReportResponse { acknowledged }) => ReportEvent::Acknowledged {
            sequence: acknowledged,
        },
        Heard::Lost(lost) => {
            tracing::info!(why = %lost, retry_after_ms = lost.retry_after, "no findings stream to a controller");
            ReportEvent::Disconnected {
                retry_after: lost.retry_after,
            }
        }
    }
}

fn open(controllers: Arc<Controllers>, after: u64) -> ReportLink {
    Link::open(after, move |queue| async move {
        let mut client = controllers.connect().await.map_err(Lost::because)?;
        Ok(client.report(queue).await?)
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
        });
        let (numbers, _) = watch::channel(held);
        fit(&numbers);
        assert_eq!(*numbers.borrow(), held);
    }
}
