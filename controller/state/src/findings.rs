//! The findings as they are held: the last transition of every host, a person's word, and the indexes over them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use verger_policy::finding::{Acknowledgement, FindingUid, Lifecycle, Transition};
use verger_policy::model::AgentId;

use crate::by_revision::ByRevision;
use crate::limits;

/// One finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FindingState {
    /// Where in the log it last changed.
    pub(crate) revision: u64,
    /// Where in the log it began; 0 where that was not kept.
    pub(crate) born: u64,
    /// Where in the log its lifecycle last changed.
    pub(crate) turned: u64,
    /// Where in the log a host was last taken out; 0 where none was.
    pub(crate) shrunk: u64,
    /// The last transition of every host.
    pub(crate) rows: BTreeMap<AgentId, Transition>,
    /// When those of them that are resolved became so, by the replicated time.
    pub(crate) resolved: BTreeMap<AgentId, Timestamp>,
    /// Dropped when the finding opens again.
    pub(crate) acknowledged: Option<Acknowledgement>,
    /// How many rows are open, and suppressed: 10,000 hosts may have one, and each asks.
    open: usize,
    suppressed: usize,
}

impl FindingState {
    /// Where it stands: open on one host is open.
    pub(crate) fn lifecycle(&self) -> Lifecycle {
        match (self.open, self.suppressed) {
            (0, 0) => Lifecycle::Resolved,
            (0, _) => Lifecycle::Suppressed,
            _ if self.acknowledged.is_some() => Lifecycle::Acknowledged,
            _ => Lifecycle::Open,
        }
    }

    fn count(&mut self, lifecycle: Lifecycle, by: isize) {
        let counter = match lifecycle {
            Lifecycle::Open | Lifecycle::Acknowledged => &mut self.open,
            Lifecycle::Suppressed => &mut self.suppressed,
            Lifecycle::Resolved => return,
        };
        *counter = counter.saturating_add_signed(by);
    }
}

/// What became of a finding that lost a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It had no such host.
    Unchanged,
    /// Other hosts have it.
    Others,
    /// Nobody has it.
    Nobody,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    all: BTreeMap<FindingUid, FindingState>,
    /// Those that are gone, as many as watchers are told of, and since when.
    gone: BTreeMap<FindingUid, u64>,
    /// Of both.
    pub(crate) changes: ByRevision<FindingUid>,
    buried: ByRevision<FindingUid>,
    /// Up to here, what is gone is not remembered.
    pub(crate) forgotten: u64,
    /// Of each agent; one without any is not here.
    of: BTreeMap<AgentId, BTreeSet<FindingUid>>,
    /// Resolved rows of each agent, oldest first; and of all.
    resolved_of: BTreeMap<AgentId, BTreeSet<(Timestamp, FindingUid)>>,
    resolved: BTreeSet<(Timestamp, FindingUid, AgentId)>,
}

impl Findings {
    pub(crate) fn get(&self, uid: &FindingUid) -> Option<&FindingState> {
        self.all.get(uid)
    }

    pub(crate) const fn all(&self) -> &BTreeMap<FindingUid, FindingState> {
        &self.all
    }

    pub(crate) fn row(&self, uid: &FindingUid, agent: &AgentId) -> Option<&Transition> {
        self.all.get(uid)?.rows.get(agent)
    }

    /// Every finding of an agent.
    pub(crate) fn of(&self, agent: &AgentId) -> impl Iterator<Item = FindingUid> {
        self.of.get(agent).into_iter().flatten().copied()
    }

