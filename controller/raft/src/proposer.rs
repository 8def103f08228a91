//! Packs commands into log entries: one entry, one sync, for everything that queued while the last were in flight.
//!
//! There is no timer. A lone command is proposed at once; under load the batch grows by itself (up to
//! [`MAX_COMMANDS`] or [`MAX_BYTES`]), because at most [`IN_FLIGHT`] entries are proposed and not yet applied.
//!
//! Whoever leads commits what is proposed; it is answered where it was taken, once it is applied there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::impls::ProgressResponder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use verger_controller_state::{InvalidCommand, Refused, Response, limits};
use verger_proto::peer::v1 as pb;

use crate::codec;
use crate::failing;
use crate::leading::{self, Leads};
use crate::member::{ProposeError, Raft};
use crate::membership;
use crate::peers::{PeerError, Peers};
use crate::room::Room;
use crate::runtime::Background;
use crate::state_machine::Applied;
use crate::tickets::{Ticket, Tickets, Unanswerable};
use crate::types::{Batch, Origin, Replies};

/// The most commands in one entry.
const MAX_COMMANDS: usize = 256;
/// The most bytes in one entry, unless a single command is larger.
const MAX_BYTES: usize = 256 << 10;
/// Entries proposed and not yet applied.
const IN_FLIGHT: usize = 3;
/// Commands that wait: past it, callers wait for a place (back-pressure, not loss). Four full entries.
const QUEUE: usize = 4 * MAX_COMMANDS;
/// Bytes of the commands that wait or are carried: four of the largest. What a leader took that nobody confirmed counts no more.
const QUEUE_BYTES: usize = 4 * limits::COMMAND_BYTES;
/// How long a leader is looked for, from when a command was given, while it is known to be written nowhere.
const FIND_WITHIN: Duration = Duration::from_secs(10);
/// How long is waited for what was given to a leader, before nobody knows what became of it. Whatever Raft does with it later, nobody gives it
/// to anybody once more.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// Who does not answer any more has stopped by then, and says why.
const STOPPED_WITHIN: Duration = Duration::from_secs(1);

/// How long is waited where the leader takes nothing for a moment.
const MOMENT: Duration = Duration::from_millis(50);

type Answer = oneshot::Sender<Result<Response, ProposeError>>;

/// The queue in front of Raft. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// What it takes to have commands committed.
pub(crate) struct Carrier {
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) applied: Arc<Applied>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) room: Arc<Room>,
}

/// A command, since when and who waits for its answer, and the room it takes until then.
struct Waiting {
    command: Bytes,
    since: Instant,
    answer: Answer,
    room: OwnedSemaphorePermit,
}

impl Proposer {
    /// Starts the packing task.
    pub(crate) fn start(carrier: Carrier) -> (Self, Background) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        let packing = Background::start(pack(Arc::new(carrier), waiting));
        (Self { queue, room }, packing)
    }

    /// Proposes one encoded command and waits until it is applied. Cancelling takes it back while it waits for those before it. One that is too long is
    /// answered as every member would answer it, and is not written.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Response, ProposeError> {
        let size = command.len();
        let Some(bytes) = u32::try_from(size).ok().filter(|_| size <= limits::COMMAND_BYTES) else {
            let why = Refused::Invalid(InvalidCommand::TooLarge(size));
            return Ok(Response::Refused(why));
        };
        let since = Instant::now();
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let (answer, reply) = oneshot::channel();
        let waiting = Waiting {
            command,
            since,
            answer,
            room: room.expect("never closed"),
        };
        self.queue
            .send(waiting)
            .await
            .map_err(|_| ProposeError::Stopped)?;
        reply.await.map_err(|_| ProposeError::Stopped)?
    }
}

async fn pack(carrier: Arc<Carrier>, mut waiting: mpsc::Receiver<Waiting>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut proposals = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        let Some(first) = waiting.recv().await else {
            break;
        };
        if first.answer.is_closed() {
            continue;
        }
        let mut size = first.command.len();
        let mut commands = vec![first.command];
        let mut answers = vec![first.answer];
        let mut taken = first.room;
        // It waited longest.
        let since = first.since;
        while commands.len() < MAX_COMMANDS && size < MAX_BYTES {
            let Ok(Waiting {
                command,
                since: _,
                answer,
                room,
            }) = waiting.try_recv()
            else {
                break;
            };
            // Whoever asked has gone: what comes of it is not to come later than they were told that it is not known.
            if answer.is_closed() {
                continue;
            }
            size += command.len();
            commands.push(command);
            answers.push(answer);
            taken.merge(room);
        }
        let carrier = Arc::clone(&carrier);
        proposals.spawn(async move {
            let result = carrier.carry(commands, since + FIND_WITHIN).await;
            drop((place, taken));
            answer_all(answers, result);
        });
        while proposals.try_join_next().is_some() {}
    }
    while proposals.join_next().await.is_some() {}
}

