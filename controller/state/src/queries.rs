//! What may be asked of the state.

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::finding::{Finding, FindingUid, fold};
use verger_policy::model::{AgentId, ObjectKey};
use verger_policy::set::PolicySet;

use crate::state::{Cluster, FindingState, Host, State};

impl State {
    /// The log index of the last application.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The replicated clock.
    pub const fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The founding, if it took place.
    pub const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Whether a join token with this secret serves this agent and key now. One that was spent serves the key it was spent for,
    /// so that an agent whose answer was lost asks again.
    pub fn token_serves(&self, token: &str, secret: &Digest, agent: &AgentId, key: &Digest) -> bool {
        use subtle::ConstantTimeEq as _;
        let Some(token) = self.tokens.get(token) else {
            return false;
        };
        let holds = bool::from(token.secret_hash.as_bytes().ct_eq(secret.as_bytes()));
        let unspent = !token.spent || self.hosts.get(agent).is_some_and(|host| host.key == *key);
        holds && unspent && token.agent == *agent && token.expires > self.clock
    }

    /// The policy set in force.
    pub const fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The envelope of its seal; `None` before the first set.
    pub fn seal(&self) -> Option<&Bytes> {
        Some(&self.seal).filter(|seal| !seal.is_empty())
    }

    /// Where in the log an object last changed.
    pub fn object_revision(&self, key: &ObjectKey) -> Option<u64> {
        self.object_revisions.get(key).copied()
    }

    /// Objects put in, replaced or deleted after `revision`, with their revisions; `None` where some that were deleted are
    /// no longer remembered, so that a watcher must list again.
    pub fn objects_changed_after(&self, revision: u64) -> Option<Vec<(u64, ObjectKey)>> {
        if self.tombstones.len() >= crate::limits::TOMBSTONES {
            let oldest = self.tombstones.values().min().copied().unwrap_or(0);
            if revision < oldest {
                return None;
            }
        }
        let mut changed: Vec<_> = self
            .object_revisions
            .iter()
            .chain(&self.tombstones)
            .filter(|(_, at)| **at > revision)
            .map(|(key, at)| (*at, key.clone()))
            .collect();
        changed.sort();
        Some(changed)
    }

    /// Enrolled hosts by agent.
    pub fn hosts(&self) -> impl Iterator<Item = (&AgentId, &Host)> {
        self.hosts.iter()
    }

    /// One enrolled host.
    pub fn host(&self, agent: &AgentId) -> Option<&Host> {
        self.hosts.get(agent)
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
            .range((from, Bound::Unbounded))
            .filter_map(|(uid, finding)| folded(*uid, finding))
    }

    /// Findings that changed after `revision`, oldest change first.
    pub fn findings_changed_after(&self, revision: u64) -> impl Iterator<Item = Finding> {
        let from = (
            revision.saturating_add(1),
            FindingUid(verger_policy::digest::Digest::from_bytes([0; 32])),
        );
        self.findings_by_revision
            .range(from..)
            .filter_map(|(_, uid)| self.finding(uid))
    }

    /// Uids that begin with `prefix` (hex), at most `most` of them.
    pub fn findings_with_prefix(&self, prefix: &str, most: usize) -> Vec<FindingUid> {
        self.findings
            .keys()
            .filter(|uid| uid.to_string().starts_with(prefix))
            .take(most)
            .copied()
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
