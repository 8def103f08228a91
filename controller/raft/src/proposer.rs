//! Packs commands into log entries: one entry, one sync, for everything that queued while the last were in flight.
//!
//! There is no timer. A lone command is proposed at once; under load the batch grows by itself (up to
//! [`MAX_COMMANDS`] or [`MAX_BYTES`]), because at most [`IN_FLIGHT`] entries are proposed and not yet applied.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use verger_controller_state::{InvalidCommand, Refused, Response, limits};

use crate::member::ProposeError;
use crate::types::{Batch, Replies, TypeConfig};

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

type Answer = oneshot::Sender<Result<Response, ProposeError>>;
type Raft = openraft::Raft<TypeConfig, crate::state_machine::Machine>;

/// The queue in front of Raft. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// A command, who waits for its answer, and the room it takes until then.
struct Waiting {
    command: Bytes,
    answer: Answer,
    room: OwnedSemaphorePermit,
}

impl Proposer {
    /// Starts the packing task; it ends when every clone is dropped.
    pub(crate) fn start(raft: Raft) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        (Self { queue, room }, tokio::spawn(pack(raft, waiting)))
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

async fn pack(raft: Raft, mut waiting: mpsc::Receiver<Waiting>) {
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
        let raft = raft.clone();
        proposals.spawn(async move {
            let result = raft.client_write(Batch(commands)).await;
            drop((place, taken));
            answer_all(
                answers,
                result
                    .map(|done| done.data)
                    .map_err(|error| ProposeError::from_raft(&error)),
            );
        });
        while proposals.try_join_next().is_some() {}
    }
    while proposals.join_next().await.is_some() {}
}

fn answer_all(answers: Vec<Answer>, result: Result<Replies, ProposeError>) {
    match result {
        Ok(Replies(replies)) => {
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
