//! Changes that wait for more signatures.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::model::ObjectKey;

/// A change that was sealed by too few people yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Whose login proposed it.
    pub actor: String,
    /// When.
    pub created: Timestamp,
    /// The epoch it was made on.
    pub expected_epoch: u64,
    /// Canonical bytes of objects put in or replaced.
    pub upserts: Vec<Bytes>,
    /// Objects taken out.
    pub deletes: Vec<ObjectKey>,
    /// The seal so far.
    pub seal: Bytes,
    /// When the seal ends.
    pub not_after: Timestamp,
}

impl Proposal {
    /// Roughly what it takes in memory and on disk.
    pub(crate) fn bytes(&self) -> usize {
        let bodies: usize = self.upserts.iter().map(Bytes::len).sum();
        let keys: usize = self.deletes.iter().map(|key| key.name.as_str().len() + 32).sum();
        bodies + keys + self.seal.len() + self.actor.len() + 64
    }
}

/// All of them, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proposals {
    /// The number given last.
    pub(crate) last: u64,
    pub(crate) waiting: BTreeMap<u64, Proposal>,
}

impl Proposals {
    /// Bytes of everything that waits.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting.values().map(Proposal::bytes).sum()
    }

    /// The oldest that nobody can sign any more: made on another epoch than this, or its seal has ended.
    pub(crate) fn over(&self, epoch: u64, now: Timestamp) -> Option<u64> {
        let mut waiting = self.waiting.iter();
        let over =
            waiting.find(|(_, proposal)| proposal.expected_epoch != epoch || proposal.not_after <= now);
        over.map(|(number, _)| *number)
    }
}