/// What became of commands that somebody was given to commit.
enum Given {
    /// They are committed.
    Committed,
    /// They are written nowhere.
    Nowhere,
    /// Nor will they be for a moment: the leader hands over, or waits to hear from a quorum.
    NotNow,
    /// They may be written.
    Somewhere(String),
    /// Whoever leads in a later term does not have them, and nobody else ever will.
    Superseded,
    /// They are applied.
    Answered(Replies),
    /// Who was given them cannot write, or could not read them; whether they are written somewhere is not known either, and is not waited for.
    Failed(String),
}

impl Carrier {
    /// Has commands committed by whoever leads, and gives their answers. After the deadline they are given to nobody.
    async fn carry(&self, commands: Vec<Bytes>, deadline: Instant) -> Result<Replies, ProposeError> {
        let mut ticket = self.tickets.take();
        let mut batch = Batch {
            commands,
            origin: Some(ticket.origin()),
        };
        loop {
            match ticket.try_answered() {
                Ok(Some(replies)) => return Ok(replies),
                Ok(None) => {}
                // A snapshot came meanwhile. Nothing that was tried up to here is written anywhere, so that nothing of it is in there.
                Err(Unanswerable) => {
                    ticket = self.tickets.take();
                    batch.origin = Some(ticket.origin());
                }
            }
            // It is written nowhere.
            if Instant::now() >= deadline {
                return Err(ProposeError::NotLeader);
            }
            let leads = leading::now(&self.raft);
            let known = Instant::now() + KNOWN_WITHIN;
            let given = match &leads {
                None => Given::Nowhere,
                Some(leads) => tokio::select! {
                    biased;
                    given = self.give(leads, &batch, ticket.origin()) => given,
                    // Who was given it may never answer.
                    () = self.is_superseded(leads.term()) => Given::Superseded,
                },
            };
            let given = match (given, &leads) {
                (Given::Committed, Some(leads)) => {
                    let why = "the leader says that it is committed";
                    self.known(&mut ticket, leads, known, why).await?
                }
                (Given::Somewhere(why), Some(leads)) => self.known(&mut ticket, leads, known, &why).await?,
                (given, _) => given,
            };
            match given {
                Given::Answered(replies) => return Ok(replies),
                Given::Failed(why) => return Err(ProposeError::Failed(why)),
                Given::Superseded => match ticket.try_answered().map_err(unknown)? {
                    Some(replies) => return Ok(replies),
                    // It is written nowhere, and never will be: whoever leads now is given it, once this member knows who that is. Not if that
                    // comes late: whoever asked went away, and has not to find it done when they have long done otherwise.
                    None if leading::changes(&self.raft, leads.as_ref(), deadline).await => {}
                    None => return Err(ProposeError::NotLeader),
                },
                // Nothing was written: somebody else may write it, or who was not reached, or takes nothing for a moment, in a moment.
                _ if Instant::now() < deadline => {
                    let moment = deadline.min(Instant::now() + MOMENT);
                    if !leading::changes_or_passes(&self.raft, leads.as_ref(), moment).await {
                        return Err(ProposeError::NotLeader);
                    }
                }
                _ => return Err(ProposeError::NotLeader),
            }
        }
    }

    /// Gives a batch to who leads.
    async fn give(&self, leads: &Leads, batch: &Batch, origin: Origin) -> Given {
        match leads {
            Leads::Here(term) => commit_in_time(&self.raft, &self.room, batch.clone(), *term).await,
            Leads::There(term, _, node) => {
                // What is answered is applied here first, and that takes space.
                if let Some(why) = self.room.own() {
                    return Given::Failed(why);
                }
                let peer = self.peers.peer(&node.name, &node.address);
                let request = pb::ProposeRequest {
                    origin: Some(codec::encode_origin(&origin)),
                    commands: batch.commands.clone(),
                    term: *term,
                };
                given(peer.propose(request, KNOWN_WITHIN).await)
            }
        }
    }

    /// Waits until entries of a later term are applied here. What was given to who led in this one, and is not applied by then, is in no
    /// log that a leader can have (leader completeness, Raft §5.4), and who leads in another term does not take it.
    async fn is_superseded(&self, term: u64) {
        let mut applied = self.applied.term.receiver();
        if applied.until(|now| *now > term).await.is_err() {
            // The member stops: who waits is told by that.
            std::future::pending().await
        }
    }

