//! Who the members are, how they stand, and changing that. What is left of a change has to have a quorum that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, PreconditionFailed, RaftError};
use openraft::raft::Precondition;
use openraft::rt::{Instant as _, WatchReceiver as _};
use tokio::time::{Instant, timeout_at};

use crate::member::{Member, Raft};
use crate::peers::PeerError;
use crate::types::{LogId, MemberId, Node, TypeConfig};

/// Who has said nothing for so long is taken not to be there.
const THERE_WITHIN: Duration = Duration::from_secs(2);
/// Members that may vote: more make every write slower and no cluster safer.
pub const MOST_VOTERS: usize = 5;

/// How a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It votes, and counts for a quorum.
    Voter,
    /// It has what the others have, and counts for nothing.
    Learner,
}

/// A member, as the one that was asked knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStanding {
    /// Its number.
    pub id: MemberId,
    /// What all know of it.
    pub node: Node,
    /// How it takes part.
    pub part: Part,
    /// Up to where its log is known to be as the leader's; only a leader knows.
    pub matched: Option<u64>,
    /// When it was heard last; only a leader knows, and of others than itself.
    pub heard: Option<Duration>,
}

/// How the cluster stands, as one member knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who was asked.
    pub id: MemberId,
    /// Who leads, as far as it knows.
    pub leader: Option<MemberId>,
    /// The term.
    pub term: u64,
    /// The end of its log.
    pub last: u64,
    /// Up to where it has applied it.
    pub applied: u64,
    /// Up to where its newest snapshot goes.
    pub snapshot: u64,
    /// Up to where its log is purged.
    pub purged: u64,
    /// The entry that made the members what they are; it may not be committed yet.
    pub since: u64,
    /// Whether a change of members is under way.
    pub is_changing: bool,
    /// Who votes once that is made; the voters, where none is.
    pub next_voters: BTreeSet<MemberId>,
    /// Everybody, by number.
    pub members: Vec<MemberStanding>,
}

/// A change of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new one, as a learner.
    Add {
        /// Its number: one that nobody had.
        id: MemberId,
        /// What all are told of it.
        node: Node,
    },
    /// A learner votes from now on.
    Promote(MemberId),
    /// A voter is a learner from now on.
    Demote(MemberId),
    /// It is a member no more.
    Remove(MemberId),
    /// It is called elsewhere from now on.
    Move {
        /// Who.
        id: MemberId,
        /// What all are told of it; its name stays.
        node: Node,
    },
    /// It leads from now on.
    Lead(MemberId),
}

/// Why the members are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Only who leads changes them.
    #[error("only the leader changes who the members are, and this member does not lead")]
    NotLeader,
    /// There is no such member.
    #[error("there is no member {0}")]
    NoMember(MemberId),
    /// It is there already.
    #[error("member {0} is {1} already")]
    Already(MemberId, &'static str),
    /// Another has that name or address.
    #[error("member {0} has that name or address; remove it first")]
    Taken(MemberId),
    /// It leads.
    #[error("member {0} leads; have another lead first (`transfer-leader`)")]
    Leads(MemberId),
    /// Nobody would vote.
    #[error("the last voter cannot go: nobody would be left to decide anything")]
    LastVoter,
    /// There would be too many voters.
    #[error("there are {MOST_VOTERS} voters; more would make every write slower and nothing safer")]
    TooMany,
    /// Of those that would vote too few are there.
    #[error(
        "of the {voters} that would vote then, {there} are there, and {needed} are needed: the cluster would decide nothing any more. Bring the others back first, or say that it is meant (`--force`)"
    )]
    NoQuorum {
        /// How many would vote.
        voters: usize,
        /// How many of them were heard within the last 2 s.
        there: usize,
        /// How many it takes.
        needed: usize,
    },
    /// The learner is far behind.
    #[error(
        "member {id} has {matched} of {last} entries: it would hold everybody up; wait until it has caught up, or say that it is meant (`--force`)"
    )]
    Behind {
        /// Who.
        id: MemberId,
        /// Up to where it has them.
        matched: u64,
        /// Where the leader's end.
        last: u64,
    },
    /// It would have another name.
    #[error("member {0} is {1}, and keeps that name")]
    Renamed(MemberId, String),
    /// It does not answer where it is to be called.
    #[error(
        "the leader does not reach member {node}: {why}; set `peer_address` in its configuration to where the others reach it, and start it again"
    )]
    NotThere {
        /// Who, and where.
        node: Node,
        /// What became of the call.
        why: String,
    },
    /// It does not vote.
    #[error("member {0} is a learner, and learners do not lead")]
    Learner(MemberId),
    /// What the leader said.
    #[error("{detail}")]
    Refused {
        /// A stable word.
        reason: String,
        /// For people.
        detail: String,
    },
    /// Nobody leads whom this member can reach; nothing was changed.
    #[error("nobody leads the cluster at the moment, as far as this member can tell; try again")]
    Nobody,
    /// The leader was lost meanwhile.
    #[error("whether it was done is not known: {0}; look before you try again")]
    Unknown(String),
    /// Another change is under way.
    #[error("the change was not made: {0}")]
    Failed(String),
}

