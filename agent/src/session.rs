//! Driving the policy session: sockets, disk and timers around the state machine of the core.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use verger_agent_core::freshness::Freshness;
use verger_agent_core::ledger::{Beside, LedgerState};
use verger_agent_core::session::{Action, Event, Incoming, Offers, Session};
use verger_agent_core::store::{LedgerStore, StoreError};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;

use crate::clock::Clock;
use crate::controller::Controllers;
use crate::floor::FloorFile;
use crate::link::{Heard, Link};
use crate::wire;
use verger_wire::InvalidMessage;

/// Controllers are told this often that the agent is there: the time between two of their own heartbeats. Of one that is not heard of
/// three times they say that it is silent.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// What the session needs of the rest of the agent.
pub(crate) struct SessionPorts {
    pub(crate) controllers: Arc<Controllers>,
    pub(crate) ledger: Arc<dyn LedgerStore>,
    /// What is in force: the reconciler is woken by it.
    pub(crate) adopted: watch::Sender<Arc<LedgerState>>,
    /// What became of what was offered: the reconciler raises what was refused.
    pub(crate) offers: watch::Sender<Offers>,
    /// The whole status, as the reconciler last made it.
    pub(crate) status: watch::Receiver<Arc<pb::Status>>,
    pub(crate) clock: Clock,
    /// What is known of freshness and time: the reconciler judges by it.
    pub(crate) known: watch::Sender<Freshness>,
    pub(crate) floor: FloorFile,
}

type SessionLink = Link<pb::ConnectRequest, pb::ConnectResponse>;

/// Runs until stopped.
pub(crate) async fn drive(mut session: Session, mut ports: SessionPorts, stop: CancellationToken) {
    let clock = ports.clock;
    let now = move || clock.now();
    let mut link = Link::Down;
    // A session that was closed goes on until another is open: why a set was refused is said on it.
    let mut left = None;
    let mut writing: Option<oneshot::Receiver<Result<(), StoreError>>> = None;
    // By itself, and not in answer to a heartbeat: one may be on its way behind a large set.
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let deadline = session
            .deadline()
            .map(|at| Duration::from_millis(at.saturating_sub(now().millis)));
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = next_of_link(&mut link, &ports.controllers) => event,
            done = finished(&mut writing) => match done {
                Ok(()) => Event::LedgerCommitted,
                Err(why) => Event::LedgerFailed { why },
            },
            changed = ports.status.changed() => {
                if changed.is_err() { return }
                Event::StatusChanged
            }
            () = sleep(deadline) => Event::Tick,
            _ = alive.tick() => {
                link.send(wire::alive);
                continue;
            }
        };
        if matches!(event, Event::Disconnected { .. } | Event::Unreadable { .. }) {
            link = Link::Down;
        }
        let mut actions = VecDeque::from(session.on(now(), event));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Connect { after } => {
                    ports.controllers.believe(session.freshness().certain(now()));
                    link = open(Arc::clone(&ports.controllers), after, left.take());
                }
                Action::Close { why } => {
                    tracing::info!(why, "closing the session");
                    left = link.leave();
                }
                Action::Send(message) => {
                    let machine = ports.controllers.machine();
                    link.send(|| wire::outgoing(message, machine, || (**ports.status.borrow()).clone()));
                }
                Action::Persist(delta) => {
                    let ledger = Arc::clone(&ports.ledger);
                    let (done, answer) = oneshot::channel();
                    tokio::task::spawn_blocking(move || drop(done.send(ledger.commit(&delta))));
                    writing = Some(answer);
                }
                Action::Adopt(state) => {
                    let epoch = state.position().map(|(epoch, _)| epoch);
                    tracing::info!(epoch, "a policy set was verified and is in force");
                    ports.adopted.send_replace(state);
                }
                Action::Keep(beside) => {
                    let kept = keep(&ports.floor, &beside);
                    actions.extend(session.on(now(), kept));
                }
                Action::Know(freshness) => {
                    ports.controllers.believe(freshness.certain(now()));
                    ports.known.send_replace(*freshness);
                }
            }
        }
        tell(session.offers(), &ports.offers);
    }
}

