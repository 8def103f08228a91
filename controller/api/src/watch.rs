//! Following the state: what changed after a revision, then each later change, without a gap or a repeat.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use verger_controller_state::{Place, State};

use crate::ports::{Replicated, read};
use crate::status::with_reason;

/// A stream of answers.
pub(crate) type Stream<M> = Pin<Box<dyn tokio_stream::Stream<Item = Result<M, Status>> + Send>>;

/// Answers that wait for a slow reader. Behind them nothing queues: the next look at the state takes in all that changed.
const READY: usize = 64;
/// Changes looked at in one go: writers wait for whoever looks at the state.
pub(crate) const PAGE: usize = 64;

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

/// Some of what changed, and where that ends.
pub(crate) struct Page<M, K> {
    messages: Vec<M>,
    place: Place<K>,
    /// There is more at once.
    more: bool,
}

/// Reads a page of what `changed` after a place, which is all of it up to revision `now`. It ends where a revision is complete,
/// unless one alone is larger.
pub(crate) fn page<T, M, K: Clone>(
    now: u64,
    place: &Place<K>,
    changed: impl Iterator<Item = T>,
    at: impl Fn(&T) -> (u64, K),
    mut tell: impl FnMut(T) -> Option<M>,
) -> Page<M, K> {
    let (mut place, before) = (place.clone(), place.complete);
    let mut messages = Vec::new();
    // How many of them are of complete revisions.
    let mut complete = 0;
    let mut changed = changed.peekable();
    for change in changed.by_ref().take(PAGE) {
        // Changes come in order: with one of a later revision, every earlier one has been read.
        let (revision, key) = at(&change);
        if place.reached() < revision {
            place.complete = place.reached();
            complete = messages.len();
        }
        place.within = Some((revision, key));
        messages.extend(tell(change));
    }
    let next = changed.peek().map(|change| at(change).0);
    let end = match next {
        None => Some(now),
        Some(next) => Some(place.reached()).filter(|reached| *reached < next),
    };
    if let Some(end) = end {
        place.complete = place.complete.max(end);
        place.within = None;
    } else if place.complete > before {
        messages.truncate(complete);
        place.within = None;
    }
    Page {
        messages,
        place,
        more: next.is_some(),
    }
}

/// Sends what `changes` finds after a revision, page by page, with a bookmark wherever a revision is complete, and again
/// whenever the state moves on. After 0 it begins with what there is.
pub(crate) fn follow<M, K>(
    replicated: Arc<dyn Replicated>,
    after: u64,
    changes: impl Fn(&State, &Place<K>) -> Result<Page<M, K>, Status> + Send + 'static,
    bookmark: impl Fn(&State, u64) -> M + Send + 'static,
) -> Stream<M>
where
    M: Send + 'static,
    K: Clone + Send + Sync + 'static,
{
    let (ready, messages) = mpsc::channel(READY);
    let mut revisions = replicated.revisions();
    tokio::spawn(async move {
        let mut stands = (after > 0).then(|| Place::after(after));
        // Where the reader is, it is told first of all, and then after everything it is told.
        let mut due = true;
        loop {
            revisions.borrow_and_update();
            let looked = read(&*replicated, |state| {
                let place = match stands.take() {
                    Some(place) => place,
                    None => Place::beginning(state.revision()),
                };
                let page = changes(state, &place)?;
                let mark = bookmark(state, page.place.complete);
                Ok((page, mark, place.complete))
            });
            let (page, mark, before) = match looked {
                Ok(looked) => looked,
                Err(status) => {
                    let _ = ready.send(Err(status)).await;
                    return;
                }
            };
            let Page {
                messages,
                place,
                more,
            } = page;
            due |= !messages.is_empty();
            let complete = place.within.is_none() && (!more || place.complete > before);
            stands = Some(place);
            let mark = (due && complete).then_some(mark);
            due &= !complete;
            for message in messages.into_iter().chain(mark) {
                if ready.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            if more {
                // Others look, too; also where a filter lets nothing through.
                tokio::task::yield_now().await;
                if ready.is_closed() {
                    return;
                }
                continue;
            }
            tokio::select! {
                moved = revisions.changed() => if moved.is_err() { return },
                () = ready.closed() => return,
            }
        }
    });
    Box::pin(ReceiverStream::new(messages))
}