impl ChangeError {
    /// A stable word for programs.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotLeader => "NOT_LEADER",
            Self::Unknown(_) => "UNKNOWN_OUTCOME",
            Self::NoMember(_) => "NO_SUCH_MEMBER",
            Self::Already(..) => "ALREADY_SO",
            Self::Taken(_) => "MEMBER_TAKEN",
            Self::Leads(_) => "MEMBER_LEADS",
            Self::LastVoter => "LAST_VOTER",
            Self::TooMany => "TOO_MANY_VOTERS",
            Self::NoQuorum { .. } => "NO_QUORUM",
            Self::Behind { .. } => "MEMBER_BEHIND",
            Self::Learner(_) => "MEMBER_IS_LEARNER",
            Self::Renamed(..) => "MEMBER_RENAMED",
            Self::NotThere { .. } => "MEMBER_NOT_THERE",
            Self::Refused { reason, .. } => reason,
            Self::Nobody => "NO_LEADER",
            Self::Failed(_) => "CHANGE_FAILED",
        }
    }

    /// Whether asking again may help: nobody leads, another change came first, or what became of it is not known.
    pub fn is_passing(&self) -> bool {
        // By its word: the same whether the leader was asked, or another that asked the leader.
        matches!(
            self.reason(),
            "NO_LEADER" | "NOT_LEADER" | "UNKNOWN_OUTCOME" | "CHANGE_FAILED"
        )
    }
}

/// Entries that a learner may lack when it is to vote.
const BEHIND: u64 = 1_000;

impl Standing {
    /// A member by its number.
    pub fn of(&self, id: MemberId) -> Option<&MemberStanding> {
        self.members.iter().find(|member| member.id == id)
    }

    pub(crate) fn voters(&self) -> BTreeSet<MemberId> {
        let voters = self.members.iter().filter(|member| member.part == Part::Voter);
        voters.map(|member| member.id).collect()
    }

    /// Who could lead in the place of this leader, if `may` it: who votes, also once a change that is under way is made, is heard, and has the
    /// most.
    pub(crate) fn successor(&self, may: impl Fn(&MemberStanding) -> bool) -> Option<MemberId> {
        let others = self.members.iter().filter(|member| {
            self.next_voters.contains(&member.id)
                && member.part == Part::Voter
                && member.id != self.id
                && member.heard.is_some()
                && may(member)
        });
        let next = others.max_by_key(|member| (member.matched, std::cmp::Reverse(member.heard)));
        next.map(|member| member.id)
    }

    /// Whether of these voters as many are there as decide.
    pub(crate) fn quorum(&self, voters: &BTreeSet<MemberId>) -> Result<(), ChangeError> {
        let is_there = |id: &&MemberId| {
            let heard = || self.of(**id)?.heard;
            **id == self.id || heard().is_some_and(|heard| heard < THERE_WITHIN)
        };
        let there = voters.iter().filter(is_there).count();
        let needed = voters.len() / 2 + 1;
        match there >= needed {
            true => Ok(()),
            false => Err(ChangeError::NoQuorum {
                voters: voters.len(),
                there,
                needed,
            }),
        }
    }

