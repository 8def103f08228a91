//! The applied state in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::finding::{Acknowledgement, FindingUid, Transition};
use verger_policy::model::{AgentId, ObjectKey};
use verger_policy::set::PolicySet;
use verger_seal::TrustRoot;

use crate::Response;

/// The founding of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Digest of trust root version 1.
    pub id: Digest,
    /// The trust root in force.
    pub trust_root: TrustRoot,
    /// Its envelope, verbatim.
    pub envelope: Bytes,
}

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Hash of the secret.
    pub secret_hash: Digest,
    /// The only agent it serves.
    pub agent: AgentId,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether it was used.
    pub spent: bool,
}

/// An enrolled host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// When it was first enrolled.
    pub enrolled: Timestamp,
    /// Digest of the agent's public key.
    pub key: Digest,
    /// Sequence of the last transition taken in.
    pub last_sequence: u64,
}

/// One finding: the last transition of every host, and a person's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingState {
    /// Where in the log it last changed.
    pub revision: u64,
    /// Per host.
    pub rows: BTreeMap<AgentId, Transition>,
    /// Dropped when the finding opens again.
    pub acknowledged: Option<Acknowledgement>,
}

/// What every member makes of the same log.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(crate) revision: u64,
    pub(crate) clock: Timestamp,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) set: PolicySet,
    pub(crate) seal: Bytes,
    pub(crate) object_revisions: BTreeMap<ObjectKey, u64>,
    pub(crate) tombstones: BTreeMap<ObjectKey, u64>,
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) hosts: BTreeMap<AgentId, Host>,
    pub(crate) findings: BTreeMap<FindingUid, FindingState>,
    pub(crate) findings_by_revision: BTreeSet<(u64, FindingUid)>,
    pub(crate) findings_of: BTreeMap<AgentId, usize>,
    pub(crate) requests: BTreeMap<String, (Timestamp, Response)>,
    pub(crate) requests_by_time: BTreeSet<(Timestamp, String)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            revision: 0,
            clock: Timestamp::UNIX_EPOCH,
            cluster: None,
            set: PolicySet::empty(),
            seal: Bytes::new(),
            object_revisions: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            tokens: BTreeMap::new(),
            hosts: BTreeMap::new(),
            findings: BTreeMap::new(),
            findings_by_revision: BTreeSet::new(),
            findings_of: BTreeMap::new(),
            requests: BTreeMap::new(),
            requests_by_time: BTreeSet::new(),
        }
    }
}

impl State {
    pub(crate) fn put_finding(&mut self, uid: FindingUid, finding: FindingState) {
        if let Some(before) = self.findings.get(&uid) {
            let agents = before.rows.keys().cloned().collect();
            self.findings_by_revision.remove(&(before.revision, uid));
            self.uncount(agents);
        }
        self.findings_by_revision.insert((finding.revision, uid));
        for agent in finding.rows.keys() {
            *self.findings_of.entry(agent.clone()).or_default() += 1;
        }
        self.findings.insert(uid, finding);
    }

    /// Takes a finding out.
    pub(crate) fn drop_finding(&mut self, uid: &FindingUid) {
        let Some(before) = self.findings.remove(uid) else {
            return;
        };
        self.findings_by_revision.remove(&(before.revision, *uid));
        self.uncount(before.rows.into_keys().collect());
    }

    /// An agent without findings has no count, as in a state that was read from its rows.
    fn uncount(&mut self, agents: Vec<AgentId>) {
        for agent in agents {
            if let Some(count) = self.findings_of.get_mut(&agent) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.findings_of.remove(&agent);
                }
            }
        }
    }

    pub(crate) fn put_request(&mut self, id: String, at: Timestamp, response: Response) {
        self.drop_request(&id);
        self.requests_by_time.insert((at, id.clone()));
        self.requests.insert(id, (at, response));
    }

    pub(crate) fn drop_request(&mut self, id: &str) {
        if let Some((at, _)) = self.requests.remove(id) {
            self.requests_by_time.remove(&(at, id.to_owned()));
        }
    }
}