    /// The answers to what may be written, once it is applied here.
    async fn known(
        &self,
        ticket: &mut Ticket<'_>,
        leads: &Leads,
        within: Instant,
        why: &str,
    ) -> Result<Given, ProposeError> {
        tokio::select! {
            biased;
            answered = timeout_at(within, ticket.answered()) => match answered {
                Ok(Ok(replies)) => Ok(Given::Answered(replies)),
                Ok(Err(gone)) => Err(unknown(gone)),
                Err(_) => Err(ProposeError::Unknown(why.to_owned())),
            },
            () = self.is_superseded(leads.term()) => Ok(Given::Superseded),
        }
    }
}

/// What was given may be in the snapshot, and is not given again.
fn unknown(Unanswerable: Unanswerable) -> ProposeError {
    ProposeError::Unknown("this member stops, or got a snapshot in place of the answer".to_owned())
}

/// As [`commit`]; a leader that hears from no quorum waits for ever.
async fn commit_in_time(raft: &Raft, room: &Room, batch: Batch, term: u64) -> Given {
    timeout(KNOWN_WITHIN, commit(raft, room, batch, term))
        .await
        .unwrap_or_else(|_| Given::Somewhere(format!("no quorum has confirmed it within {KNOWN_WITHIN:?}")))
}

/// Has the leader of this term, which this member is, commit a batch. It was given away for this term alone: Raft itself looks at that again
/// when it takes it.
async fn commit(raft: &Raft, room: &Room, batch: Batch, term: u64) -> Given {
    if leading::now(raft) != Some(Leads::Here(term)) {
        return Given::Nowhere;
    }
    if let Some(why) = room.of_quorum(|| membership::standing(raft)) {
        return Given::Failed(why);
    }
    if room.own().is_some() {
        // Another is about to lead, who has space.
        return Given::NotNow;
    }
    // From here on it may be written, whatever is answered: another may lead by then.
    let (responder, committed) = ProgressResponder::complete_only();
    if let Err(error) = raft.write(batch).with_leader(term).responder(responder).await {
        return Given::Failed(error.to_string());
    }
    let leads_no_more = || Given::Somewhere("this member led, and does not any more".to_owned());
    match committed.await {
        Ok(Ok(_)) => Given::Committed,
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => match forward.reason {
            // It leads, and took nothing.
            ForwardReason::LeadershipTransfer | ForwardReason::LeaseExpired => Given::NotNow,
            _ => leads_no_more(),
        },
        // Who leads now has something else in its place, or has it elsewhere.
        Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => leads_no_more(),
        Ok(Err(error)) => Given::Failed(error.to_string()),
        // It stops, or is as good as stopped.
        Err(_) => {
            let why = timeout(STOPPED_WITHIN, failing::stopped(raft)).await;
            Given::Failed(why.unwrap_or_else(|_| "Raft did not say what became of it".to_owned()))
        }
    }
}

/// The same for a peer that took the batch.
pub(crate) async fn commit_for(raft: &Raft, room: &Room, batch: Batch, term: u64) -> pb::ProposeResponse {
    use pb::propose_response::Outcome;
    let refusal = |not_leader, unknown, reason| {
        Outcome::Refused(pb::Refusal {
            not_leader,
            unknown,
            reason,
        })
    };
    let outcome = match commit_in_time(raft, room, batch, term).await {
        Given::Committed | Given::Answered(_) => Outcome::Proposed(pb::Proposed {}),
        Given::Nowhere | Given::Superseded => refusal(true, false, String::new()),
        Given::NotNow => refusal(true, true, String::new()),
        Given::Somewhere(why) => refusal(false, true, why),
        Given::Failed(why) => refusal(false, false, why),
    };
    pb::ProposeResponse {
        outcome: Some(outcome),
    }
}

fn given(answer: Result<pb::ProposeResponse, PeerError>) -> Given {
    use pb::propose_response::Outcome;
    match answer.map(|answer| answer.outcome) {
        Ok(Some(Outcome::Proposed(pb::Proposed {}))) => Given::Committed,
        Ok(Some(Outcome::Refused(pb::Refusal {
            not_leader,
            unknown,
            reason,
        }))) => match (not_leader, unknown) {
            (true, false) => Given::Nowhere,
            (true, true) => Given::NotNow,
            (false, true) => Given::Somewhere(reason),
            (false, false) => Given::Failed(reason),
        },
        Ok(None) => Given::Somewhere("the leader's answer says nothing".to_owned()),
        Err(PeerError::Unreachable(_)) => Given::Nowhere,
        Err(PeerError::Refused(why)) => Given::Failed(why),
        Err(PeerError::Lost(why)) => Given::Somewhere(why),
    }
}

fn answer_all(answers: Vec<Answer>, result: Result<Replies, ProposeError>) {
    match result {
        Ok(replies) => {
            debug_assert_eq!(replies.len(), answers.len(), "a reply per command");
            for (answer, reply) in answers.into_iter().zip(replies) {
                // A caller that went away needs no answer.
                let _ = answer.send(Ok(reply));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}