    /// Its findings in order, beginning after `after`.
    pub(crate) fn of_after(
        &self,
        agent: &AgentId,
        after: Option<FindingUid>,
    ) -> impl Iterator<Item = FindingUid> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let uids = self.of.get(agent).into_iter();
        uids.flat_map(move |uids| uids.range((from, Bound::Unbounded)).copied())
    }

    /// How many findings an agent has.
    pub(crate) fn count_of(&self, agent: &AgentId) -> usize {
        self.of.get(agent).map_or(0, BTreeSet::len)
    }

    /// The finding of an agent that was resolved first.
    pub(crate) fn oldest_resolved_of(&self, agent: &AgentId) -> Option<FindingUid> {
        self.resolved_of.get(agent)?.first().map(|(_, uid)| *uid)
    }

    /// The row that was resolved first, if that was before `horizon`.
    pub(crate) fn resolved_before(&self, horizon: Timestamp) -> Option<(FindingUid, AgentId)> {
        let (at, uid, agent) = self.resolved.first()?;
        (*at < horizon).then(|| (*uid, agent.clone()))
    }

    /// Puts in the last transition of a host; gives the finding as it is then.
    pub(crate) fn put(
        &mut self,
        agent: &AgentId,
        transition: &Transition,
        revision: u64,
        now: Timestamp,
    ) -> &FindingState {
        let uid = transition.uid;
        if let Some(since) = self.gone.remove(&uid) {
            self.changes.remove(since, &uid);
            self.buried.remove(since, &uid);
        }
        let finding = self.all.entry(uid).or_insert_with(|| FindingState {
            revision,
            born: revision,
            turned: revision,
            ..FindingState::default()
        });
        let stood = finding.lifecycle();
        let before = finding.rows.insert(agent.clone(), transition.clone());
        if let Some(before) = &before {
            finding.count(before.lifecycle, -1);
        }
        finding.count(transition.lifecycle, 1);
        let is_open = |transition: &Transition| transition.lifecycle == Lifecycle::Open;
        if is_open(transition) && !before.as_ref().is_some_and(is_open) {
            finding.acknowledged = None;
        }
        let was_resolved = finding.resolved.get(agent).copied();
        let is_resolved = (transition.lifecycle == Lifecycle::Resolved).then(|| was_resolved.unwrap_or(now));
        match is_resolved {
            Some(at) => finding.resolved.insert(agent.clone(), at),
            None => finding.resolved.remove(agent),
        };
        if finding.lifecycle() != stood {
            finding.turned = revision;
        }
        self.changes.remove(finding.revision, &uid);
        finding.revision = revision;
        self.changes.insert(revision, uid);
        if was_resolved != is_resolved {
            self.note_resolved(&uid, agent, was_resolved, is_resolved);
        }
        self.of.entry(agent.clone()).or_default().insert(uid);
        &self.all[&uid]
    }

    /// Records a person's word; gives the finding as it is then.
    pub(crate) fn acknowledge(
        &mut self,
        uid: FindingUid,
        word: Acknowledgement,
        revision: u64,
    ) -> Option<&FindingState> {
        let finding = self.all.get_mut(&uid)?;
        let stood = finding.lifecycle();
        finding.acknowledged = Some(word);
        if finding.lifecycle() != stood {
            finding.turned = revision;
        }
        self.changes.remove(finding.revision, &uid);
        finding.revision = revision;
        self.changes.insert(revision, uid);
        self.all.get(&uid)
    }

    /// Takes a host out of a finding.
    pub(crate) fn remove(&mut self, uid: &FindingUid, agent: &AgentId, revision: u64) -> Left {
        let Some(finding) = self.all.get_mut(uid) else {
            return Left::Unchanged;
        };
        let stood = finding.lifecycle();
        let Some(before) = finding.rows.remove(agent) else {
            return Left::Unchanged;
        };
        finding.count(before.lifecycle, -1);
        let resolved = finding.resolved.remove(agent);
        self.changes.remove(finding.revision, uid);
        self.changes.insert(revision, *uid);
        let left = if finding.rows.is_empty() {
            self.all.remove(uid);
            self.gone.insert(*uid, revision);
            self.buried.insert(revision, *uid);
            Left::Nobody
        } else {
            if finding.lifecycle() != stood {
                finding.turned = revision;
            }
            finding.revision = revision;
            finding.shrunk = revision;
            Left::Others
        };
        self.note_resolved(uid, agent, resolved, None);
        if let Some(uids) = self.of.get_mut(agent) {
            uids.remove(uid);
            if uids.is_empty() {
                self.of.remove(agent);
            }
        }
        left
    }

    /// Forgets the oldest that is gone, where there are too many.
    pub(crate) fn forget_oldest(&mut self) -> Option<FindingUid> {
        if self.gone.len() <= limits::FINDINGS_GONE {
            return None;
        }
        let (revision, uid) = self.buried.first()?;
        self.buried.remove(revision, &uid);
        self.changes.remove(revision, &uid);
        self.gone.remove(&uid);
        self.forgotten = self.forgotten.max(revision);
        Some(uid)
    }

    fn note_resolved(
        &mut self,
        uid: &FindingUid,
        agent: &AgentId,
        before: Option<Timestamp>,
        now: Option<Timestamp>,
    ) {
        if let Some(at) = before {
            self.resolved.remove(&(at, *uid, agent.clone()));
            if let Some(uids) = self.resolved_of.get_mut(agent) {
                uids.remove(&(at, *uid));
                if uids.is_empty() {
                    self.resolved_of.remove(agent);
                }
            }
        }
        if let Some(at) = now {
            self.resolved.insert((at, *uid, agent.clone()));
            self.resolved_of
                .entry(agent.clone())
                .or_default()
                .insert((at, *uid));
        }
    }

    /// A finding that is being read from rows. [`Self::index`] follows.
    pub(crate) fn load(&mut self, uid: FindingUid) -> &mut FindingState {
        self.all.entry(uid).or_default()
    }

    /// One that is gone, from its row. [`Self::index`] follows.
    pub(crate) fn load_gone(&mut self, uid: FindingUid, revision: u64) {
        self.gone.insert(uid, revision);
    }

    /// Makes the indexes after everything was loaded; gives what does not fit together.
    pub(crate) fn index(&mut self) -> Result<(), FindingUid> {
        for (uid, finding) in &mut self.all {
            // Watchers find a finding by its revision, which is in its head; and without a host it says nothing.
            if finding.revision == 0 || finding.rows.is_empty() || self.gone.contains_key(uid) {
                return Err(*uid);
            }
            for (agent, row) in &finding.rows {
                self.of.entry(agent.clone()).or_default().insert(*uid);
                match row.lifecycle {
                    Lifecycle::Open | Lifecycle::Acknowledged => finding.open += 1,
                    Lifecycle::Suppressed => finding.suppressed += 1,
                    Lifecycle::Resolved => {}
                }
            }
            for (agent, at) in &finding.resolved {
                self.resolved.insert((*at, *uid, agent.clone()));
                let of = self.resolved_of.entry(agent.clone()).or_default();
                of.insert((*at, *uid));
            }
        }
        let there = self.all.iter().map(|(uid, finding)| (finding.revision, *uid));
        let gone = || self.gone.iter().map(|(uid, revision)| (*revision, *uid));
        self.changes = there.chain(gone()).collect();
        self.buried = gone().collect();
        Ok(())
    }
}
