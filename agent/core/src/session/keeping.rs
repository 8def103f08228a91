//! What is kept beside the ledger, and what is not acknowledged before it is.
//!
//! The ledger is written first. Between the two writes it is ahead of what is kept beside it, and a crash there leaves no more than
//! that: the next run takes up its own ledger and writes what is behind. The other way round such a crash would look as if somebody
//! had set the ledger back. Nothing is lost by this order, for nobody was told of the set before both are written; from then on
//! neither an older ledger nor none takes it back.

use jiff::SignedDuration;

use super::offers::Kind;
use super::{Action, Now, Outgoing, Session};
use crate::ledger::Beside;

/// The word for what could not be written to the ledger.
pub const LEDGER: &str = "ledger";
/// The word for what could not be written, or was gone, beside the ledger.
pub const FLOOR: &str = "floor";

/// Time alone is written this often: a host that was off knows it to within that.
const TIME_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// An offer, and the connection that made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    pub(super) connection: u64,
    pub(super) nonce: u64,
}

#[derive(Debug)]
pub(super) struct Keeping {
    /// On disk.
    kept: Beside,
    /// Being written.
    writing: Option<Beside>,
    /// After a failure: when to try again, milliseconds.
    pub(super) retry_at: Option<u64>,
    /// What to acknowledge once it is kept, and whether it was said that it is not.
    owed: Option<(Offered, bool)>,
    doubted: bool,
}

impl Keeping {
    pub(super) const fn new(kept: Beside) -> Self {
        Self {
            doubted: kept.doubted,
            kept,
            writing: None,
            retry_at: None,
            owed: None,
        }
    }

    pub(super) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// A set was accepted. It is acknowledged once it is kept, and that is tried at once.
    pub(super) const fn owe(&mut self, offered: Offered) {
        self.owed = Some((offered, false));
        self.retry_at = None;
    }

    /// The connection is gone.
    pub(super) const fn forget_offer(&mut self) {
        self.owed = None;
    }

    pub(super) const fn trust(&mut self) {
        self.doubted = false;
    }

    /// Whether this is worth writing: another position, or a time that is much later.
    fn lacks(&self, wanted: &Beside) -> bool {
        let later = match (self.kept.time, wanted.time) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(held), Some(time)) => time.at.duration_since(held.at) >= TIME_EVERY,
        };
        later || (self.kept.floor, self.kept.doubted) != (wanted.floor, wanted.doubted)
    }
}

impl Session {
    fn beside(&self, now: Now) -> Beside {
        Beside {
            floor: self.ledger.reached(),
            time: self.freshness.known(now),
            doubted: self.keeping.doubted,
        }
    }

    /// Whether what is in the ledger is kept beside it, too.
    pub(super) fn is_kept(&self) -> bool {
        self.keeping.kept.floor == self.ledger.reached()
    }

    /// Orders what there is to keep, where none is under way, and acknowledges what is kept.
    pub(super) fn keep(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.keeping.writing.is_some() {
            return;
        }
        let wanted = self.beside(now);
        let is_due = self.keeping.retry_at.is_none_or(|at| now.millis >= at);
        if is_due {
            self.keeping.retry_at = None;
        }
        if is_due && self.keeping.lacks(&wanted) {
            self.keeping.writing = Some(wanted);
            actions.push(Action::Keep(wanted));
        } else if self.is_kept()
            && let Some((offered, _)) = self.keeping.owed.take()
            && let Some((epoch, root)) = self.ledger.position()
        {
            let nonce = offered.nonce;
            self.answer(offered, Outgoing::Ack { nonce, epoch, root }, actions);
        }
    }

    pub(super) fn kept(&mut self) {
        if let Some(kept) = self.keeping.writing.take() {
            self.keeping.kept = kept;
            self.keeping.retry_at = None;
            self.offers.kept(FLOOR);
        }
    }

    /// Says so, and tries again after a while; until it is kept the offer is not acknowledged.
    pub(super) fn unkept(&mut self, now: Now, why: String, actions: &mut Vec<Action>) {
        if self.keeping.writing.take().is_none() {
            return;
        }
        self.keeping.retry_at = Some(now.millis.saturating_add(self.timing.keep_again));
        self.offers.raise(Kind::Unkept, FLOOR, &why);
        if !self.is_kept()
            && let Some((offered, told @ false)) = &mut self.keeping.owed
        {
            *told = true;
            let (offered, nonce) = (*offered, offered.nonce);
            let nack = Outgoing::Nack {
                nonce,
                reason: FLOOR,
                detail: why,
            };
            self.answer(offered, nack, actions);
        }
    }

    /// Answers an offer, on the connection that made it and no other.
    pub(super) fn answer(&self, offered: Offered, answer: Outgoing, actions: &mut Vec<Action>) {
        if self.is_up() && offered.connection == self.connection {
            actions.push(Action::Send(answer));
        }
    }
}
