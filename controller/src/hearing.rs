//! Members tell each other what they hear of agents: an agent speaks to one of them, and any of them is asked how it is. And whether their
//! disks are full: whoever leads takes nothing that a quorum could not keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use verger_controller_api::fleet::{Fleet, Heard, Seen};
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_proto::peer::v1 as pb;
use verger_wire::digest_bytes;

use crate::adapters::SystemAmbient;
use crate::peers::TlsPeers;

/// Between two words to a member.
const EVERY: Duration = Duration::from_secs(1);
/// A member that tells nothing for so long hears nothing.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// How long it has to take it in.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);
/// Agents in one message.
const AT_ONCE: usize = 64;

/// Takes in what a member tells; says whether it has to tell everything.
pub(crate) fn take(fleet: &Fleet, member: &str, request: pb::ShareHeardRequest) -> bool {
    let pb::ShareHeardRequest {
        start,
        whole,
        agents,
        full: _,
    } = request;
    let (now, here) = (SystemAmbient.now(), Instant::now());
    let agents = agents.into_iter().filter_map(|agent| {
        let pb::HeardAgent {
            agent_id,
            ago_millis,
            sessions,
            status,
        } = agent;
        // By the clock of who tells it, which nobody sets: what it took to get here is seconds at most.
        let ago = Duration::from_millis(ago_millis);
        let heard = Heard {
            sessions,
            at: now.checked_sub(ago).unwrap_or(now),
            since: here.checked_sub(ago),
            status: status.and_then(seen).map(Box::new),
        };
        Some((agent_id.parse().ok()?, heard))
    });
    fleet.told(member, start, whole, agents.collect())
}

fn seen(status: pb::HeardStatus) -> Option<Seen> {
    let pb::HeardStatus {
        epoch,
        root,
        agent_version,
        refusal,
        instances,
        controls,
        unreadable,
        findings_made,
    } = status;
    let ledger = match root.is_empty() {
        true => None,
        false => Some((epoch, Digest::from_bytes(root.as_ref().try_into().ok()?))),
    };
    Some(Seen {
        ledger,
        version: agent_version,
        refusal,
        instances,
        controls,
        unreadable: unreadable.into_iter().collect(),
        findings_made,
        ..Seen::default()
    })
}

fn status(seen: &Seen) -> pb::HeardStatus {
    let (epoch, root) = match &seen.ledger {
        Some((epoch, root)) => (*epoch, digest_bytes(root)),
        None => (0, bytes::Bytes::new()),
    };
    pb::HeardStatus {
        epoch,
        root,
        agent_version: seen.version.clone(),
        refusal: seen.refusal.clone(),
        instances: seen.instances.clone(),
        controls: seen.controls.clone(),
        unreadable: seen.unreadable.clone().into_iter().collect(),
        findings_made: seen.findings_made,
    }
}

/// What one member was told.
#[derive(Default)]
struct Line {
    /// By agent: how often anything had changed, and when it was heard.
    told: BTreeMap<AgentId, (u64, Option<Instant>)>,
    /// Whether it is in the middle of it.
    knows: bool,
}

impl Line {
    /// What it is told next.
    fn messages(&mut self, fleet: &Fleet, start: u64, full: &str) -> Vec<pb::ShareHeardRequest> {
        let whole = !std::mem::replace(&mut self.knows, true);
        if whole {
            self.told.clear();
        }
        let news =
            fleet.heard_here_of(|agent, seen| self.told.get(agent) != Some(&(seen.changes, seen.heard)));
        let agents: Vec<pb::HeardAgent> = news
            .into_iter()
            .map(|(agent, seen)| {
                let before = self.told.insert(agent.clone(), (seen.changes, seen.heard));
                let is_new = before.is_none_or(|(changes, _)| changes != seen.changes);
                let ago = seen.heard.map(|at| at.elapsed().as_millis());
                pb::HeardAgent {
                    agent_id: agent.to_string(),
                    ago_millis: ago.map_or(u64::MAX, |ago| u64::try_from(ago).unwrap_or(u64::MAX)),
                    sessions: seen.sessions,
                    status: is_new.then(|| status(&seen)),
                }
            })
            .collect();
        let message = |whole, agents: &[pb::HeardAgent]| pb::ShareHeardRequest {
            start,
            whole,
            agents: agents.to_vec(),
            full: full.to_owned(),
        };
        // One at least: that nothing is new is a word, too.
        let (first, rest) = agents.split_at(agents.len().min(AT_ONCE));
        std::iter::once(message(whole, first))
            .chain(rest.chunks(AT_ONCE).map(|some| message(false, some)))
            .collect()
    }
}

