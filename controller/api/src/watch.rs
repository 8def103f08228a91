//! Following the state: what changed after a revision, then each later change, without a gap or a repeat.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use verger_controller_state::State;

use crate::ports::{Replicated, read};
use crate::status::with_reason;

/// A stream of answers.
pub(crate) type Stream<M> = Pin<Box<dyn tokio_stream::Stream<Item = Result<M, Status>> + Send>>;

/// Answers that wait for a slow reader. Behind them nothing queues: the next look at the state takes in all that changed.
const READY: usize = 64;

pub(crate) fn expired() -> Status {
    with_reason(
        Code::OutOfRange,
        "RESUME_TOKEN_EXPIRED",
        "changes that old are no longer remembered: list again, and watch from there",
    )
}

/// Refuses to resume from a revision this log has not reached: it is of another log, or of one that was restored since, and
/// what happens up to there would be skipped.
pub(crate) fn reached(now: u64, after: u64) -> Result<(), Status> {
    if after <= now {
        return Ok(());
    }
    Err(with_reason(
        Code::OutOfRange,
        "RESUME_TOKEN_EXPIRED",
        format!(
            "revision {after} is not of this cluster, which is at {now}: list again, and watch from there"
        ),
    ))
}

/// Sends what `changes` finds after a revision, then a bookmark, and again whenever the state moves on.
pub(crate) fn follow<M: Send + 'static>(
    replicated: Arc<dyn Replicated>,
    after: u64,
    changes: impl Fn(&State, u64) -> Result<Vec<M>, Status> + Send + 'static,
    bookmark: impl Fn(&State, u64) -> M + Send + 'static,
) -> Stream<M> {
    let (ready, messages) = mpsc::channel(READY);
    let mut revisions = replicated.revisions();
    tokio::spawn(async move {
        let mut after = after;
        let mut first = true;
        loop {
            revisions.borrow_and_update();
            let (found, upto, mark) = read(&*replicated, |state| {
                let upto = state.revision().max(after);
                (changes(state, after), upto, bookmark(state, upto))
            });
            let found = match found {
                Ok(found) => found,
                Err(status) => {
                    let _ = ready.send(Err(status)).await;
                    return;
                }
            };
            let anything = first || !found.is_empty();
            first = false;
            for message in found.into_iter().chain(anything.then_some(mark)) {
                if ready.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            after = upto;
            tokio::select! {
                moved = revisions.changed() => if moved.is_err() { return },
                () = ready.closed() => return,
            }
        }
    });
    Box::pin(ReceiverStream::new(messages))
}
