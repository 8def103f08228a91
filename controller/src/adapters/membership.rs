//! Who the members are, over Raft.

use std::sync::Arc;

use async_trait::async_trait;
use verger_controller_api::ports::{MemberChange, Membership, NewMember, NotChanged};
use verger_controller_raft::{Change, ChangeError, Member, MemberStanding, Node, Part};
use verger_controller_state::{ClusterVersion, State};
use verger_proto::cluster::v1 as pb;

/// The membership that Raft holds.
pub(crate) struct RaftMembership {
    pub(crate) member: Arc<Member>,
    /// Its own name.
    pub(crate) name: String,
    /// Why nobody can join by it.
    pub(crate) closed: Option<String>,
}

fn told(error: &ChangeError) -> NotChanged {
    NotChanged {
        is_passing: error.is_passing(),
        reason: error.reason().to_owned(),
        detail: error.to_string(),
    }
}

impl RaftMembership {
    fn number(&self, name: &str) -> Result<u64, NotChanged> {
        let members = self.member.standing().members;
        let found = members.iter().find(|member| member.node.name == name);
        found.map(|member| member.id).ok_or_else(|| NotChanged {
            is_passing: false,
            reason: "NO_SUCH_MEMBER".to_owned(),
            detail: format!("there is no member {}", verger_policy::model::printable(name)),
        })
    }

    fn told_of(&self, standing: MemberStanding) -> pb::Member {
        let MemberStanding {
            id,
            node,
            part,
            matched,
            heard,
        } = standing;
        pb::Member {
            full: self.member.full_of(id, &node.name).unwrap_or_default(),
            name: node.name,
            number: id,
            peer_address: node.address,
            address: node.api,
            enrol_address: node.enrol,
            voter: part == Part::Voter,
            matched,
            heard_millis_ago: heard.map(|heard| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX)),
            newest_version: self
                .member
                .newest_version_of(id)
                .map_or(0, ClusterVersion::number),
        }
    }
}

#[async_trait]
impl Membership for RaftMembership {
    fn standing(&self) -> pb::ListMembersResponse {
        let standing = self.member.standing();
        let leader = standing
            .members
            .iter()
            .find(|member| Some(member.id) == standing.leader);
        pb::ListMembersResponse {
            answered_by: self.name.clone(),
            leader: leader.map(|leader| leader.node.name.clone()).unwrap_or_default(),
            term: standing.term,
            last: standing.last,
            applied: standing.applied,
            snapshot: standing.snapshot,
            purged: standing.purged,
            changing: standing.is_changing,
            members: standing
                .members
                .into_iter()
                .map(|standing| self.told_of(standing))
                .collect(),
            invitations: Vec::new(),
            epoch: 0,
            highest_ledger_epoch: 0,
            restored: None,
            cluster_version: self.member.read(State::version).number(),
        }
    }

    fn closed(&self) -> Option<String> {
        self.closed.clone()
    }

    async fn change(&self, change: MemberChange, is_forced: bool) -> Result<(), NotChanged> {
        let change = match change {
            MemberChange::Add(NewMember {
                number,
                name,
                peer_address,
                address,
                enrol_address,
            }) => Change::Add {
                id: number,
                node: Node {
                    name,
                    address: peer_address,
                    api: address,
                    enrol: enrol_address,
                },
            },
            MemberChange::Promote(name) => Change::Promote(self.number(&name)?),
            MemberChange::Demote(name) => Change::Demote(self.number(&name)?),
            MemberChange::Remove(name) => Change::Remove(self.number(&name)?),
            MemberChange::Lead(name) => Change::Lead(self.number(&name)?),
        };
        let made = self.member.change(change, is_forced).await;
        made.map_err(|error| told(&error))
    }
}
