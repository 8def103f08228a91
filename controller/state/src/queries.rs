//! What may be asked of the state.

use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::finding::{Finding, FindingUid, Transition, fold};
use verger_policy::model::{AgentId, Name, ObjectKey};
use verger_policy::rules;
use verger_policy::set::PolicySet;

use crate::audit::{AuditHead, AuditPlace};
use crate::by_revision::Place;
use crate::clock::HeldBack;
use crate::findings::FindingState;
use crate::objects::ObjectChange;
use crate::proposals::Proposal;
use crate::state::{Cluster, Host, Login, MemberRecord, Restored, State};
use crate::version::ClusterVersion;

/// A change of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingChange {
    /// Where in the log.
    pub revision: u64,
    /// Of what.
    pub uid: FindingUid,
    /// How it is now; `None` where it is there no more.
    pub now: Option<FindingNow>,
}

/// A finding, and where in the log it became what filters ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingNow {
    /// Folded over its hosts.
    pub finding: Finding,
    /// Where it began; 0 where that was not kept.
    pub born: u64,
    /// Where its lifecycle last changed; 0 where that was not kept.
    pub turned: u64,
    /// Where a host was last taken out; 0 where none was.
    pub shrunk: u64,
}

impl State {
    /// The log index of the last entry, whatever it holds.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Which forms its members write.
    pub const fn version(&self) -> ClusterVersion {
        self.version
    }

    /// The replicated time.
    pub const fn clock(&self) -> Timestamp {
        self.clock.now
    }

    /// That proposers' clocks are, or were lately, so far ahead of the replicated time that they are not believed.
    pub const fn held_back(&self) -> Option<&HeldBack> {
        self.clock.held_back.as_ref()
    }

    /// Where the audit stands.
    pub const fn audit_head(&self) -> AuditHead {
        self.audit.head
    }

    /// Where those of the audit's rows with these numbers are that are kept, in order. What they say is in the store alone.
    pub fn audit_places(&self, numbers: Range<u64>) -> impl DoubleEndedIterator<Item = AuditPlace> {
        self.audit.places(numbers)
    }

    /// The numbers of the audit's rows that are kept and were written from `since` on and before `until`.
    pub fn audit_numbers(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Range<u64> {
        self.audit.numbers(since, until)
    }

    /// The founding, if it took place.
    pub const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// From what this was restored last, if it was.
    pub const fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
    }

    /// A person's login, which may have ended or be revoked; `None` where none was given, or what was given is dropped.
    pub fn login(&self, person: &str) -> Option<&Login> {
        self.logins.get(person)
    }

    /// Changes that wait for signatures, by number.
    pub fn proposals(&self) -> impl Iterator<Item = (u64, &Proposal)> {
        let waiting = self.proposals.waiting.iter();
        waiting.map(|(number, proposal)| (*number, proposal))
    }

    /// Whether a request of this id was carried out, and its answer is still remembered: it comes again with no effect.
    pub fn has_answered(&self, id: &str) -> bool {
        self.requests.contains_key(id)
    }

    /// One of them.
    pub fn proposal(&self, number: u64) -> Option<&Proposal> {
        self.proposals.waiting.get(&number)
    }

    /// The policy set in force.
    pub const fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The root of the policy set in force; of the empty one before the first set.
    pub fn set_root(&self) -> Digest {
        self.root.unwrap_or_else(|| PolicySet::empty().root())
    }

    /// The envelope of its seal; `None` before the first set.
    pub fn seal(&self) -> Option<&Bytes> {
        Some(&self.seal).filter(|seal| !seal.is_empty())
    }

    /// Where in the log an object last changed.
    pub fn object_revision(&self, key: &ObjectKey) -> Option<u64> {
        self.objects.versions.get(key).map(|version| version.changed)
    }

