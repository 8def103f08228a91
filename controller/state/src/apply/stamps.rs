//! Members' signatures of the cluster's freshness.

use bytes::Bytes;
use verger_seal::{Refusal, Stamp, merge_stamps};

use super::{Outcome, over_envelope};
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::stamps::{Stamped, Stamps};
use crate::state::State;

impl State {
    /// Takes in a stamp that one member or more have signed. It is of the set in force and newer than the last, and is whole
    /// once a majority has signed it.
    pub(super) fn take_stamp(&mut self, envelope: &Bytes, changes: &mut Vec<RowChange>) -> Outcome {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if envelope.len() > limits::ENVELOPE_BYTES {
            let (word, detail) = ("too-large", over_envelope(envelope));
            return Err(Refused::Stamp { word, detail });
        }
        let trust_root = &cluster.trust_root;
        let (stamp, envelope) = Stamp::read(trust_root, envelope).map_err(refused)?;
        self.check_stamp(&stamp)?;
        let partial = self
            .stamps
            .partial
            .take_if(|waiting| waiting.stamp.at <= stamp.at);
        let envelope = match &partial {
            Some(waiting) if waiting.stamp == stamp => {
                merge_stamps(trust_root, &waiting.envelope, &envelope).map_err(refused)?
            }
            _ => merge_stamps(trust_root, &envelope, &envelope).map_err(refused)?,
        };
        let signers = envelope.signers(trust_root.members().iter().map(|key| key.public));
        let whole = signers.len() >= trust_root.majority();
        let stamped = Some(Stamped { stamp, envelope });
        if whole {
            self.stamps.whole = stamped;
        } else if self.stamps.partial.is_none() {
            self.stamps.partial = stamped;
        }
        changes.extend(rows::stamps(&self.stamps));
        Ok(Response::Stamped { whole })
    }

    fn check_stamp(&self, stamp: &Stamp) -> Result<(), Refused> {
        let set = &self.set;
        if stamp.epoch != set.epoch() {
            let (sealed, set) = (stamp.epoch, set.epoch());
            return Err(refused(Refusal::EpochMismatch { sealed, set }));
        }
        if stamp.root != self.set_root() {
            let (sealed, set) = (stamp.root, self.set_root());
            return Err(refused(Refusal::RootMismatch { sealed, set }));
        }
        let head = self.audit.head.chain();
        let told = |word, detail: String| Refused::Stamp { word, detail };
        if stamp.audit.count > head.count || (stamp.audit.count == head.count && stamp.audit != head) {
            let detail = "it names a head of the audit that is not this one's".to_owned();
            return Err(told("audit-mismatch", detail));
        }
        if let Some(Stamped { stamp: last, .. }) = &self.stamps.whole
            && stamp.at <= last.at
        {
            let detail = format!("it is of {}, and the last one is of {}", stamp.at, last.at);
            return Err(told("older-stamp", detail));
        }
        Ok(())
    }

    /// Forgets the stamps that were made under another trust root.
    pub(super) fn drop_stamps(&mut self, changes: &mut Vec<RowChange>) {
        self.stamps = Stamps::default();
        changes.extend(rows::stamps(&self.stamps));
    }
}

fn refused(refusal: Refusal) -> Refused {
    Refused::Stamp {
        word: refusal.word(),
        detail: refusal.to_string(),
    }
}
