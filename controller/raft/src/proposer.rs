//! Packs commands into log entries: one entry, one sync, for everything that queued while the last were in flight.
//!
//! There is no timer. A lone command is proposed at once; under load the batch grows by itself (up to
//! [`MAX_COMMANDS`] or [`MAX_BYTES`]), because at most [`IN_FLIGHT`] entries are proposed and not yet applied.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use verger_controller_state::Response;

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

type Answer = oneshot::Sender<Result<Response, ProposeError>>;
type Raft = openraft::Raft<TypeConfig, crate::state_machine::Machine>;

/// The queue in front of Raft. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<(Bytes, Answer)>,
}

impl Proposer {
    /// Starts the packing task; it ends when every clone is dropped.
    pub(crate) fn start(raft: Raft) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, tokio::spawn(pack(raft, waiting)))
    }

    /// Proposes one encoded command and waits until it is applied. Cancelling does not take it back.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Response, ProposeError> {
        let (answer, reply) = oneshot::channel();
        self.queue
            .send((command, answer))
            .await
            .map_err(|_| ProposeError::Stopped)?;
        reply.await.map_err(|_| ProposeError::Stopped)?
    }
}

async fn pack(raft: Raft, mut waiting: mpsc::Receiver<(Bytes, Answer)>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut proposals = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        let Some((command, answer)) = waiting.recv().await else {
            break;
        };
        let mut size = command.len();
        let mut commands = vec![command];
        let mut answers = vec![answer];
        while commands.len() < MAX_COMMANDS && size < MAX_BYTES {
            let Ok((command, answer)) = waiting.try_recv() else {
                break;
            };
            size += command.len();
            commands.push(command);
            answers.push(answer);
        }
        let raft = raft.clone();
        proposals.spawn(async move {
            let result = raft.client_write(Batch(commands)).await;
            drop(place);
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