    /// Changes of objects after a place, oldest first, each object once, with what is there now; `None` where some that were
    /// deleted are no longer remembered, so that a watcher must list again.
    pub fn objects_changed<'a>(
        &'a self,
        place: &Place<ObjectKey>,
    ) -> Option<impl Iterator<Item = ObjectChange<'a>> + use<'a>> {
        self.objects.after(place)
    }

    /// Hosts that are, or were, enrolled, by agent.
    pub fn hosts(&self) -> impl Iterator<Item = (&AgentId, &Host)> {
        self.hosts.iter()
    }

    /// One of them.
    pub fn host(&self, agent: &AgentId) -> Option<&Host> {
        self.hosts.get(agent)
    }

    /// Members of the control plane that were invited, let in or removed, by name. The one that founded the cluster is not among
    /// them until it is removed.
    pub fn members(&self) -> impl Iterator<Item = (&Name, &MemberRecord)> {
        self.members.iter()
    }

    /// One of them.
    pub fn member(&self, name: &Name) -> Option<&MemberRecord> {
        self.members.get(name)
    }

    /// The last transition of every finding of a host, in the order of uids, beginning after `after`. What controllers tell of
    /// the host themselves is not among them.
    pub fn told_by(&self, agent: &AgentId, after: Option<FindingUid>) -> impl Iterator<Item = &Transition> {
        let uids = self.findings.of_after(agent, after);
        let rows = uids.filter_map(|uid| self.findings.row(&uid, agent));
        rows.filter(|row| !rules::is_of_controllers(&row.check.rule))
    }

    /// One finding, folded over its hosts.
    pub fn finding(&self, uid: &FindingUid) -> Option<Finding> {
        folded(*uid, self.findings.get(uid)?)
    }

    /// Every finding in the order of uids, beginning after `after`.
    pub fn findings_after_uid(&self, after: Option<FindingUid>) -> impl Iterator<Item = Finding> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.findings
            .all()
            .range((from, Bound::Unbounded))
            .filter_map(|(uid, finding)| folded(*uid, finding))
    }

    /// Changes of findings after a place, oldest first, each finding once, as it is now; `None` where some that are gone are no
    /// longer remembered, so that a watcher must list again.
    pub fn findings_changed<'a>(
        &'a self,
        place: &Place<FindingUid>,
    ) -> Option<impl Iterator<Item = FindingChange> + use<'a>> {
        if place.is_behind(self.findings.forgotten) {
            return None;
        }
        let gone_after = place.gone_after;
        let changes = self.findings.changes.after(place).map(|(revision, uid)| {
            let now = self.findings.get(uid).and_then(|finding| {
                Some(FindingNow {
                    finding: folded(*uid, finding)?,
                    born: finding.born,
                    turned: finding.turned,
                    shrunk: finding.shrunk,
                })
            });
            FindingChange {
                revision,
                uid: *uid,
                now,
            }
        });
        Some(changes.filter(move |change| change.now.is_some() || change.revision > gone_after))
    }

    /// Uids that begin with `prefix` (lower-case hex), at most `most` of them, in order.
    pub fn findings_with_prefix(&self, prefix: &str, most: usize) -> Vec<FindingUid> {
        // The first uid there can be with this prefix.
        let mut first = [0; 32];
        for (place, digit) in prefix.chars().take(64).enumerate() {
            let Some(value) = digit.to_digit(16) else {
                return Vec::new();
            };
            let shift = if place % 2 == 0 { 4 } else { 0 };
            first[place / 2] |= (value as u8) << shift;
        }
        self.findings
            .all()
            .range(FindingUid(Digest::from_bytes(first))..)
            .map(|(uid, _)| *uid)
            .take_while(|uid| uid.to_string().starts_with(prefix))
            .take(most)
            .collect()
    }
}

fn folded(uid: FindingUid, finding: &FindingState) -> Option<Finding> {
    fold(
        uid,
        finding.revision,
        &finding.rows,
        finding.acknowledged.as_ref(),
    )
}