/// Tells the others, for ever. `start` is a number that no other run of this member has.
pub(crate) async fn keep_telling(member: Arc<Member>, peers: Arc<TlsPeers>, fleet: Arc<Fleet>, start: u64) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    let mut busy: BTreeSet<String> = BTreeSet::new();
    let mut telling: JoinSet<(String, bool)> = JoinSet::new();
    loop {
        tokio::select! {
            _ = every.tick() => {}
            Some(Ok((name, is_taken))) = telling.join_next() => {
                busy.remove(&name);
                if let Some(line) = lines.get_mut(&name) {
                    line.knows &= is_taken;
                }
                continue;
            }
        }
        let full = member.full().unwrap_or_default();
        let standing = member.standing();
        let others: Vec<_> = standing
            .members
            .into_iter()
            .filter(|other| other.id != standing.id)
            .collect();
        lines.retain(|name, _| others.iter().any(|other| other.node.name == *name));
        for other in others {
            let name = other.node.name;
            if !busy.insert(name.clone()) {
                continue;
            }
            let messages = lines
                .entry(name.clone())
                .or_default()
                .messages(&fleet, start, &full);
            let peer = peers.line(&name, &other.node.address);
            telling.spawn(async move {
                for message in messages {
                    match peer.share_heard(message, TAKEN_WITHIN).await {
                        Ok(pb::ShareHeardResponse { again: false }) => {}
                        _ => return (name, false),
                    }
                }
                (name, true)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(fleet: &Fleet, agent: &str, version: &str) {
        fleet.note(&agent.parse().expect("an id"), SystemAmbient.now(), |seen| {
            seen.sessions = 1;
            seen.version = version.to_owned();
        });
    }

    /// Has one fleet told by another; says whether everything is to be told.
    fn tell(line: &mut Line, from: &Fleet, to: &Fleet, start: u64) -> bool {
        let messages = line.messages(from, start, "");
        messages.into_iter().any(|message| take(to, "c1", message))
    }

    #[test]
    fn what_one_hears_the_other_knows_and_what_it_knows_is_not_told_again() {
        let (here, there) = (Fleet::default(), Fleet::default());
        let mut line = Line::default();
        for number in 0..200 {
            note(&here, &format!("h{number}"), "1");
        }
        assert!(!tell(&mut line, &here, &there, 5));
        for number in 0..200 {
            let seen = there.of(&format!("h{number}").parse().expect("an id"));
            assert_eq!((seen.sessions, seen.version.as_str()), (1, "1"));
            assert!(seen.heard.is_some());
        }
        here.alive(&"h3".parse().expect("an id"), SystemAmbient.now());
        note(&here, "h4", "2");
        let messages = line.messages(&here, 5, "");
        let told: Vec<_> = messages.iter().flat_map(|message| &message.agents).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told.iter().filter(|agent| agent.status.is_some()).count(), 1);
        for message in messages {
            assert!(!take(&there, "c1", message));
        }
        assert_eq!(there.of(&"h4".parse().expect("an id")).version, "2");
        assert_eq!(there.of(&"h3".parse().expect("an id")).version, "1");
        // Whoever starts again knows nothing, and asks.
        let fresh = Fleet::default();
        assert!(tell(&mut line, &here, &fresh, 5));
        line.knows = false;
        assert!(!tell(&mut line, &here, &fresh, 5));
        assert_eq!(fresh.of(&"h4".parse().expect("an id")).version, "2");
        assert_eq!(fresh.instances(None).len(), 0);
    }
}
