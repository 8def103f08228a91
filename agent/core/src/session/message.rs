//! What goes into a session and what comes out of it.

use std::sync::Arc;

use jiff::Timestamp;
use verger_policy::digest::Digest;

use crate::freshness::Freshness;
use crate::ledger::{Beside, LedgerState, SetUpdate};
use crate::store::LedgerDelta;

/// The time, twice: timeouts go by the monotonic one, seals are held against the other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic, milliseconds since any moment.
    pub millis: u64,
    /// Of day.
    pub wall: Timestamp,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The connection that was ordered is up.
    Connected,
    /// It came to nothing, or is down.
    Disconnected {
        /// How long the controller asked to stay away, milliseconds.
        retry_after: Option<u64>,
    },
    /// The controller said something.
    Message(Incoming),
    /// What it said is no message, or too long for one: the connection is down.
    Unreadable {
        /// What is wrong with it, for a person.
        why: String,
    },
    /// What was to be persisted is on stable storage.
    LedgerCommitted,
    /// What was to be persisted is not.
    LedgerFailed {
        /// Why, for a person.
        why: String,
    },
    /// What was to be kept beside the ledger is on stable storage.
    Kept,
    /// What was to be kept beside the ledger is not; what was there before is.
    NotKept {
        /// Why, for a person.
        why: String,
    },
    /// What the status says is no longer what was sent.
    StatusChanged,
    /// Time has passed.
    Tick,
}

/// What a controller says.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// Here is a set.
    Set {
        /// Names the offer in the answer.
        nonce: u64,
        /// The set.
        update: SetUpdate,
    },
    /// Here is a set, and it is refused without a look at its seal.
    Unread {
        /// Names the offer in the answer.
        nonce: u64,
        /// [`UNREADABLE`](super::UNREADABLE) or [`TOO_MUCH`](super::TOO_MUCH).
        reason: &'static str,
        /// What is wrong with it, for a person.
        detail: String,
    },
    /// I am there.
    Heartbeat {
        /// The controller's epoch.
        epoch: u64,
        /// What the members say of freshness, where that is news to this connection.
        stamp: Option<Vec<u8>>,
    },
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect to a controller.
    Connect {
        /// When: in so many milliseconds.
        after: u64,
    },
    /// Drop the connection, or the attempt at one.
    Close {
        /// Why, for the log.
        why: &'static str,
    },
    /// Send it on the connection.
    Send(Outgoing),
    /// Commit it to the ledger, and say how it went.
    Persist(Box<LedgerDelta>),
    /// Keep it beside the ledger, and say how it went.
    Keep(Beside),
    /// From now on this is policy here: wake the reconciler.
    Adopt(Arc<LedgerState>),
    /// This is known of freshness and time now.
    Know(Box<Freshness>),
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// First on every connection: what the agent has.
    Hello(Hello),
    /// Verified, in the ledger, and kept beside it.
    Ack {
        /// The offer's.
        nonce: u64,
        /// In the ledger.
        epoch: u64,
        /// In the ledger.
        root: Digest,
    },
    /// Refused; the last good set stays.
    Nack {
        /// The offer's.
        nonce: u64,
        /// Stable word.
        reason: &'static str,
        /// For a person.
        detail: String,
    },
    /// The whole status, as the driver has it now.
    Status,
}

/// What an agent has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Epoch in the ledger; 0 where there is none, or all bodies are wanted.
    pub epoch: u64,
    /// Its root.
    pub root: Option<Digest>,
}
