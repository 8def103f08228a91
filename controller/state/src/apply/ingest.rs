//! Findings as agents tell them, and people's words on them.

use verger_policy::finding::{Acknowledgement, FindingUid, Lifecycle, Transition};
use verger_policy::model::AgentId;

use super::Outcome;
use super::own;
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::State;

impl State {
    pub(super) fn ingest(
        &mut self,
        agent: &AgentId,
        first_sequence: u64,
        transitions: &[Transition],
        anew: bool,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?.id;
        let host = self.hosts.get(agent).ok_or(Refused::UnknownAgent)?;
        if !host.serves() {
            return Err(Refused::UnknownAgent);
        }
        // Neither side's numbers say what the other knows: a disk was set back, here or there.
        let begins = anew && first_sequence > host.last_sequence;
        let expected = if begins {
            first_sequence
        } else {
            host.last_sequence.saturating_add(1)
        };
        if first_sequence > expected || first_sequence == 0 {
            return Err(Refused::SequenceGap { expected });
        }
        // A finding has rows of many hosts: one under a foreign uid would speak for all of them. And no agent has a say in
        // what controllers tell.
        let honest = |transition: &Transition| {
            transition.is_consistent(&cluster) && !own::is_own(&transition.check.rule)
        };
        if !transitions.iter().all(honest) {
            return Err(Refused::ForgedFinding);
        }
        // What was taken in before a lost acknowledgement is skipped.
        let seen = usize::try_from(expected - first_sequence).unwrap_or(usize::MAX);
        let fresh = transitions.get(seen..).unwrap_or_default();
        if begins {
            self.forget_findings_of(agent, changes);
            let host = self.hosts.get_mut(agent).ok_or(Refused::UnknownAgent)?;
            host.last_sequence = first_sequence - 1;
            host.not_kept = 0;
        }
        let mut not_kept = 0;
        for transition in fresh {
            if !self.take_in(agent, transition, changes) {
                not_kept += 1;
            }
        }
        let host = self.hosts.get_mut(agent).ok_or(Refused::UnknownAgent)?;
        host.last_sequence = host.last_sequence.saturating_add(fresh.len() as u64);
        host.not_kept = host.not_kept.saturating_add(not_kept);
        let last = host.last_sequence;
        changes.push(rows::host(agent, host));
        if not_kept > 0 {
            self.tell_not_kept(agent, changes);
        }
        Ok(Response::Ingested(last))
    }

    /// Takes in one transition; says whether what it tells is known from now on.
    ///
    /// Containers decide how many faults a host has, so a full host's stream must go on: the finding that was resolved first
    /// gives its place. Where none is resolved, a new one is not kept, and the caller says so.
    fn take_in(&mut self, agent: &AgentId, transition: &Transition, changes: &mut Vec<RowChange>) -> bool {
        if self.findings.row(&transition.uid, agent).is_none() && self.is_full(agent) {
            let Some(oldest) = self.findings.oldest_resolved_of(agent) else {
                // That something is over which nobody knew of is nothing to keep.
                return transition.lifecycle == Lifecycle::Resolved;
            };
            self.forget_row(&oldest, agent, changes);
        }
        self.put_row(agent, transition, changes);
        true
    }

    fn is_full(&self, agent: &AgentId) -> bool {
        self.findings.count_of(agent) >= limits::FINDINGS_PER_AGENT + self.own_rows_of(agent)
    }

    /// Puts in the last transition of a host.
    pub(super) fn put_row(&mut self, agent: &AgentId, transition: &Transition, changes: &mut Vec<RowChange>) {
        let uid = transition.uid;
        let finding = self
            .findings
            .put(agent, transition, self.revision, self.clock.now);
        changes.extend(rows::finding_row(&uid, agent, finding));
        changes.push(rows::finding_head(&uid, finding));
    }

    pub(super) fn acknowledge(
        &mut self,
        uid: FindingUid,
        note: &str,
        actor: &str,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        // Never empty, which in a row means that nobody has seen it.
        let name = actor.strip_prefix("person/").filter(|name| !name.is_empty());
        let word = Acknowledgement {
            person: name.unwrap_or(actor).to_owned(),
            note: note.to_owned(),
            at: self.clock.now,
        };
        let finding = self
            .findings
            .acknowledge(uid, word, self.revision)
            .ok_or(Refused::NoSuchFinding)?;
        changes.push(rows::finding_head(&uid, finding));
        Ok(Response::FindingAcknowledged(uid))
    }
}
