//! The ports of the agent's disk: what it has accepted, and what it has yet to report.
//!
//! Both promise the same: when a commit returns, power may be cut and nothing of it is lost; when it fails,
//! nothing of it is there. The implementation on disk is in `verger-agent-store`; [`memory`] is the fake, and
//! [`conformance`] is the suite that both pass.

pub mod conformance;
mod error;
pub mod memory;

pub use error::StoreError;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::finding::{FindingUid, LocalFinding, Told, Transition};
use verger_policy::model::ObjectKey;
use verger_policy::set::Entry;

/// What an agent has accepted, as it was found on disk. Bodies match the digests of their entries; seals are not
/// looked at here ([`crate::ledger::LedgerState::restore`] does).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerImage {
    /// Envelopes of the trust roots, version 1 first, without gaps.
    pub trust_roots: Vec<Vec<u8>>,
    /// The highest epoch ever accepted.
    pub highest_epoch: u64,
    /// The set in force.
    pub set: Option<HeldSet>,
}

/// A set as an agent holds it: all entries, and the bodies that concern its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSet {
    /// What was sealed.
    pub head: SetHead,
    /// All entries, by key.
    pub entries: BTreeMap<ObjectKey, Entry>,
    /// Canonical bytes, by key. Every key has an entry.
    pub bodies: BTreeMap<ObjectKey, Vec<u8>>,
}

/// What identifies a held set, and how long its seal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHead {
    /// Its epoch.
    pub epoch: u64,
    /// Its root.
    pub root: Digest,
    /// The end of the seal's validity; past it the set is stale, and still enforced.
    pub not_after: Timestamp,
    /// The envelope people signed.
    pub seal: Vec<u8>,
}

/// A change of the ledger; written whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerDelta {
    /// Envelopes that follow those held.
    pub trust_roots: Vec<Vec<u8>>,
    /// The next set.
    pub set: Option<SetDelta>,
}

/// The way from the held set to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDelta {
    /// The next set's head. Its epoch is not below the highest ever.
    pub head: SetHead,
    /// Entries that are new or changed. Where the digest is another, the body held so far is dropped.
    pub entries: Vec<Entry>,
    /// Entries that are gone.
    pub dropped_entries: BTreeSet<ObjectKey>,
    /// Bodies that are new or changed.
    pub bodies: BTreeMap<ObjectKey, Vec<u8>>,
    /// Bodies no longer held: gone, or no longer of this host.
    pub dropped_bodies: BTreeSet<ObjectKey>,
}

/// Keeps what an agent has accepted.
pub trait LedgerStore: Send + Sync {
    /// Reads everything. An empty image is a ledger never written to.
    fn load(&self) -> Result<LedgerImage, StoreError>;

    /// Writes a change, and returns when it is on stable storage. An epoch below the highest ever is
    /// [`StoreError::EpochBack`]; a value over the limits is [`StoreError::TooLarge`].
    fn commit(&self, delta: &LedgerDelta) -> Result<(), StoreError>;
}

/// The last number that a beginning anew may have behind it. Nobody gets there by counting: whoever says so lies, and the
/// numbers of this host must not end with it.
pub const LAST_SEQUENCE: u64 = 1 << 62;

/// A transition with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The agent's number for it: from 1, without gaps, for ever.
    pub sequence: u64,
    /// What happened.
    pub transition: Transition,
}

/// What one round of judging changed; written whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Findings that are new or changed.
    pub changed: Vec<LocalFinding>,
    /// Findings to forget: resolved long enough ago.
    pub removed: BTreeSet<FindingUid>,
    /// What is to be reported of it, in order.
    pub transitions: Vec<Transition>,
}

/// How full a spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolUsage {
    /// Number the next transition gets.
    pub next_sequence: u64,
    /// Everything up to here has been acknowledged.
    pub acknowledged: u64,
    /// Bytes of transitions waiting.
    pub bytes: u64,
    /// The most bytes that may wait.
    pub limit: u64,
    /// The number from which everything is told anew; 0 if that never happened.
    pub anew: u64,
    /// Rounds refused because it was full, ever. Counted on disk with the next commit that succeeds.
    pub refused_rounds: u64,
}

impl SpoolUsage {
    /// How many transitions wait.
    pub const fn pending(&self) -> u64 {
        self.next_sequence - 1 - self.acknowledged
    }
}

/// Keeps the findings of a host and the transitions not yet acknowledged.
pub trait SpoolStore: Send + Sync {
    /// Reads the table of findings.
    fn findings(&self) -> Result<BTreeMap<FindingUid, LocalFinding>, StoreError>;

    /// Writes a round, and returns the number of its first transition (of the next one, if it has none) when it
    /// is on stable storage.
    ///
    /// [`StoreError::SpoolFull`] is back-pressure: nothing was written, and nothing is lost as long as the caller
    /// goes on from the table it had, for the next round then finds the same changes again.
    fn commit_round(&self, round: &Round) -> Result<u64, StoreError>;

    /// Reads waiting transitions numbered `from` and up: at most `max`, and as many as fit `max_bytes` of stored
    /// form, but one at least if one waits.
    fn pending(&self, from: u64, max: usize, max_bytes: usize) -> Result<Vec<Numbered>, StoreError>;

    /// Forgets the transitions up to `sequence`: a quorum has them. Lower than before changes nothing; a number
    /// never given is [`StoreError::NeverSent`].
    fn acknowledge(&self, sequence: u64) -> Result<(), StoreError>;

    /// Begins anew: forgets what waits, and lets every finding of the table that is not over wait once more, numbered after
    /// `after` and after every number ever given; the chain goes on from where it was. Returns how full it is then. Bounded by
    /// the table, whatever the limit. A number beyond [`LAST_SEQUENCE`] is [`StoreError::TooFar`].
    fn begin_anew(&self, after: u64) -> Result<SpoolUsage, StoreError>;

    /// Where the findings stand after the last number given: what the agent signs.
    fn told(&self) -> Result<Told, StoreError>;

    /// The digest of the chain over all transitions up to a number; none of numbers before those that wait, and of those not
    /// given. Of a store from before chains were kept it begins where everything is told anew.
    fn chain_at(&self, sequence: u64) -> Result<Option<Digest>, StoreError>;

    /// How full it is.
    fn usage(&self) -> Result<SpoolUsage, StoreError>;
}
