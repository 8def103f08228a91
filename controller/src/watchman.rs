//! Silence is told: a host whose agent is not heard of is a finding, and no sign that all is well.
//!
//! An agent says every five seconds that it is there, on its session. That a session is open says nothing: a host without power
//! or network closes none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use verger_controller_api::fleet::{Fleet, SILENT_AFTER, Voice, is_heard};
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::{Action, Command, Host};
use verger_policy::model::AgentId;

use crate::adapters::SystemAmbient;
use crate::hearing;

/// Between two looks at who was heard.
const EVERY: Duration = Duration::from_secs(1);
/// Every so many looks all hosts are looked at, also where nobody fell silent or spoke again: what was not told is told then.
const ALL_AFTER: u32 = 5;
/// Agents that lost their controller come back within a minute, each when its own waiting is over.
const AFTER_START: Duration = Duration::from_secs(90);
/// A member that did not look for so long did not listen either: it was stopped, or starved.
const BREAK: Duration = Duration::from_secs(5);
/// So many are told of at once: the log packs them into one entry.
const AT_ONCE: usize = 256;

/// Whether an agent is silent, to a member that listens since then without a break; `None` where that cannot be known yet.
fn is_silent(voice: Voice, since: Instant, now: Instant) -> Option<bool> {
    let Voice { sessions, heard, .. } = voice;
    if is_heard(heard, now) {
        return Some(false);
    }
    // Whoever was heard since speaks to this member; whoever was not may be on the way to it.
    let is_here = sessions > 0 || heard.is_some_and(|at| at >= since);
    let patience = if is_here { SILENT_AFTER } else { AFTER_START };
    let quiet_from = heard.map_or(since, |at| at.max(since));
    (now.saturating_duration_since(quiet_from) > patience).then_some(true)
}

/// What one look leaves for the next.
struct Watch {
    /// Since when this member listens without a break.
    since: Instant,
    /// When the last look was over.
    looked: Instant,
    /// Of whom nothing had been heard for too long.
    quiet: BTreeSet<AgentId>,
    /// How many looks ago all hosts were looked at.
    looks: u32,
}

impl Watch {
    fn begin(now: Instant) -> Self {
        Self {
            since: now,
            looked: now,
            quiet: BTreeSet::new(),
            looks: ALL_AFTER,
        }
    }

    /// Takes in who is quiet now; says whether all hosts are to be looked at.
    fn is_due(&mut self, now: Instant, leads: bool, quiet: BTreeSet<AgentId>) -> bool {
        if !leads || now.saturating_duration_since(self.looked) > BREAK {
            self.since = now;
        }
        self.looks += 1;
        let is_news = quiet != self.quiet;
        self.quiet = quiet;
        let is_due = is_news || self.looks >= ALL_AFTER;
        if is_due {
            self.looks = 0;
        }
        is_due
    }
}

/// Watches for ever.
pub(crate) async fn keep_watch(member: Arc<Member>, fleet: Arc<Fleet>, name: String) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::begin(Instant::now());
    loop {
        every.tick().await;
        let (now, leads) = (Instant::now(), member.is_leading());
        let quiet = now
            .checked_sub(SILENT_AFTER)
            .map(|limit| fleet.quiet_since(limit))
            .unwrap_or_default();
        if is_lost(&member, &fleet, now) {
            watch.since = now;
        }
        if watch.is_due(now, leads, quiet) {
            let changed = changed(&member, &fleet, watch.since, now);
            if leads {
                tell(&member, &name, changed).await;
                tell(&member, &name, ahead(&member, &fleet)).await;
            }
        }
        watch.looked = Instant::now();
    }
}

/// Whether a member fell silent that heard agents: they come back within a minute, elsewhere.
fn is_lost(member: &Member, fleet: &Fleet, now: Instant) -> bool {
    let members = member.standing().members;
    now.checked_sub(hearing::TOLD_WITHIN).is_some_and(|limit| {
        fleet.lose(limit, |name| {
            members.iter().any(|member| member.node.name == name)
        })
    })
}

/// Who fell silent, or speaks again, and when it was heard last. Drops what was heard of hosts that were removed.
fn changed(member: &Member, fleet: &Fleet, since: Instant, now: Instant) -> Vec<Action> {
    member.read(|state| {
        fleet.keep(|agent| state.host(agent).is_some());
        let told = state.silent();
        // Whoever was shut out is silent.
        let hosts = state.hosts().filter(|(_, host)| host.serves());
        hosts
            .filter_map(|(agent, _)| {
                let voice = fleet.voice(agent);
                let silent = is_silent(voice, since, now)?;
                (silent != told(agent)).then(|| {
                    tracing::warn!(%agent, silent, "an agent fell silent, or speaks again");
                    Action::TellSilence {
                        agent: agent.clone(),
                        silent,
                        since: voice.last,
                        unrecorded: true,
                    }
                })
            })
            .collect()
    })
}

