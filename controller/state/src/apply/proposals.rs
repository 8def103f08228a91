//! Changes of the policy set that several people seal.

use bytes::Bytes;
use verger_seal::PartialSeal;

use super::policy::refused_seal;
use super::{Outcome, over_envelope};
use crate::limits;
use crate::proposals::Proposal;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::State;

impl State {
    /// Keeps a change whose seal somebody has begun. It is held to everything that a set is held to but the threshold: what
    /// others are asked to sign can be made.
    pub(super) fn propose(&mut self, proposal: Proposal, changes: &mut Vec<RowChange>) -> Outcome {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if proposal.deletes.len() > limits::PROPOSAL_DELETES {
            return Err(Refused::Set(format!(
                "a proposal takes out at most {} objects",
                limits::PROPOSAL_DELETES
            )));
        }
        let seal = self.partial_seal(&proposal.seal);
        let epoch = self.next_epoch(seal.as_ref().ok().map(PartialSeal::statement));
        let (_, next) = self.next_set(
            proposal.expected_epoch,
            epoch,
            &proposal.upserts,
            &proposal.deletes,
        )?;
        let seal = seal?;
        seal.matches(next.epoch(), &next.root(), next.len() as u64)
            .map_err(refused_seal)?;
        if seal.wanting(&cluster.trust_root) == 0 {
            return Err(Refused::SealComplete);
        }
        let proposal = Proposal {
            seal: seal.envelope().to_json().into(),
            not_after: seal.statement().not_after,
            ..proposal
        };
        self.make_room(proposal.bytes(), changes)?;
        self.proposals.last += 1;
        let number = self.proposals.last;
        changes.push(rows::proposal_head(number));
        changes.extend(rows::proposal(number, &proposal));
        self.proposals.waiting.insert(number, proposal);
        Ok(Response::Proposed(number))
    }

    /// Adds signatures; makes the set with the last that is needed.
    pub(super) fn sign_proposal(
        &mut self,
        number: u64,
        signed: &Bytes,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        let proposal = self
            .proposals
            .waiting
            .get(&number)
            .ok_or(Refused::NoSuchProposal(number))?;
        if proposal.expected_epoch != self.set.epoch() {
            return Err(Refused::EpochConflict {
                expected: proposal.expected_epoch,
                current: self.set.epoch(),
            });
        }
        within_envelope(signed)?;
        let mut seal = self.partial_seal(&proposal.seal)?;
        seal.merge(&cluster.trust_root, signed, self.clock.now)
            .map_err(refused_seal)?;
        let wanting = seal.wanting(&cluster.trust_root);
        let mut proposal = Proposal {
            seal: seal.envelope().to_json().into(),
            ..proposal.clone()
        };
        if wanting == 0 {
            let Proposal {
                expected_epoch,
                upserts,
                deletes,
                seal,
                ..
            } = &proposal;
            let applied = self.apply_set(*expected_epoch, upserts, deletes, seal, changes)?;
            self.drop_proposal(number, changes);
            return Ok(applied);
        }
        changes.push(rows::proposal_row(number, &proposal));
        std::mem::swap(
            &mut proposal,
            self.proposals
                .waiting
                .get_mut(&number)
                .ok_or(Refused::NoSuchProposal(number))?,
        );
        Ok(Response::Signed {
            number,
            wanting: u32::try_from(wanting).unwrap_or(u32::MAX),
        })
    }

    pub(super) fn withdraw_proposal(&mut self, number: u64, changes: &mut Vec<RowChange>) -> Outcome {
        if !self.drop_proposal(number, changes) {
            return Err(Refused::NoSuchProposal(number));
        }
        Ok(Response::Withdrawn(number))
    }

    fn partial_seal(&self, seal: &Bytes) -> Result<PartialSeal, Refused> {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        within_envelope(seal)?;
        PartialSeal::open(&cluster.trust_root, seal, self.clock.now).map_err(refused_seal)
    }

    /// What the set or the time has overtaken gives way; what can still be signed does not.
    fn make_room(&mut self, bytes: usize, changes: &mut Vec<RowChange>) -> Result<(), Refused> {
        let is_full = |state: &Self| {
            state.proposals.waiting.len() >= limits::PROPOSALS
                || state.proposals.bytes() + bytes > limits::PROPOSAL_BYTES
        };
        while is_full(self) {
            let over = self.proposals.over(self.set.epoch(), self.clock.now);
            let number = over.ok_or(Refused::TooManyProposals)?;
            self.drop_proposal(number, changes);
        }
        Ok(())
    }

    fn drop_proposal(&mut self, number: u64, changes: &mut Vec<RowChange>) -> bool {
        let Some(proposal) = self.proposals.waiting.remove(&number) else {
            return false;
        };
        changes.extend(rows::proposal_gone(number, &proposal));
        true
    }
}

fn within_envelope(seal: &Bytes) -> Result<(), Refused> {
    if seal.len() <= limits::ENVELOPE_BYTES {
        return Ok(());
    }
    Err(Refused::Seal {
        word: "too-large",
        detail: over_envelope(seal),
    })
}
