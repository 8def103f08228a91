//! What members have signed of the cluster's freshness: the last whole stamp, and one that waits for more signatures.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use verger_seal::{Envelope, Stamp};

use crate::limits;
use crate::state::State;

/// A stamp and its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// What it says.
    pub stamp: Stamp,
    /// The signatures.
    pub envelope: Envelope,
}

/// What there is of stamps. Empty after a change of the trust root: stamps of before count for nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps {
    /// The last one that a majority has signed.
    pub(crate) whole: Option<Stamped>,
    /// A later one, that fewer have signed.
    pub(crate) partial: Option<Stamped>,
}

impl State {
    /// The last stamp that a majority of the members has signed.
    pub const fn stamp(&self) -> Option<&Stamped> {
        self.stamps.whole.as_ref()
    }

    /// One that waits for more members.
    pub const fn partial_stamp(&self) -> Option<&Stamped> {
        self.stamps.partial.as_ref()
    }

    /// What a member that leads is to sign by its own clock: `None` while the last stamp says the same and is younger than `every`,
    /// or says more than this member knows. No two have the same second.
    ///
    /// The time is the replicated one, and so never goes back and never runs ahead by more than a step.
    pub fn due_stamp(&self, wall: Timestamp, every: SignedDuration) -> Option<Stamp> {
        let trust_root = &self.cluster()?.trust_root;
        if trust_root.members().is_empty() {
            return None;
        }
        let furthest = SignedDuration::from_secs(limits::STEP_SECONDS);
        let furthest = self.clock().saturating_add(furthest).unwrap_or(Timestamp::MAX);
        let at = wall.clamp(self.clock(), furthest);
        let stamp = Stamp::new(
            trust_root,
            self.set().epoch(),
            self.set_root(),
            self.audit_head().chain(),
            at,
        );
        let is_due = self.stamp().is_none_or(|Stamped { stamp: last, .. }| {
            let news = (last.epoch, last.root) != (stamp.epoch, stamp.root);
            stamp.at > last.at && (news || stamp.at.duration_since(last.at) >= every)
        });
        is_due.then_some(stamp)
    }

    /// Whether a member may sign what another has: it is of the set that this member has applied, and the time is this member's
    /// own to within half a minute.
    pub fn may_sign(&self, stamp: &Stamp, wall: Timestamp) -> bool {
        const APART: SignedDuration = SignedDuration::from_secs(30);
        let head = self.audit_head().chain();
        let known = stamp.audit.count < head.count || stamp.audit == head;
        (stamp.epoch, stamp.root) == (self.set().epoch(), self.set_root())
            && stamp.at.duration_since(wall).abs() <= APART
            && known
    }
}

/// The envelope as it is sent and stored.
pub(crate) fn bytes(envelope: &Envelope) -> Bytes {
    envelope.to_json().into()
}