    /// Whether this change may be made, by what the leader knows.
    ///
    /// # Errors
    /// Why it may not. With `is_meant` what would stop the cluster may be.
    pub fn check(&self, change: &Change, is_meant: bool) -> Result<(), ChangeError> {
        if self.leader != Some(self.id) {
            return Err(ChangeError::NotLeader);
        }
        // Of a change that is under way it is counted what it leads to; who says the same once more goes on with it.
        let mut voters = self.next_voters.clone();
        match change {
            Change::Add { id, node } => {
                if self.of(*id).is_some() {
                    return Err(ChangeError::Already(*id, "a member"));
                }
                let same = |member: &&MemberStanding| {
                    member.node.name == node.name || member.node.address == node.address
                };
                if let Some(taken) = self.members.iter().find(same) {
                    return Err(ChangeError::Taken(taken.id));
                }
                return Ok(());
            }
            Change::Move { id, node } => {
                let known = &self.of(*id).ok_or(ChangeError::NoMember(*id))?.node.name;
                // Members of before had none here.
                if !known.is_empty() && *known != node.name {
                    return Err(ChangeError::Renamed(*id, known.clone()));
                }
                let same = |member: &&MemberStanding| {
                    member.id != *id && (member.node.name == node.name || member.node.address == node.address)
                };
                let taken = self.members.iter().find(same);
                return taken.map_or(Ok(()), |taken| Err(ChangeError::Taken(taken.id)));
            }
            Change::Lead(id) => {
                let part = self.of(*id).ok_or(ChangeError::NoMember(*id))?.part;
                return match part == Part::Voter && self.next_voters.contains(id) {
                    true => Ok(()),
                    false => Err(ChangeError::Learner(*id)),
                };
            }
            Change::Promote(id) => {
                let member = self.of(*id).ok_or(ChangeError::NoMember(*id))?;
                if !voters.insert(*id) && !self.is_changing {
                    return Err(ChangeError::Already(*id, "a voter"));
                }
                if voters.len() > MOST_VOTERS {
                    return Err(ChangeError::TooMany);
                }
                let matched = member.matched.unwrap_or_default();
                if !is_meant && matched.saturating_add(BEHIND) < self.last {
                    return Err(ChangeError::Behind {
                        id: *id,
                        matched,
                        last: self.last,
                    });
                }
            }
            Change::Demote(id) | Change::Remove(id) => {
                self.of(*id).ok_or(ChangeError::NoMember(*id))?;
                let was_voter = self.voters().contains(id);
                voters.remove(id);
                match (change, was_voter) {
                    (Change::Demote(_), false) => return Err(ChangeError::Already(*id, "a learner")),
                    (_, true) if voters.is_empty() => return Err(ChangeError::LastVoter),
                    // It would go on to lead a cluster in which it counts for nothing, as it may do already.
                    _ if *id == self.id => return Err(ChangeError::Leads(*id)),
                    // It counts for nothing.
                    (_, false) => return Ok(()),
                    (_, true) => {}
                }
            }
        }
        match is_meant {
            true => Ok(()),
            false => self.quorum(&voters),
        }
    }
}

/// What a change was checked by.
struct LookedAt {
    /// The entry that made the members what they were then.
    membership: Option<LogId>,
    standing: Standing,
}

impl LookedAt {
    fn of(raft: &Raft) -> Self {
        // In this order: of what comes between, the change is refused.
        let membership = *raft.metrics().borrow_watched().membership_config.log_id();
        Self {
            membership,
            standing: standing(raft),
        }
    }
}

impl Member {
    /// Checks a change. Who leads since a moment ago has heard of nobody yet: it is given the time to.
    async fn checked(&self, change: &Change, is_meant: bool) -> Result<LookedAt, ChangeError> {
        let deadline = Instant::now() + THERE_WITHIN;
        let mut metrics = self.raft().metrics();
        loop {
            let looked_at = LookedAt::of(self.raft());
            let checked = looked_at.standing.check(change, is_meant);
            let may_pass = matches!(
                checked,
                Err(ChangeError::NoQuorum { .. } | ChangeError::Behind { .. })
            );
            if !may_pass || !matches!(timeout_at(deadline, metrics.changed()).await, Ok(Ok(()))) {
                return checked.map(|()| looked_at);
            }
        }
    }

    /// How the cluster stands, as this member knows it.
    pub fn standing(&self) -> Standing {
        standing(self.raft())
    }