/// Whose ledger is ahead of the set in force, or is not any more.
fn ahead(member: &Member, fleet: &Fleet) -> Vec<Action> {
    let ledgers = fleet.ledgers();
    member.read(|state| {
        let told = state.told_ahead();
        let in_force = state.set().epoch();
        let changed = ledgers.into_iter().filter(|(agent, epoch)| {
            let serves = state.host(agent).is_some_and(Host::serves);
            serves && (*epoch > in_force) != told(agent)
        });
        changed
            .map(|(agent, epoch)| {
                tracing::warn!(%agent, epoch, in_force, "an agent's ledger is ahead of the set, or not any more");
                Action::TellAhead { agent, epoch }
            })
            .collect()
    })
}

/// Tells of them all. What is not told now is found again at the next look.
async fn tell(member: &Arc<Member>, name: &str, changed: Vec<Action>) {
    let stamp = SystemAmbient.now();
    for some in changed.chunks(AT_ONCE) {
        let mut telling = JoinSet::new();
        for action in some {
            let command = Command::of_member(name, stamp, action.clone());
            let member = Arc::clone(member);
            telling.spawn(async move { member.propose(&command).await });
        }
        while let Some(told) = telling.join_next().await {
            if let Ok(Err(error)) = told {
                tracing::warn!(%error, "what agents are like was not told");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn voice(sessions: u32, heard: Option<Instant>) -> Voice {
        Voice {
            sessions,
            last: None,
            heard,
        }
    }

    #[test]
    fn an_agent_is_silent_after_three_heartbeats_whether_or_not_its_session_is_open() {
        let since = Instant::now();
        let heard = since + 100 * SECOND;
        for sessions in [0, 1, 2] {
            let after = |seconds| is_silent(voice(sessions, Some(heard)), since, heard + seconds * SECOND);
            assert_eq!((after(0), after(13)), (Some(false), Some(false)), "{sessions}");
            assert_eq!((after(14), after(900)), (Some(true), Some(true)), "{sessions}");
        }
    }

    #[test]
    fn of_a_member_that_has_just_started_nobody_is_known_to_be_silent_before_he_could_be_back() {
        let since = Instant::now();
        let after = |sessions, seconds| is_silent(voice(sessions, None), since, since + seconds * SECOND);
        assert_eq!((after(0, 0), after(0, 90)), (None, None));
        assert_eq!(after(0, 91), Some(true));
        assert_eq!(
            (after(1, 13), after(1, 14)),
            (None, Some(true)),
            "it came, and says nothing"
        );
    }

    #[test]
    fn a_member_that_was_stopped_accuses_nobody_of_the_time_it_did_not_listen() {
        let began = Instant::now();
        let mut watch = Watch::begin(began);
        let heard = began + 2 * SECOND;
        watch.is_due(began + 3 * SECOND, true, BTreeSet::new());
        watch.looked = began + 3 * SECOND;
        assert_eq!(watch.since, began);
        let woken = began + 60 * SECOND;
        watch.is_due(woken, true, BTreeSet::new());
        let judge = |sessions, seconds| {
            is_silent(
                voice(sessions, Some(heard)),
                watch.since,
                woken + seconds * SECOND,
            )
        };
        assert_eq!((judge(1, 0), judge(1, 13)), (None, None));
        assert_eq!(judge(1, 14), Some(true));
        assert_eq!(
            (judge(0, 90), judge(0, 91)),
            (None, Some(true)),
            "its session was lost meanwhile"
        );
        // Nor does one that did not lead.
        watch.looked = woken;
        watch.is_due(woken + SECOND, false, BTreeSet::new());
        assert_eq!(watch.since, woken + SECOND);
    }

    #[test]
    fn all_hosts_are_looked_at_when_somebody_falls_silent_and_every_five_looks() {
        let now = Instant::now();
        let mut watch = Watch::begin(now);
        let one: BTreeSet<AgentId> = ["h1".parse().expect("an id")].into();
        let mut look = |quiet: &BTreeSet<AgentId>| watch.is_due(now, true, quiet.clone());
        let none = BTreeSet::new();
        assert!(look(&none), "the first");
        assert_eq!([(); 5].map(|()| look(&none)), [false, false, false, false, true]);
        assert!(look(&one) && !look(&one) && look(&none));
    }
}
