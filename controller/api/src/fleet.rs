//! What this member has heard of the agents that are, or were, connected to it. Not replicated: an agent tells it anew
//! whenever it connects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_proto::cluster::v1 as pb;

/// An agent of which nothing is heard for longer is silent, whether or not it has a session. Two heartbeats were missed then, and the
/// third is about to be: with a look and a commit that is told within three, 15 s.
pub const SILENT_AFTER: Duration = Duration::from_secs(13);

/// Whether an agent that was heard last then is not silent.
pub fn is_heard(heard: Option<Instant>, now: Instant) -> bool {
    heard.is_some_and(|at| now.saturating_duration_since(at) <= SILENT_AFTER)
}

/// What was heard of one agent.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Sessions open now, of the agent's own machine. A new one can begin before the old one is noticed gone.
    pub sessions: u32,
    /// When anything was heard last, for people.
    pub last: Option<Timestamp>,
    /// The same by a clock that nobody sets, to judge silence by.
    pub heard: Option<Instant>,
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

/// How much is heard of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voice {
    /// Sessions open now, whether or not anything comes of them.
    pub sessions: u32,
    /// When anything was heard last, for people; `None` if never by this member.
    pub last: Option<Timestamp>,
    /// The same by a clock that nobody sets.
    pub heard: Option<Instant>,
}

/// Everything heard. Bounded by the number of known hosts and the size of one status, as long as somebody
/// [drops](Self::keep) what was heard of others.
#[derive(Debug, Default)]
pub struct Fleet(Mutex<BTreeMap<AgentId, Seen>>);

impl Fleet {
    fn all(&self) -> MutexGuard<'_, BTreeMap<AgentId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something heard of an agent. That it is there at all is enough.
    pub fn note(&self, agent: &AgentId, at: Timestamp, change: impl FnOnce(&mut Seen)) {
        let mut all = self.all();
        // It is known by then, but for the first time.
        let seen = match all.get_mut(agent) {
            Some(seen) => seen,
            None => all.entry(agent.clone()).or_default(),
        };
        (seen.last, seen.heard) = (Some(at), Some(Instant::now()));
        change(seen);
    }

    /// Notes that a session has ended. That is no word of the agent: the connection may have been given up for dead.
    pub fn ended(&self, agent: &AgentId) {
        if let Some(seen) = self.all().get_mut(agent) {
            seen.sessions = seen.sessions.saturating_sub(1);
        }
    }

    /// What was heard of one agent.
    pub fn of(&self, agent: &AgentId) -> Seen {
        self.all().get(agent).cloned().unwrap_or_default()
    }

    /// How much is heard of an agent.
    pub fn voice(&self, agent: &AgentId) -> Voice {
        let all = self.all();
        let voice = |seen: &Seen| Voice {
            sessions: seen.sessions,
            last: seen.last,
            heard: seen.heard,
        };
        all.get(agent).map(voice).unwrap_or_default()
    }

    /// Agents that were heard of once, and not since then.
    pub fn quiet_since(&self, since: Instant) -> BTreeSet<AgentId> {
        let all = self.all();
        let quiet = all
            .iter()
            .filter(|(_, seen)| seen.heard.is_some_and(|at| at < since));
        quiet.map(|(agent, _)| agent.clone()).collect()
    }

    /// Drops what was heard of agents that are not known any more and have no session.
    pub fn keep(&self, is_known: impl Fn(&AgentId) -> bool) {
        self.all()
            .retain(|agent, seen| seen.sessions > 0 || is_known(agent));
    }

    /// Every instance heard of, with its agent, sorted.
    pub fn instances(&self, agent: Option<&AgentId>) -> Vec<pb::Instance> {
        let all = self.all();
        let chosen = all
            .iter()
            .filter(|(id, _)| agent.is_none_or(|wanted| wanted == *id));
        chosen.flat_map(|(_, seen)| seen.instances.clone()).collect()
    }
}