    /// Changes who the members are, as their leader, and waits until the change is committed. What would leave no quorum that is there is
    /// refused, unless it `is_meant`. That another is to lead is begun, and not waited for: it does once its log is as this member's.
    ///
    /// # Errors
    /// When this member does not lead, the change may not be made, or is not.
    pub(crate) async fn change_here(&self, change: Change, is_meant: bool) -> Result<(), ChangeError> {
        let raft = self.raft();
        let looked_at = self.checked(&change, is_meant).await?;
        // Whoever votes no more stays as a learner: what was under way may have been about another than who is to go.
        let members = match change {
            Change::Add { id, node } => ChangeMembers::AddNodes([(id, node)].into()),
            Change::Promote(id) => ChangeMembers::AddVoterIds([id].into()),
            Change::Demote(id) => ChangeMembers::RemoveVoters([id].into()),
            Change::Remove(id) => {
                let is_out = looked_at
                    .standing
                    .of(id)
                    .is_some_and(|of| of.part == Part::Learner);
                if !is_out {
                    changed(
                        raft,
                        ChangeMembers::RemoveVoters([id].into()),
                        looked_at.membership,
                    )
                    .await?;
                    let gone = raft
                        .change_membership(ChangeMembers::RemoveNodes([id].into()), true)
                        .await;
                    return gone.map(drop).map_err(|error| {
                        ChangeError::Unknown(format!("it votes no more, and may be a member still: {error}"))
                    });
                }
                ChangeMembers::RemoveNodes([id].into())
            }
            Change::Move { id, node } => {
                if !is_meant {
                    self.answers_there(&looked_at.standing, id, &node).await?;
                }
                ChangeMembers::SetNodes([(id, node)].into())
            }
            Change::Lead(id) if id == *raft.node_id() => return Ok(()),
            Change::Lead(id) => {
                let begun = raft.trigger().transfer_leader(id).await;
                return begun.map_err(|error| ChangeError::Failed(error.to_string()));
            }
        };
        changed(raft, members, looked_at.membership).await
    }

    /// Checks that who is to be called elsewhere answers there, by its certificate: who does not would count for a quorum, and never be part
    /// of one. Where it leads itself it calls itself.
    async fn answers_there(&self, standing: &Standing, id: MemberId, node: &Node) -> Result<(), ChangeError> {
        let is_alone = standing.next_voters.iter().all(|voter| *voter == id);
        let stays = standing
            .of(id)
            .is_some_and(|known| known.node.address == node.address);
        if stays || is_alone {
            return Ok(());
        }
        let peer = self.peers().peer(&node.name, &node.address);
        match peer.compare_state(THERE_WITHIN).await {
            Ok(_) | Err(PeerError::Refused(_)) => Ok(()),
            Err(PeerError::Unreachable(why) | PeerError::Lost(why)) => Err(ChangeError::NotThere {
                node: node.clone(),
                why,
            }),
        }
    }
}

/// Makes a change of the members that were looked at, and of no others.
async fn changed(
    raft: &Raft,
    members: ChangeMembers<MemberId, Node>,
    looked_at: Option<LogId>,
) -> Result<(), ChangeError> {
    let still = Precondition::LastMembershipLogId {
        last_membership_log_id: looked_at,
    };
    let changed = raft.change_membership_if(members, true, [still]).await;
    changed.map(drop).map_err(|error| failed(error, looked_at))
}

