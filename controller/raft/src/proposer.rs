//! Packs commands into log entries: one entry, one sync, for everything that queued while the last were in flight.
//!
//! There is no timer. A lone command is proposed at once; under load the batch grows by itself (up to
//! [`MAX_COMMANDS`] or [`MAX_BYTES`]), because at most [`IN_FLIGHT`] entries are proposed and not yet applied.
//!
//! Whoever leads commits what is proposed; it is answered where it was taken, once it is applied there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use verger_controller_state::{InvalidCommand, Refused, Response, limits};
use verger_proto::peer::v1 as pb;

use crate::codec;
use crate::leading::{self, Leads};
use crate::member::{ProposeError, Raft};
use crate::peers::{PeerError, Peers};
use crate::tickets::{Ticket, Tickets};
use crate::types::{Batch, Replies};

/// The most commands in one entry.
const MAX_COMMANDS: usize = 256;
/// The most bytes in one entry, unless a single command is larger.
const MAX_BYTES: usize = 256 << 10;
/// Entries proposed and not yet applied.
const IN_FLIGHT: usize = 3;
/// Commands that wait: past it, callers wait for a place (back-pressure, not loss). Four full entries.
const QUEUE: usize = 4 * MAX_COMMANDS;
/// Bytes of the commands that wait or are proposed: four of the largest. Callers that go away leave their commands.
const QUEUE_BYTES: usize = 4 * limits::COMMAND_BYTES;
/// How long a leader is looked for, and commands are known to be written nowhere.
const FIND_WITHIN: Duration = Duration::from_secs(10);
/// How long is waited for what may have been written, before nobody knows.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

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
    pub(crate) tickets: Arc<Tickets>,
}

/// A command, who waits for its answer, and the room it takes until then.
struct Waiting {
    command: Bytes,
    answer: Answer,
    room: OwnedSemaphorePermit,
}

impl Proposer {
    /// Starts the packing task; it ends when every clone is dropped.
    pub(crate) fn start(carrier: Carrier) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        let packing = tokio::spawn(pack(Arc::new(carrier), waiting));
        (Self { queue, room }, packing)
    }

    /// Proposes one encoded command and waits until it is applied. Cancelling does not take it back. One that is too long is
    /// answered as every member would answer it, and is not written.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Response, ProposeError> {
        let size = command.len();
        let Some(bytes) = u32::try_from(size).ok().filter(|_| size <= limits::COMMAND_BYTES) else {
            let why = Refused::Invalid(InvalidCommand::TooLarge(size));
            return Ok(Response::Refused(why));
        };
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let (answer, reply) = oneshot::channel();
        let waiting = Waiting {
            command,
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
        let mut size = first.command.len();
        let mut commands = vec![first.command];
        let mut answers = vec![first.answer];
        let mut taken = first.room;
        while commands.len() < MAX_COMMANDS && size < MAX_BYTES {
            let Ok(Waiting {
                command,
                answer,
                room,
            }) = waiting.try_recv()
            else {
                break;
            };
            size += command.len();
            commands.push(command);
            answers.push(answer);
            taken.merge(room);
        }
        let carrier = Arc::clone(&carrier);
        proposals.spawn(async move {
            let result = carrier.carry(commands).await;
            drop((place, taken));
            answer_all(answers, result);
        });
        while proposals.try_join_next().is_some() {}
    }
    while proposals.join_next().await.is_some() {}
}

/// What became of commands that somebody was given to commit.
enum Given {
    /// They are committed, up to this index.
    Committed(u64),
    /// They are written nowhere.
    Nowhere,
    /// They may be written.
    Somewhere(String),
    /// Who was given them cannot write, or could not read them; whether they are written somewhere is not known either, and is not waited for.
    Failed(String),
}

impl Carrier {
    /// Has commands committed by whoever leads, and gives their answers.
    async fn carry(&self, commands: Vec<Bytes>) -> Result<Replies, ProposeError> {
        let mut ticket = self.tickets.take();
        let batch = Batch {
            commands,
            origin: Some(ticket.origin()),
        };
        let deadline = Instant::now() + FIND_WITHIN;
        loop {
            let leads = leading::now(&self.raft);
            let given = match &leads {
                None => Given::Nowhere,
                Some(Leads::Here) => commit(&self.raft, batch.clone()).await,
                Some(Leads::There(_, node)) => {
                    let peer = self.peers.peer(&node.name, &node.address);
                    let request = pb::ProposeRequest {
                        origin: Some(codec::encode_origin(&ticket.origin())),
                        commands: batch.commands.clone(),
                    };
                    given(peer.propose(request, KNOWN_WITHIN).await)
                }
            };
            match given {
                Given::Committed(_) => {
                    return known(&mut ticket, "the leader says that it is committed").await;
                }
                Given::Somewhere(why) => return known(&mut ticket, &why).await,
                Given::Failed(why) => return Err(ProposeError::Failed(why)),
                // Nothing was written: somebody else may write it.
                Given::Nowhere if leading::changes(&self.raft, leads.as_ref(), deadline).await => {}
                Given::Nowhere => return Err(ProposeError::NotLeader),
            }
        }
    }
}

/// Has the leader, which this member is, commit a batch.
async fn commit(raft: &Raft, batch: Batch) -> Given {
    if !raft.is_leader() {
        return Given::Nowhere;
    }
    // From here on it may be written, whatever is answered: another may lead by then.
    match raft.client_write(batch).await {
        Ok(done) => Given::Committed(done.log_id.index),
        Err(error) if error.forward_to_leader().is_some() => {
            Given::Somewhere("this member led, and does not any more".to_owned())
        }
        Err(error) => Given::Failed(error.to_string()),
    }
}

/// The same for a peer that took the batch.
pub(crate) async fn commit_for(raft: &Raft, batch: Batch) -> pb::ProposeResponse {
    use pb::propose_response::Outcome;
    let refusal = |not_leader, unknown, reason| {
        Outcome::Refused(pb::Refusal {
            not_leader,
            unknown,
            reason,
        })
    };
    let outcome = match commit(raft, batch).await {
        Given::Committed(index) => Outcome::Proposed(pb::Proposed { index }),
        Given::Nowhere => refusal(true, false, String::new()),
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
        Ok(Some(Outcome::Proposed(pb::Proposed { index }))) => Given::Committed(index),
        Ok(Some(Outcome::Refused(pb::Refusal {
            not_leader,
            unknown,
            reason,
        }))) => match (not_leader, unknown) {
            (true, _) => Given::Nowhere,
            (false, true) => Given::Somewhere(reason),
            (false, false) => Given::Failed(reason),
        },
        Ok(None) => Given::Somewhere("the leader's answer says nothing".to_owned()),
        Err(PeerError::Unreachable(_)) => Given::Nowhere,
        Err(PeerError::Refused(why)) => Given::Failed(why),
        Err(PeerError::Lost(why)) => Given::Somewhere(why),
    }
}

/// The answers to what may be written, once it is applied here.
async fn known(ticket: &mut Ticket<'_>, why: &str) -> Result<Replies, ProposeError> {
    match timeout_at(Instant::now() + KNOWN_WITHIN, ticket.answered()).await {
        Ok(Some(replies)) => Ok(replies),
        Ok(None) => Err(ProposeError::Stopped),
        Err(_) => Err(ProposeError::Unknown(why.to_owned())),
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
