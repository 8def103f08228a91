//! What was heard of agents, by this member and, as they tell it, by the others. Not replicated: an agent tells it anew whenever
//! it connects.

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
    /// How often anything of this but the time of the last word has changed.
    pub changes: u64,
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
/// [drops](Self::keep) what was heard of others; and that for each member.
#[derive(Debug, Default)]
pub struct Fleet(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// By this member.
    here: BTreeMap<AgentId, Seen>,
    /// By the others, as they told.
    elsewhere: BTreeMap<String, Told>,
}

/// What another member told.
#[derive(Debug, Default)]
struct Told {
    /// Of which run of it; `None` where it has to tell everything.
    start: Option<u64>,
    /// When it told anything.
    at: Option<Instant>,
    agents: BTreeMap<AgentId, Seen>,
}

impl All {
    /// What everybody has heard of an agent.
    fn of<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a Seen> {
        let elsewhere = self.elsewhere.values().filter_map(|told| told.agents.get(agent));
        self.here.get(agent).into_iter().chain(elsewhere)
    }

    /// What was heard last: an agent speaks to one member at a time.
    fn newest<'a>(&'a self, agent: &'a AgentId) -> Option<&'a Seen> {
        self.of(agent).max_by_key(|seen| seen.heard)
    }

    fn agents(&self) -> BTreeSet<&AgentId> {
        let elsewhere = self.elsewhere.values().flat_map(|told| told.agents.keys());
        self.here.keys().chain(elsewhere).collect()
    }
}

impl Fleet {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something heard of an agent here.
    pub fn note(&self, agent: &AgentId, at: Timestamp, change: impl FnOnce(&mut Seen)) {
        self.heard_here(agent, at, |seen| {
            seen.changes += 1;
            change(seen);
        });
    }

    /// Notes that an agent is there.
    pub fn alive(&self, agent: &AgentId, at: Timestamp) {
        self.heard_here(agent, at, |_| ());
    }

    fn heard_here(&self, agent: &AgentId, at: Timestamp, change: impl FnOnce(&mut Seen)) {
        let here = &mut self.all().here;
        // It is known by then, but for the first time.
        let seen = match here.get_mut(agent) {
            Some(seen) => seen,
            None => here.entry(agent.clone()).or_default(),
        };
        (seen.last, seen.heard) = (Some(at), Some(Instant::now()));
        change(seen);
    }

    /// Notes that a session has ended. That is no word of the agent: the connection may have been given up for dead.
    pub fn ended(&self, agent: &AgentId) {
        if let Some(seen) = self.all().here.get_mut(agent) {
            seen.sessions = seen.sessions.saturating_sub(1);
            seen.changes += 1;
        }
    }

    /// What was heard of one agent, by whoever heard it last; the sessions of all members.
    pub fn of(&self, agent: &AgentId) -> Seen {
        let all = self.all();
        let newest = all.newest(agent).cloned().unwrap_or_default();
        Seen {
            sessions: all.of(agent).map(|seen| seen.sessions).sum(),
            ..newest
        }
    }

    /// How much is heard of an agent.
    pub fn voice(&self, agent: &AgentId) -> Voice {
        let all = self.all();
        let voice = |seen: &Seen| Voice {
            sessions: all.of(agent).map(|seen| seen.sessions).sum(),
            last: seen.last,
            heard: seen.heard,
        };
        all.newest(agent).map(voice).unwrap_or_default()
    }

    /// Agents that were heard of once, and not since then.
    pub fn quiet_since(&self, since: Instant) -> BTreeSet<AgentId> {
        let all = self.all();
        let is_quiet = |agent: &&AgentId| {
            let heard = all.newest(agent).and_then(|seen| seen.heard);
            heard.is_some_and(|at| at < since)
        };
        all.agents().into_iter().filter(is_quiet).cloned().collect()
    }

    /// The highest epoch in the ledger of an agent that is heard of; 0 where there is none. `is_known` says which agents count.
    pub fn highest_epoch(&self, is_known: impl Fn(&AgentId) -> bool) -> u64 {
        let all = self.all();
        let known = all.agents().into_iter().filter(|agent| is_known(agent));
        let epochs = known.filter_map(|agent| all.newest(agent)?.ledger.map(|(epoch, _)| epoch));
        epochs.max().unwrap_or_default()
    }

