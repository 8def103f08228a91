//! The policy session with a controller, sans I/O: events in, actions out.
//!
//! What holds whatever happens:
//! - An ACK is sent only for what is on disk (**ledger before ACK**), in the ledger and then beside it; one write is in flight at
//!   a time. What cannot be written is a NACK, and known as such ([`Offers`]) until it is.
//! - While one is, the latest offer waits and replaces one that waited before it: it is the newer whole state.
//! - An ACK or NACK goes only to the connection that offered: nonces mean nothing on another.
//! - Seals are held against the time that the members say, not against this host's clock.
//! - Whatever is lost on the way is sent again after the next Hello, and every so often (anti-entropy).
//! - What is refused stays known ([`Offers`]) until a set is accepted after it, or a stamp counts.
//! - A controller that says much and brings nothing is left alone for a while.
//!
//! The driver's part: each [`Action::Connect`] is answered by one [`Event::Connected`] or [`Event::Disconnected`]; a
//! connection that was up, by one [`Event::Disconnected`] or [`Event::Unreadable`] at most; after [`Action::Close`] nothing more comes of that
//! connection. [`Event::Tick`] comes at [`Session::deadline`] or earlier.

mod hearing;
mod keeping;
mod message;
mod offers;
mod patience;

pub use keeping::{FLOOR, LEDGER};
pub use offers::{Kind, Offers, Trouble};

pub use message::{Action, Event, Hello, Incoming, Now, Outgoing};

use std::sync::Arc;

use verger_policy::digest::Digest;

use crate::backoff::Backoff;
use crate::freshness::Freshness;
use crate::ledger::{Accepted, Beside, LedgerState, RefusedOffer, SetUpdate, offer};
use keeping::{Keeping, Offered};
use patience::Patience;

/// The word for a message that has no meaning.
pub const UNREADABLE: &str = "unreadable";
/// The word for a set with more in it than any set holds.
pub const TOO_MUCH: &str = "too-much";

/// The times of a session, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// First bound of the delay before connecting again; doubles with each failure.
    pub backoff_base: u64,
    /// Its last bound.
    pub backoff_cap: u64,
    /// How long an attempt to connect may take.
    pub connect_within: u64,
    /// How long a connection may be silent. Several times the controllers' heartbeat.
    pub silence: u64,
    /// Two status messages are never closer than this.
    pub status_apart: u64,
    /// How long a controller may be seen ahead without what it is ahead by having been accepted, before the session
    /// asks anew. Up to as much again is added at random.
    pub behind: u64,
    /// Messages a controller may say in one go without any of them bringing a set that is accepted. At least 1.
    pub turns: u32,
    /// After how long one more is allowed. At least 1.
    pub turn_every: u64,
    /// How long a controller that says more is left alone.
    pub pause: u64,
    /// After how long what could not be kept beside the ledger is tried again.
    pub keep_again: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            backoff_base: 500,
            backoff_cap: 60_000,
            connect_within: 30_000,
            silence: 45_000,
            status_apart: 250,
            behind: 120_000,
            turns: 64,
            turn_every: 1_000,
            pause: 30_000,
            keep_again: 10_000,
        }
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    ledger: Arc<LedgerState>,
    freshness: Freshness,
    backoff: Backoff,
    /// Counts connections, so that an answer never goes to another one than asked.
    connection: u64,
    link: Link,
    writing: Option<Writing>,
    waiting: Option<(u64, SetUpdate)>,
    status_due: bool,
    /// The next Hello asks for all bodies: an offer lacked one.
    wants_all: bool,
    /// When to ask anew, if the controller stays ahead.
    ask_at: Option<u64>,
    offers: Offers,
    patience: Patience,
    keeping: Keeping,
    /// Since when stamps are refused that may be good under a trust root that is on its way, milliseconds; before it the version
    /// held then.
    puzzled: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    /// Not started.
    Idle,
    /// An attempt was ordered and ends by then.
    Attempting { until: u64 },
    /// Up.
    Up { heard: u64, status_sent: Option<u64> },
}

#[derive(Debug)]
struct Writing {
    next: LedgerState,
    offered: Offered,
}

impl Session {
    /// A session that goes on from what is on disk, in the ledger and `kept` beside it, and what is known of time. `seed` makes its
    /// delays.
    pub fn new(ledger: LedgerState, kept: Beside, freshness: Freshness, timing: Timing, seed: u64) -> Self {
        let mut offers = Offers::default();
        if kept.doubted {
            let detail = "it was gone, or damaged, and is made anew from the ledger";
            offers.raise(Kind::Doubt, FLOOR, detail);
        }
        Self {
            backoff: Backoff::new(timing.backoff_base, timing.backoff_cap, seed),
            timing,
            ledger: Arc::new(ledger.above(kept.floor)),
            freshness,
            connection: 0,
            link: Link::Idle,
            writing: None,
            waiting: None,
            status_due: true,
            wants_all: false,
            ask_at: None,
            offers,
            patience: Patience::new(&timing),
            keeping: Keeping::new(kept),
            puzzled: None,
        }
    }