/// Keeps what is known beside the ledger, and says how that went.
fn keep(file: &FloorFile, beside: &Beside) -> Event {
    // A few milliseconds, some times an hour: what else runs on this thread can wait.
    match file.keep(beside) {
        Ok(()) => Event::Kept,
        Err(error) => {
            let why = format!("{error:#}");
            tracing::error!(error = %why, "how far this host has come is not kept beside its ledger; trying again");
            Event::NotKept { why }
        }
    }
}

/// Passes on what is new.
fn tell(offers: &Offers, told: &watch::Sender<Offers>) {
    told.send_if_modified(|told| {
        let news = told.news() != offers.news();
        if news {
            offers.clone_into(told);
        }
        news
    });
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => pending().await,
    }
}

async fn finished(writing: &mut Option<oneshot::Receiver<Result<(), StoreError>>>) -> Result<(), String> {
    let Some(answer) = writing.as_mut() else {
        return pending().await;
    };
    let result = match answer.await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the writing task was lost".to_owned()),
    };
    *writing = None;
    result
}

/// What the link tells, as the state machine takes it in. Cancellation safe, as [`Link::next`] is.
/// What a message says, once what it says of the members is kept.
fn told(mut message: pb::ConnectResponse, controllers: &Controllers) -> Result<Incoming, InvalidMessage> {
    let members = wire::members(&mut message);
    if !members.is_empty() {
        controllers.know(members);
    }
    wire::incoming(message)
}

async fn next_of_link(link: &mut SessionLink, controllers: &Controllers) -> Event {
    match link.next().await {
        Heard::Connected => {
            tracing::info!("connected to a controller");
            Event::Connected
        }
        Heard::Message(message) => match told(message, controllers) {
            Ok(message) => {
                if let Incoming::Unread { reason, detail, .. } = &message {
                    tracing::warn!(
                        reason,
                        detail,
                        "a policy set was offered that cannot be looked at"
                    );
                }
                Event::Message(message)
            }
            Err(error) => {
                tracing::warn!(%error, "the controller sent what has no meaning");
                Event::Unreadable {
                    why: error.to_string(),
                }
            }
        },
        Heard::Lost(lost) if lost.unreadable => {
            controllers.turn_from(&lost);
            tracing::warn!(why = %lost, "the controller sent what is no message, or too long for one");
            Event::Unreadable {
                why: lost.to_string(),
            }
        }
        Heard::Lost(lost) => {
            tracing::info!(why = %lost, retry_after_ms = lost.retry_after, "no session with a controller");
            controllers.turn_from(&lost);
            Event::Disconnected {
                retry_after: lost.retry_after,
            }
        }
    }
}

fn open(
    controllers: Arc<Controllers>,
    after: u64,
    left: Option<Streaming<pb::ConnectResponse>>,
) -> SessionLink {
    Link::open(after, move |queue| async move {
        let _left = left;
        let call = |mut client: SessionServiceClient<_>| async move { client.connect(queue).await };
        controllers.open(call).await
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::controller::full_tests::Members;

    #[tokio::test]
    async fn both_streams_that_one_ends_for_want_of_space_turn_to_another_once() {
        let members = Members::new().await;
        let controllers = &members.controllers;
        let begin = || open(Arc::clone(controllers), 0, None);
        let (mut first, mut second) = (begin(), begin());
        // Both are up before either is lost.
        for link in [&mut first, &mut second] {
            assert!(matches!(next_of_link(link, controllers).await, Event::Connected));
        }
        for link in [&mut first, &mut second] {
            let lost = next_of_link(link, controllers).await;
            let Event::Disconnected { retry_after } = lost else {
                panic!("it is ended, not {lost:?}");
            };
            assert_eq!(retry_after, Some(1));
        }
        let mut third = begin();
        assert!(matches!(
            next_of_link(&mut third, controllers).await,
            Event::Connected
        ));
        let sessions = [&members.full, &members.roomy].map(|asked| asked.sessions.load(Ordering::SeqCst));
        assert_eq!(sessions, [2, 1]);
    }
}
