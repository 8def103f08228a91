//! Who waits on this member for the answers to commands: whoever commits them, they are applied here, and answered here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::types::{MemberId, Origin, Replies};

/// Those who wait.
pub(crate) struct Tickets {
    member: MemberId,
    start: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Replies>>,
}

/// Nobody gives the answers any more: the member stops, or got a snapshot in place of what was applied, which may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unanswerable;

/// One who waits. Dropped, nobody does.
pub(crate) struct Ticket<'a> {
    tickets: &'a Tickets,
    origin: Origin,
    answer: oneshot::Receiver<Replies>,
}

impl Tickets {
    /// `start` is one that no other run of this member has had.
    pub(crate) fn new(member: MemberId, start: u64) -> Self {
        Self {
            member,
            start,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Ticket<'_> {
        let (waits, answer) = oneshot::channel();
        let mut held = self.held();
        let number = held.next;
        held.next += 1;
        held.waiting.insert(number, waits);
        Ticket {
            tickets: self,
            origin: Origin {
                member: self.member,
                start: self.start,
                number,
            },
            answer,
        }
    }

    /// Sends everybody away who waits.
    pub(crate) fn forget(&self) {
        self.held().waiting.clear();
    }

    /// Answers whoever waits for what was applied.
    pub(crate) fn answer(&self, origin: &Origin, replies: Replies) {
        if (origin.member, origin.start) != (self.member, self.start) {
            return;
        }
        let waits = self.held().waiting.remove(&origin.number);
        if let Some(waits) = waits {
            // Whoever it was may have gone.
            let _ = waits.send(replies);
        }
    }
}

impl Ticket<'_> {
    /// The answers, where they are there. Is not asked again after it gave any, or an error.
    pub(crate) fn try_answered(&mut self) -> Result<Option<Replies>, Unanswerable> {
        match self.answer.try_recv() {
            Ok(replies) => Ok(Some(replies)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Closed) => Err(Unanswerable),
        }
    }

    pub(crate) const fn origin(&self) -> Origin {
        self.origin
    }

    /// Waits for the answers.
    pub(crate) async fn answered(&mut self) -> Result<Replies, Unanswerable> {
        (&mut self.answer).await.map_err(|_| Unanswerable)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.tickets.held().waiting.remove(&self.origin.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_controller_state::Response;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_answered_once_and_who_went_is_forgotten() {
        let tickets = Tickets::new(1, 7);
        let mut first = tickets.take();
        let second = tickets.take();
        let (of_first, of_second) = (first.origin(), second.origin());
        assert_ne!(of_first, of_second);
        // Of another run, and of another member.
        for other in [
            Origin { start: 8, ..of_first },
            Origin {
                member: 2,
                ..of_first
            },
        ] {
            tickets.answer(&other, vec![Response::Decided]);
            assert!(first.answer.try_recv().is_err());
        }
        drop(second);
        tickets.answer(&of_second, vec![Response::Decided]);
        tickets.answer(&of_first, vec![Response::Decided]);
        tickets.answer(&of_first, Vec::new());
        assert_eq!(first.answered().await.unwrap(), [Response::Decided]);
        drop(first);
        assert!(tickets.held().waiting.is_empty());
    }

    #[test]
    fn that_nobody_will_answer_is_not_that_nobody_has_yet() {
        let tickets = Tickets::new(1, 7);
        let [mut early, mut late, mut answered] = [(); 3].map(|()| tickets.take());
        let of_answered = answered.origin();
        tickets.answer(&of_answered, vec![Response::Decided]);
        assert_eq!(early.try_answered(), Ok(None));
        tickets.forget();
        assert_eq!(early.try_answered(), Err(Unanswerable));
        assert_eq!(late.try_answered(), Err(Unanswerable));
        assert_eq!(answered.try_answered(), Ok(Some(vec![Response::Decided])));
    }
}
