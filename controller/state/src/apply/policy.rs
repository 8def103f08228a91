//! Changes of the policy set.

use bytes::Bytes;
use verger_policy::model::{ObjectKey, PolicyObject};
use verger_policy::set::PolicySet;
use verger_seal::{SealedSet, SetStatement, TrustRoot};

use super::{Outcome, over_envelope};
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::State;

impl State {
    pub(super) fn apply_set(
        &mut self,
        expected_epoch: u64,
        upserts: &[Bytes],
        deletes: &[ObjectKey],
        seal: &Bytes,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        let sealed = sealed(&cluster.trust_root, seal, self.clock.now);
        let epoch = self.next_epoch(sealed.as_ref().ok().map(SealedSet::statement));
        let (keys, next) = self.next_set(expected_epoch, epoch, upserts, deletes)?;
        let root = next.root();
        fits(&sealed?, &next)?;
        let (revision, epoch) = (self.revision, next.epoch());
        for key in deletes {
            self.objects.bury(key, revision);
            changes.push(rows::tombstone(key, revision));
        }
        for key in keys {
            // An upsert of what is there already changes nothing.
            if next.entry(&key).is_some_and(|entry| entry.epoch == epoch) {
                let version = self.objects.put(&key, revision);
                changes.extend(rows::object(&next, &key, version));
            }
        }
        self.set = next;
        self.root = Some(root);
        self.seal = seal.clone();
        changes.extend(rows::cluster(self));
        self.forget_tombstones(changes);
        Ok(Response::SetApplied {
            epoch,
            root,
            revision,
        })
    }

    /// Replaces the trust root. The set comes with it: what is in force is always sealed under the latest version, so that
    /// nobody has to take what keys that were given up have sealed.
    pub(super) fn rotate_trust_root(
        &mut self,
        envelope: &Bytes,
        seal: &Bytes,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if envelope.len() > limits::ENVELOPE_BYTES {
            return Err(Refused::TrustRoot(over_envelope(envelope)));
        }
        if cluster.later.len() >= limits::LATER_TRUST_ROOTS {
            let most = limits::LATER_TRUST_ROOTS;
            return Err(Refused::TrustRoot(format!(
                "it was replaced {most} times already"
            )));
        }
        let next_root = cluster
            .trust_root
            .advance(envelope)
            .map_err(|refusal| Refused::TrustRoot(refusal.to_string()))?;
        let sealed = sealed(&next_root, seal, self.clock.now);
        let epoch = self.next_epoch(sealed.as_ref().ok().map(SealedSet::statement));
        let (_, next) = self.next_set(self.set.epoch(), epoch, &[], &[])?;
        fits(&sealed?, &next)?;
        let cluster = self.cluster.as_mut().ok_or(Refused::NotFounded)?;
        cluster.trust_root = next_root;
        cluster.later.push(envelope.clone());
        changes.push(rows::trust_root(cluster.trust_root.version(), envelope));
        self.drop_stamps(changes);
        let root = next.root();
        self.set = next;
        self.root = Some(root);
        self.seal = seal.clone();
        changes.extend(rows::cluster(self));
        Ok(Response::SetApplied {
            epoch: self.set.epoch(),
            root,
            revision: self.revision,
        })
    }

    /// The epoch of the set that is sealed by this: the next one. Whoever seals may leave out some, where hosts came further before the
    /// cluster was restored, but not so many that there could be an end to them.
    pub(super) fn next_epoch(&self, sealed: Option<&SetStatement>) -> u64 {
        let next = self.set.epoch().saturating_add(1);
        let sealed = sealed.map_or(next, |statement| statement.epoch);
        match sealed.saturating_sub(next) <= limits::EPOCHS_LEFT_OUT {
            true => sealed.max(next),
            false => next,
        }
    }

    /// The keys of the objects that a change puts in, and the set of that epoch that it makes.
    pub(super) fn next_set(
        &self,
        expected_epoch: u64,
        epoch: u64,
        upserts: &[Bytes],
        deletes: &[ObjectKey],
    ) -> Result<(Vec<ObjectKey>, PolicySet), Refused> {
        if expected_epoch != self.set.epoch() {
            return Err(Refused::EpochConflict {
                expected: expected_epoch,
                current: self.set.epoch(),
            });
        }
        let objects = objects(upserts)?;
        let keys = objects.iter().map(PolicyObject::key).collect();
        let next = self
            .set
            .change_to(epoch, objects, deletes.iter().cloned())
            .map_err(|error| Refused::Set(error.to_string()))?;
        if next.len() > limits::OBJECTS {
            return Err(Refused::Set(format!(
                "a set holds at most {} objects",
                limits::OBJECTS
            )));
        }
        if next.bytes() > limits::SET_BYTES {
            return Err(Refused::Set(limits::set_too_large(&next)));
        }
        Ok((keys, next))
    }

    fn forget_tombstones(&mut self, changes: &mut Vec<RowChange>) {
        let before = self.objects.forgotten;
        while let Some(key) = self.objects.forget_oldest() {
            changes.push(rows::object_gone(&key));
        }
        if self.objects.forgotten != before {
            changes.push(rows::horizons(self));
        }
    }
}

fn objects(upserts: &[Bytes]) -> Result<Vec<PolicyObject>, Refused> {
    let read = |bytes: &Bytes| {
        if bytes.len() > limits::OBJECT_BYTES {
            let (size, limit) = (bytes.len(), limits::OBJECT_BYTES);
            return Err(Refused::Set(format!(
                "an object of {size} bytes is over the limit of {limit}"
            )));
        }
        PolicyObject::from_canonical(bytes).map_err(|error| Refused::Set(error.to_string()))
    };
    upserts.iter().map(read).collect()
}

fn sealed(trust_root: &TrustRoot, seal: &Bytes, at: jiff::Timestamp) -> Result<SealedSet, Refused> {
    if seal.len() > limits::ENVELOPE_BYTES {
        return Err(Refused::Seal {
            word: "too-large",
            detail: over_envelope(seal),
        });
    }
    verger_seal::verify_set(trust_root, seal, at).map_err(refused_seal)
}

fn fits(sealed: &SealedSet, set: &PolicySet) -> Result<(), Refused> {
    sealed
        .matches(set.epoch(), &set.root(), set.len() as u64)
        .map_err(refused_seal)
}

pub(super) fn refused_seal(refusal: verger_seal::Refusal) -> Refused {
    Refused::Seal {
        word: refusal.word(),
        detail: refusal.to_string(),
    }
}