fn failed(
    error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>,
    looked_at: Option<LogId>,
) -> ChangeError {
    if error.forward_to_leader().is_some() {
        // It led when it was asked: what it wrote may be committed by another.
        return ChangeError::Unknown("this member led, and does not any more".to_owned());
    }
    match error {
        // Of the second of its two entries: the first is written.
        RaftError::APIError(ClientWriteError::PreconditionFailed(
            PreconditionFailed::LastMembershipLogIdMismatch { expected, .. },
        )) if expected != looked_at => {
            ChangeError::Unknown("another change of members came between its two entries".to_owned())
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => {
            ChangeError::Failed("another change of members came first".to_owned())
        }
        // What it had written before it stopped may be committed by the others.
        RaftError::Fatal(error) => ChangeError::Unknown(error.to_string()),
        error @ RaftError::APIError(_) => ChangeError::Failed(error.to_string()),
    }
}

pub(crate) fn standing(raft: &Raft) -> Standing {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let index = |id: Option<&crate::types::LogId>| id.map_or(0, |id| id.index);
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<MemberId> = membership.voter_ids().collect();
    let configs = membership.get_joint_config();
    let matched = metrics.replication.clone().unwrap_or_default();
    let heard: BTreeMap<MemberId, Duration> = metrics
        .heartbeat
        .iter()
        .flatten()
        .filter_map(|(id, at)| Some((*id, at.as_ref()?.elapsed())))
        .collect();
    let members = membership.nodes().map(|(id, node)| MemberStanding {
        id: *id,
        node: node.clone(),
        part: match voters.contains(id) {
            true => Part::Voter,
            false => Part::Learner,
        },
        matched: matched.get(id).and_then(|id| id.as_ref()).map(|id| id.index),
        heard: heard.get(id).copied().filter(|_| *id != metrics.id),
    });
    Standing {
        id: metrics.id,
        leader: metrics.current_leader,
        term: metrics.current_term,
        last: metrics.last_log_index.unwrap_or_default(),
        applied: index(metrics.last_applied.as_ref()),
        snapshot: index(metrics.snapshot.as_ref()),
        purged: index(metrics.purged.as_ref()),
        since: index(metrics.membership_config.log_id().as_ref()),
        is_changing: configs.len() > 1,
        next_voters: configs.last().cloned().unwrap_or_default(),
        members: members.collect(),
    }
}

#[cfg(test)]
mod tests {
    use openraft::error::{ChangeMembershipError, EmptyMembership, Fatal};

    use super::*;

    fn member(id: MemberId, part: Part, heard: Option<u64>) -> MemberStanding {
        MemberStanding {
            id,
            node: node(&format!("c{id}"), &format!("h{id}:1")),
            part,
            matched: Some(5_000),
            heard: heard.map(Duration::from_millis),
        }
    }

    /// Three voters of whom one is away, and a learner.
    fn cluster() -> Standing {
        Standing {
            id: 1,
            leader: Some(1),
            term: 3,
            last: 5_000,
            applied: 5_000,
            snapshot: 0,
            purged: 0,
            since: 9,
            is_changing: false,
            next_voters: [1, 2, 3].into(),
            members: vec![
                member(1, Part::Voter, None),
                member(2, Part::Voter, Some(50)),
                member(3, Part::Voter, Some(60_000)),
                member(4, Part::Learner, Some(50)),
            ],
        }
    }

    fn node(name: &str, address: &str) -> Node {
        Node {
            name: name.to_owned(),
            address: address.to_owned(),
            ..Node::default()
        }
    }

    fn add(id: MemberId, name: &str, address: &str) -> Change {
        Change::Add {
            id,
            node: node(name, address),
        }
    }

    #[test]
    fn what_leaves_a_quorum_that_is_there_is_let_and_nothing_else() {
        let cluster = cluster();
        let no_quorum = |voters, there, needed| {
            Err(ChangeError::NoQuorum {
                voters,
                there,
                needed,
            })
        };
        for (change, wanted) in [
            (add(5, "c5", "h5:1"), Ok(())),
            (add(4, "c5", "h5:1"), Err(ChangeError::Already(4, "a member"))),
            (add(5, "c2", "h5:1"), Err(ChangeError::Taken(2))),
            (add(5, "c5", "h3:1"), Err(ChangeError::Taken(3))),
            (Change::Promote(4), Ok(())),
            (Change::Promote(2), Err(ChangeError::Already(2, "a voter"))),
            (Change::Promote(9), Err(ChangeError::NoMember(9))),
            // Who is away may go, and who is there may not: then of two one is there.
            (Change::Remove(3), Ok(())),
            (Change::Demote(3), Ok(())),
            (Change::Remove(2), no_quorum(2, 1, 2)),
            (Change::Demote(2), no_quorum(2, 1, 2)),
            (Change::Remove(1), Err(ChangeError::Leads(1))),
            (Change::Demote(1), Err(ChangeError::Leads(1))),
            (Change::Demote(4), Err(ChangeError::Already(4, "a learner"))),
            (Change::Remove(4), Ok(())),
        ] {
            assert_eq!(cluster.check(&change, false), wanted, "{change:?}");
        }
        assert_eq!(cluster.check(&Change::Remove(2), true), Ok(()));
        // A new voter that is away stops a cluster that has nobody to spare.
        let mut two_of_three = cluster.clone();
        two_of_three.members[3].heard = None;
        assert_eq!(two_of_three.check(&Change::Promote(4), false), no_quorum(4, 2, 3));
    }

    #[test]
    fn what_the_leader_said_to_another_passes_as_if_it_had_been_asked_itself() {
        for (error, is_passing) in [
            (ChangeError::Nobody, true),
            (ChangeError::NotLeader, true),
            (ChangeError::Unknown("no answer".to_owned()), true),
            (ChangeError::Failed("another change came first".to_owned()), true),
            (ChangeError::NoMember(4), false),
            (ChangeError::TooMany, false),
        ] {
            let relayed = ChangeError::Refused {
                reason: error.reason().to_owned(),
                detail: error.to_string(),
            };
            assert_eq!(
                [&error, &relayed].map(ChangeError::is_passing),
                [is_passing; 2],
                "{error}"
            );
        }
    }

    #[test]
    fn what_raft_wrote_before_it_stopped_may_be_done_and_what_it_refused_is_not() {
        let stopped = failed(RaftError::Fatal(Fatal::Stopped), None);
        assert_eq!(stopped.reason(), "UNKNOWN_OUTCOME");
        let refused = ChangeMembershipError::EmptyMembership(EmptyMembership {});
        let refused = failed(RaftError::APIError(refused.into()), None);
        assert_eq!(refused.reason(), "CHANGE_FAILED");
    }

    #[test]
    fn of_a_change_that_is_under_way_it_is_counted_what_it_leads_to() {
        let with = |next: &[MemberId], heard: [Option<u64>; 3]| {
            let mut members = vec![member(1, Part::Voter, None)];
            members.extend((2..).zip(heard).map(|(id, heard)| member(id, Part::Voter, heard)));
            Standing {
                is_changing: true,
                next_voters: next.iter().copied().collect(),
                members,
                ..cluster()
            }
        };
        let no_quorum = Err(ChangeError::NoQuorum {
            voters: 2,
            there: 1,
            needed: 2,
        });
        // The fourth votes no more soon: without the third the two others are all there is, and one is away.
        let demoting = with(&[1, 2, 3], [None, Some(50), Some(50)]);
        assert_eq!(demoting.check(&Change::Remove(3), false), no_quorum);
        assert_eq!(demoting.check(&Change::Remove(2), false), Ok(()));
        // Who says it again goes on with it, and who thinks better of it may.
        assert_eq!(demoting.check(&Change::Demote(4), false), Ok(()));
        assert_eq!(demoting.check(&Change::Promote(4), false), Ok(()));
        let promoting = with(&[1, 2, 3, 4], [Some(50), Some(50), Some(50)]);
        assert_eq!(promoting.check(&Change::Promote(4), false), Ok(()));
        assert_eq!(promoting.check(&Change::Demote(4), false), Ok(()));
        // Who is to vote no more leads nobody, and is not removed by itself.
        assert_eq!(
            demoting.check(&Change::Lead(4), false),
            Err(ChangeError::Learner(4))
        );
        assert_eq!(demoting.check(&Change::Lead(3), false), Ok(()));
        assert_eq!(demoting.successor(|_| true), Some(3));
        let leads_no_more = Standing {
            id: 4,
            leader: Some(4),
            ..cluster()
        };
        let leads = Err(ChangeError::Leads(4));
        assert_eq!(leads_no_more.check(&Change::Remove(4), false), leads);
        let last = with(&[2], [Some(50), Some(50), Some(50)]);
        assert_eq!(last.check(&Change::Demote(2), true), Err(ChangeError::LastVoter));
    }

    #[test]
    fn the_last_voter_stays_who_is_behind_does_not_vote_and_only_the_leader_changes_anything() {
        let mut alone = cluster();
        alone.members.retain(|member| member.id == 1 || member.id == 4);
        alone.next_voters = [1].into();
        for meant in [false, true] {
            assert_eq!(
                alone.check(&Change::Remove(1), meant),
                Err(ChangeError::LastVoter)
            );
        }
        alone.members[1].matched = Some(100);
        let behind = ChangeError::Behind {
            id: 4,
            matched: 100,
            last: 5_000,
        };
        assert_eq!(alone.check(&Change::Promote(4), false), Err(behind));
        assert_eq!(alone.check(&Change::Promote(4), true), Ok(()));
        let follower = Standing {
            leader: Some(2),
            ..cluster()
        };
        assert_eq!(
            follower.check(&Change::Remove(3), true),
            Err(ChangeError::NotLeader)
        );
        let mut many = cluster();
        many.members
            .extend((5..=8).map(|id| member(id, Part::Voter, Some(10))));
        many.next_voters = many.voters();
        assert_eq!(many.check(&Change::Promote(4), true), Err(ChangeError::TooMany));
    }
}
