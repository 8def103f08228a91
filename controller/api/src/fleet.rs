//! What this member has heard of the agents that are, or were, connected to it. Not replicated: an agent tells it anew
//! whenever it connects.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_proto::cluster::v1 as pb;

/// What was heard of one agent.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Sessions open now. A new one can begin before the old one is noticed gone.
    pub sessions: u32,
    /// When anything was heard last.
    pub last: Option<Timestamp>,
    /// Epoch and root in its ledger.
    pub ledger: Option<(u64, Digest)>,
    /// Its version.
    pub version: String,
    /// Why it refused the last set offered, if it did.
    pub refusal: String,
    /// Its instances, by runtime and id.
    pub instances: Vec<pb::Instance>,
    /// What each control really does there.
    pub controls: Vec<pb::ControlStatus>,
    /// Why a runtime cannot be read.
    pub unreadable: BTreeMap<String, String>,
    /// Transitions of findings it has made.
    pub findings_made: u64,
}

/// Everything heard. Bounded by the number of enrolled hosts and the size of one status.
#[derive(Debug, Default)]
pub struct Fleet(Mutex<BTreeMap<AgentId, Seen>>);

impl Fleet {
    /// Notes something heard of an agent.
    pub fn note(&self, agent: &AgentId, at: Timestamp, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(agent.clone()).or_default();
        seen.last = Some(at);
        change(seen);
    }

    /// What was heard of one agent.
    pub fn of(&self, agent: &AgentId) -> Seen {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(agent)
            .cloned()
            .unwrap_or_default()
    }

    /// How many sessions of an agent are open, and when anything was heard of it last.
    pub fn heard_of(&self, agent: &AgentId) -> (u32, Option<Timestamp>) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(agent)
            .map_or((0, None), |seen| (seen.sessions, seen.last))
    }

    /// Every instance heard of, with its agent, sorted.
    pub fn instances(&self, agent: Option<&AgentId>) -> Vec<pb::Instance> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = seen
            .iter()
            .filter(|(id, _)| agent.is_none_or(|wanted| wanted == *id));
        chosen.flat_map(|(_, seen)| seen.instances.clone()).collect()
    }
}
