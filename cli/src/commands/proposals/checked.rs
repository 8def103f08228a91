//! A proposal, held against the set in force.

use jiff::Timestamp;
use verger_policy::model::{ObjectKey, PolicyObject};
use verger_proto::policy::v1 as pb;
use verger_seal::{PartialSeal, Refusal, TrustRoot};
use verger_wire::FromWire as _;

use super::super::apply::refused;
use crate::exit::{Exit, Failure};
use crate::sealed::{Held, Next, distrust};

/// A proposal that holds together: what it changes is what its signatures are over.
pub(super) struct Checked {
    pub next: Next,
    pub seal: PartialSeal,
    /// Who proposed it, by the controller's word.
    pub actor: String,
}

impl Checked {
    pub(super) fn of(held: &Held, proposal: pb::Proposal, now: Timestamp) -> anyhow::Result<Self> {
        let pb::Proposal {
            number,
            actor,
            created: _,
            expected_epoch,
            upserts,
            deletes,
            seal,
            overtaken: _,
        } = proposal;
        if expected_epoch != held.set.epoch() {
            return Err(Failure::new(
                Exit::Conflict,
                format!(
                    "proposal {number} was made on epoch {expected_epoch}, and the set is at epoch {} now: it can no longer \
                     be signed. Propose it again",
                    held.set.epoch()
                ),
            )
            .into());
        }
        let seal = seal.ok_or_else(|| distrust("the proposal has no signature"))?;
        let seal = PartialSeal::open(&held.trust_root, &seal.json, now)
            .map_err(|refusal| match refusal {
                Refusal::Expired { not_after } => Failure::new(
                    Exit::Violation,
                    format!(
                        "proposal {number} can no longer be signed: its seal ended at {not_after}; propose it again"
                    ),
                ),
                refusal => distrust(&format!("the proposal's signatures do not verify: {refusal}")),
            })?;
        let objects = upserts
            .iter()
            .map(|body| PolicyObject::from_canonical(&body.canonical))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| distrust(&format!("the proposal cannot be read: {error}")))?;
        let deletes = deletes
            .into_iter()
            .map(ObjectKey::from_wire)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| distrust(&format!("the proposal cannot be read: {error}")))?;
        // Above where it is, as far as whoever proposed it said: it is shown to who signs.
        let epoch = seal.statement().epoch.max(held.set.epoch().saturating_add(1));
        let set = held.set.change_to(epoch, objects, deletes).map_err(refused)?;
        seal.matches(set.epoch(), &set.root(), set.len() as u64)
            .map_err(|refusal| {
                distrust(&format!(
                    "what the proposal changes is not what was signed: {refusal}"
                ))
            })?;
        Ok(Self {
            next: Next::of(held, set),
            seal,
            actor,
        })
    }

    /// The names of those who have signed.
    pub(super) fn signers(&self, trust_root: &TrustRoot) -> String {
        signers(trust_root, &self.seal).join(", ")
    }
}

/// The names of those who have signed, by the trust root.
pub(super) fn signers<'a>(trust_root: &'a TrustRoot, seal: &PartialSeal) -> Vec<&'a str> {
    let names = trust_root.keys().iter();
    names
        .filter(|key| seal.signers().contains(&key.public))
        .map(|key| key.name.as_str())
        .collect()
}
