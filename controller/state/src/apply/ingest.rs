//! Findings as agents tell them, and people's words on them.

use verger_policy::digest::Digest;
use verger_policy::finding::{Acknowledgement, Chain, FindingUid, Lifecycle, Transition};
use verger_policy::model::AgentId;
use verger_seal::{FindingsHead, SignedHead};

use super::Outcome;
use super::own;
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Host, State};

/// What an agent tells at once.
pub(super) struct Ingested<'a> {
    pub(super) agent: &'a AgentId,
    pub(super) first_sequence: u64,
    pub(super) transitions: &'a [Transition],
    /// Whether everything is told anew, and the agent's chain before the first, where it keeps one.
    pub(super) anew: Option<Option<Digest>>,
    pub(super) head: Option<&'a SignedHead>,
}

impl State {
    pub(super) fn ingest(&mut self, told: &Ingested<'_>, changes: &mut Vec<RowChange>) -> Outcome {
        let Ingested {
            agent,
            first_sequence,
            transitions,
            anew,
            head,
        } = *told;
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?.id;
        let host = self.hosts.get(agent).ok_or(Refused::UnknownAgent)?;
        if !host.serves() {
            return Err(Refused::UnknownAgent);
        }
        // Neither side's numbers say what the other knows: a disk was set back, here or there.
        let begins = anew.filter(|_| first_sequence > host.last_sequence);
        let expected = if begins.is_some() {
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
        let signed = head.map(|head| authentic_head(head, &cluster, agent, &host.key));
        let signed = signed.transpose()?;
        // What was taken in before a lost acknowledgement is skipped.
        let seen = usize::try_from(expected - first_sequence).unwrap_or(usize::MAX);
        let fresh = transitions.get(seen..).unwrap_or_default();
        if let Some(chain_before) = begins {
            self.forget_findings_of(agent, changes);
            let host = self.hosts.get_mut(agent).ok_or(Refused::UnknownAgent)?;
            host.last_sequence = first_sequence - 1;
            host.not_kept = 0;
            host.chain = chain_before;
        }
        let mut not_kept = 0;
        for transition in fresh {
            if !self.take_in(agent, transition, changes) {
                not_kept += 1;
            }
        }
        let host = self.hosts.get_mut(agent).ok_or(Refused::UnknownAgent)?;
        host.link(fresh);
        host.not_kept = host.not_kept.saturating_add(not_kept);
        if let (Some(head), Some(signed)) = (head, signed) {
            host.take_head(head, &signed);
        }
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

impl Host {
    /// Takes note of transitions that follow the last one.
    fn link(&mut self, transitions: &[Transition]) {
        let count = transitions.len() as u64;
        if let Some(digest) = self.chain {
            let before = Chain {
                sequence: self.last_sequence,
                digest,
            };
            let link = |chain: Chain, transition: &Transition| chain.then(&transition.digest());
            self.chain = Some(transitions.iter().fold(before, link).digest);
        }
        self.last_sequence = self.last_sequence.saturating_add(count);
    }

    /// Keeps a head that is of what was taken in, as far as it was. One that is not says nothing here: of another number it was
    /// signed earlier, or reaches further; of another chain it contradicts, which the agent finds in what it is answered.
    fn take_head(&mut self, head: &SignedHead, signed: &FindingsHead) {
        let Chain { sequence, digest } = signed.told.chain;
        if sequence != self.last_sequence || self.chain.is_some_and(|chain| chain != digest) {
            return;
        }
        // Where the chain is not known, it is what the agent says of it.
        self.chain = Some(digest);
        self.head = Some(head.clone());
    }
}

/// What is signed of an agent's findings, once it is this agent's, under this key, in this cluster.
///
/// # Errors
/// [`Refused::ForgedHead`] when it is not.
pub fn authentic_head(
    head: &SignedHead,
    cluster: &Digest,
    agent: &AgentId,
    key: &Digest,
) -> Result<FindingsHead, Refused> {
    if head.key_digest() != *key {
        return Err(Refused::ForgedHead("it is signed by another key than the host's"));
    }
    let signed = head
        .open()
        .map_err(|_| Refused::ForgedHead("its signature does not verify, or it cannot be read"))?;
    if signed.cluster != *cluster {
        return Err(Refused::ForgedHead("it is of another cluster"));
    }
    if signed.agent != *agent {
        return Err(Refused::ForgedHead("it is of another host"));
    }
    Ok(signed)
}