    /// The epochs in the ledgers of all agents that are heard of.
    pub fn ledgers(&self) -> Vec<(AgentId, u64)> {
        let all = self.all();
        let epoch = |agent: &AgentId| all.newest(agent)?.ledger.map(|(epoch, _)| epoch);
        let agents = all.agents().into_iter();
        agents
            .filter_map(|agent| Some((agent.clone(), epoch(agent)?)))
            .collect()
    }

    /// Drops what was heard of agents that are not known any more and have no session.
    pub fn keep(&self, is_known: impl Fn(&AgentId) -> bool) {
        let all = &mut *self.all();
        all.here
            .retain(|agent, seen| seen.sessions > 0 || is_known(agent));
        for told in all.elsewhere.values_mut() {
            told.agents.retain(|agent, _| is_known(agent));
        }
    }

    /// Every instance heard of, with its agent, sorted.
    pub fn instances(&self, agent: Option<&AgentId>) -> Vec<pb::Instance> {
        let all = self.all();
        let chosen = all.agents().into_iter();
        let chosen = chosen.filter(|id| agent.is_none_or(|wanted| wanted == *id));
        chosen
            .filter_map(|id| all.newest(id))
            .flat_map(|seen| seen.instances.clone())
            .collect()
    }

    /// What was heard here, of agents of which this says that it is wanted.
    pub fn heard_here_of(&self, is_wanted: impl Fn(&AgentId, &Seen) -> bool) -> Vec<(AgentId, Seen)> {
        let all = self.all();
        let wanted = all.here.iter().filter(|(agent, seen)| is_wanted(agent, seen));
        wanted
            .map(|(agent, seen)| (agent.clone(), seen.clone()))
            .collect()
    }

    /// Takes in what another member heard; `start` tells its runs apart, and `whole` says that this is all of it. Says whether all of it
    /// has to be told: of that run nothing is known here.
    pub fn told(&self, member: &str, start: u64, whole: bool, agents: Vec<(AgentId, Heard)>) -> bool {
        let mut all = self.all();
        let told = all.elsewhere.entry(member.to_owned()).or_default();
        if whole {
            *told = Told {
                start: Some(start),
                ..Told::default()
            };
        } else if told.start != Some(start) {
            return true;
        }
        told.at = Some(Instant::now());
        let mut is_short = false;
        for (
            agent,
            Heard {
                sessions,
                at,
                since,
                status,
            },
        ) in agents
        {
            let before = told.agents.remove(&agent);
            // What it said when it changed was lost on the way.
            is_short |= status.is_none() && before.is_none();
            let base = status.map(|status| *status).or(before).unwrap_or_default();
            told.agents.insert(
                agent,
                Seen {
                    sessions,
                    last: Some(at),
                    heard: since,
                    ..base
                },
            );
        }
        is_short
    }

    /// Takes the sessions of members that have told nothing since then for gone, and forgets what was told by who is no member; says
    /// whether there were any: their agents are on their way to others.
    pub fn lose(&self, since: Instant, is_member: impl Fn(&str) -> bool) -> bool {
        let mut all = self.all();
        let count = all.elsewhere.len();
        all.elsewhere.retain(|member, _| is_member(member));
        let mut is_news = all.elsewhere.len() < count;
        for told in all.elsewhere.values_mut() {
            if told.start.is_some() && told.at.is_none_or(|at| at < since) {
                told.start = None;
                told.agents.values_mut().for_each(|seen| seen.sessions = 0);
                is_news = true;
            }
        }
        is_news
    }
}

/// What another member heard of an agent.
#[derive(Debug)]
pub struct Heard {
    /// Sessions with it.
    pub sessions: u32,
    /// When anything was heard last, for people.
    pub at: Timestamp,
    /// The same by this host's clock that nobody sets.
    pub since: Option<Instant>,
    /// What changed, if anything did but the time.
    pub status: Option<Box<Seen>>,
}

#[cfg(test)]
mod tests;