    /// What is in the ledger and in force.
    pub const fn ledger(&self) -> &Arc<LedgerState> {
        &self.ledger
    }

    /// What is known of freshness and time.
    pub const fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// What became of what was offered.
    pub const fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Whether a controller is connected.
    pub const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// When the next tick is due, milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        let link = match self.link {
            Link::Idle => return Some(0),
            Link::Attempting { until } => return Some(until),
            Link::Up { heard, .. } => heard + self.timing.silence,
        };
        let status = self.status_due.then(|| self.status_from());
        let due = [Some(link), status, self.ask_at, self.keeping.retry_at];
        due.into_iter().flatten().min()
    }

    /// Takes an event and says what to do, in order.
    pub fn on(&mut self, now: Now, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Connected => self.connected(now, &mut actions),
            Event::Disconnected { retry_after } => self.disconnected(now, retry_after, &mut actions),
            Event::Message(message) => self.message(now, message, &mut actions),
            Event::Unreadable { why } => {
                self.offers.raise(Kind::Set, UNREADABLE, &why);
                self.disconnected(now, None, &mut actions);
            }
            Event::LedgerCommitted => self.committed(&mut actions),
            Event::LedgerFailed { why } => self.failed(why, &mut actions),
            Event::Kept => self.kept(),
            Event::NotKept { why } => self.unkept(now, why, &mut actions),
            Event::StatusChanged => self.status_due = true,
            Event::Tick => self.tick(now, &mut actions),
        }
        self.keep(now, &mut actions);
        self.take_waiting(now, &mut actions);
        self.report_status(now, &mut actions);
        actions
    }

    /// Whether something is being written that an offer has to wait for.
    const fn is_writing(&self) -> bool {
        self.writing.is_some() || self.keeping.is_writing()
    }

    fn connected(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.is_up() {
            return;
        }
        self.connection += 1;
        self.link = Link::Up {
            heard: now.millis,
            status_sent: None,
        };
        self.ask_at = None;
        // What is not kept is not claimed: it is offered again.
        let is_level = !self.wants_all && self.is_kept();
        let (epoch, root) = self.ledger.position().filter(|_| is_level).unzip();
        actions.push(Action::Send(Outgoing::Hello(Hello {
            epoch: epoch.unwrap_or(0),
            root,
        })));
        self.status_due = true;
    }

    fn disconnected(&mut self, now: Now, retry_after: Option<u64>, actions: &mut Vec<Action>) {
        self.waiting = None;
        self.keeping.forget_offer();
        self.ask_at = None;
        // Jitter on top of what a controller asks for: it asks the same of everybody.
        let after = self
            .backoff
            .after_failure()
            .saturating_add(retry_after.unwrap_or(0));
        self.link = Link::Attempting {
            until: now.millis.saturating_add(after) + self.timing.connect_within,
        };
        actions.push(Action::Connect { after });
    }

    fn message(&mut self, now: Now, message: Incoming, actions: &mut Vec<Action>) {
        let Link::Up { heard, .. } = &mut self.link else {
            return;
        };
        *heard = now.millis;
        if !self.patience.spend(now.millis, &self.timing) {
            actions.push(Action::Close {
                why: "the controller says much and brings nothing that can be accepted; leaving it alone",
            });
            self.disconnected(now, Some(self.timing.pause), actions);
            return;
        }
        match message {
            Incoming::Heartbeat { epoch, stamp } => {
                if let Some(stamp) = stamp {
                    self.hear(now, epoch, &stamp);
                    actions.push(Action::Know(Box::new(self.freshness.clone())));
                }
                self.backoff.succeeded();
                if epoch <= self.ledger.position().map_or(0, |(held, _)| held) {
                    self.ask_at = None;
                } else if self.ask_at.is_none() {
                    self.ask_at =
                        Some(now.millis + self.timing.behind + self.backoff.draw(self.timing.behind));
                }
            }
            Incoming::Set { nonce, update } if self.is_writing() => self.waiting = Some((nonce, update)),
            Incoming::Set { nonce, update } => self.judge(now, nonce, &update, actions),
            Incoming::Unread {
                nonce,
                reason,
                detail,
            } => self.refuse(nonce, reason, detail, actions),
        }
    }

    fn refuse(&mut self, nonce: u64, reason: &'static str, detail: String, actions: &mut Vec<Action>) {
        self.offers.raise(Kind::Set, reason, &detail);
        actions.push(Action::Send(Outgoing::Nack {
            nonce,
            reason,
            detail,
        }));
    }

    fn judge(&mut self, now: Now, nonce: u64, update: &SetUpdate, actions: &mut Vec<Action>) {
        match offer(&self.ledger, update, self.freshness.time(now)) {
            Ok(Accepted { delta: None, .. }) => {
                self.offers.accept();
                self.accepted(self.offered(nonce));
            }
            Ok(Accepted {
                next,
                delta: Some(delta),
            }) => {
                let offered = self.offered(nonce);
                self.writing = Some(Writing { next, offered });
                actions.push(Action::Persist(Box::new(delta)));
            }
            Err(refused) => {
                self.refuse(nonce, refused.word(), refused.to_string(), actions);
                if matches!(refused, RefusedOffer::MissingBody(_)) && !self.wants_all {
                    self.wants_all = true;
                    self.close(
                        "an offer lacks what concerns this host; asking for all of it",
                        now,
                        actions,
                    );
                }
            }
        }
    }

    const fn offered(&self, nonce: u64) -> Offered {
        Offered {
            connection: self.connection,
            nonce,
        }
    }

    fn committed(&mut self, actions: &mut Vec<Action>) {
        let Some(Writing { next, offered }) = self.writing.take() else {
            return;
        };
        self.ledger = Arc::new(next);
        self.offers.accept();
        self.offers.kept(LEDGER);
        if self.ledger.trust_root().members().is_empty() {
            // Nobody else will ever say that nothing newer was there.
            self.trust();
        }
        self.patience.restore(&self.timing);
        actions.push(Action::Adopt(Arc::clone(&self.ledger)));
        self.accepted(offered);
    }

    fn failed(&mut self, why: String, actions: &mut Vec<Action>) {
        let Some(Writing { offered, .. }) = self.writing.take() else {
            return;
        };
        self.offers.raise(Kind::Unkept, LEDGER, &why);
        let nack = Outgoing::Nack {
            nonce: offered.nonce,
            reason: LEDGER,
            detail: why,
        };
        self.answer(offered, nack, actions);
    }

    fn take_waiting(&mut self, now: Now, actions: &mut Vec<Action>) {
        while !self.is_writing()
            && let Some((nonce, update)) = self.waiting.take()
        {
            self.judge(now, nonce, &update, actions);
            self.keep(now, actions);
        }
    }

    /// What is in the ledger was offered.
    fn accepted(&mut self, offered: Offered) {
        if !self.is_up() || offered.connection != self.connection {
            return;
        }
        self.backoff.succeeded();
        (self.wants_all, self.ask_at) = (false, None);
        self.keeping.owe(offered);
    }

    fn tick(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.link {
            Link::Idle => {
                self.link = Link::Attempting {
                    until: now.millis + self.timing.connect_within,
                };
                actions.push(Action::Connect { after: 0 });
            }
            Link::Attempting { until } if now.millis >= until => {
                self.close("the connection took too long", now, actions);
            }
            Link::Up { heard, .. } if now.millis >= heard + self.timing.silence => {
                self.close("the controller has been silent for too long", now, actions);
            }
            Link::Up { .. } if !self.is_writing() && self.ask_at.is_some_and(|at| now.millis >= at) => {
                self.close(
                    "the controller is ahead and sends nothing that can be accepted; asking anew",
                    now,
                    actions,
                );
            }
            Link::Attempting { .. } | Link::Up { .. } => {}
        }
    }

    fn close(&mut self, why: &'static str, now: Now, actions: &mut Vec<Action>) {
        actions.push(Action::Close { why });
        self.disconnected(now, None, actions);
    }

    fn status_from(&self) -> u64 {
        match self.link {
            Link::Up {
                status_sent: Some(sent),
                ..
            } => sent + self.timing.status_apart,
            Link::Up { .. } | Link::Attempting { .. } | Link::Idle => 0,
        }
    }

    fn report_status(&mut self, now: Now, actions: &mut Vec<Action>) {
        let due = self.status_due && now.millis >= self.status_from();
        if let Link::Up { status_sent, .. } = &mut self.link
            && due
        {
            *status_sent = Some(now.millis);
            self.status_due = false;
            actions.push(Action::Send(Outgoing::Status));
        }
    }

    /// Epoch and root in the ledger.
    pub fn position(&self) -> Option<(u64, Digest)> {
        self.ledger.position()
    }
}

#[cfg(test)]
mod keeping_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tuf;
