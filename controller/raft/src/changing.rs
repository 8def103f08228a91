//! Changing who the members are, at any of them: whoever leads does it.

use std::time::Duration;

use tokio::time::Instant;
use verger_proto::peer::v1 as pb;

use crate::codec;
use crate::leading::{self, Leads};
use crate::member::Member;
use crate::membership::{Change, ChangeError};
use crate::peers::PeerError;
use crate::serving::PeerRefused;

/// How long whoever leads is looked for.
const FIND_WITHIN: Duration = Duration::from_secs(10);
/// Who was asked to lead does so within this, or did not hear it.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// How long another may take to lead in the place of one that is to be stopped.
const ASIDE_WITHIN: Duration = Duration::from_secs(2);
/// Why a change of who leads has failed.
const NOT_LED: &str = "it was asked to lead, and does not: its log may be behind, or it is not reached";
/// How long it may take to answer: three entries, each on a quorum's disks.
pub(crate) const MADE_WITHIN: Duration = Duration::from_secs(20);

impl Member {
    /// Changes who the members are, and waits until the change is committed. What would leave no quorum that is there is refused, unless
    /// it `is_meant`. A leader that is to go, or to vote no more, has another lead first. [`Change::Lead`] is done when that one leads.
    ///
    /// # Errors
    /// When the change may not be made, is not, or that is not known.
    pub async fn change(&self, change: Change, is_meant: bool) -> Result<(), ChangeError> {
        let deadline = Instant::now() + FIND_WITHIN;
        loop {
            let leads = leading::now(self.raft());
            let made = match &leads {
                None => Err(ChangeError::NotLeader),
                Some(Leads::Here(_)) => self.change_here(change.clone(), is_meant).await,
                Some(Leads::There(_, _, node)) => {
                    let peer = self.peers().peer(&node.name, &node.address);
                    outcome(peer.change_members(write(&change, is_meant), MADE_WITHIN).await)
                }
            };
            match made {
                Ok(()) => {
                    let patience = deadline.min(Instant::now() + HEARD_WITHIN);
                    if self.is_settled(&change, patience).await {
                        return Ok(());
                    }
                    // Early where the member stops.
                    if Instant::now() >= deadline || Instant::now() < patience {
                        return Err(ChangeError::Failed(NOT_LED.to_owned()));
                    }
                    continue;
                }
                Err(ChangeError::Leads(id)) => self.hand_over(id).await?,
                Err(ChangeError::NotLeader) => {}
                Err(error) => return Err(error),
            }
            // Who was asked to lead may not have heard it: it is asked again.
            let patience = deadline.min(Instant::now() + HEARD_WITHIN);
            let goes_on = leading::changes_or_passes(self.raft(), leads.as_ref(), patience).await;
            if !goes_on || Instant::now() >= deadline {
                return Err(ChangeError::Nobody);
            }
        }
    }

    /// Makes a change for a peer, if this member leads.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn change_for(
        &self,
        request: pb::ChangeMembersRequest,
    ) -> Result<pb::ChangeMembersResponse, PeerRefused> {
        use pb::change_members_response::Outcome;
        let is_meant = request.force;
        let change = read(request).ok_or_else(|| {
            let unfit = std::io::Error::new(std::io::ErrorKind::InvalidData, "it names no change");
            PeerRefused::Malformed(unfit)
        })?;
        let made = match self.change_here(change, is_meant).await {
            // Whoever asked comes back when another leads.
            Err(ChangeError::Leads(id)) => self.hand_over(id).await.and(Err(ChangeError::NotLeader)),
            other => other,
        };
        let outcome = match made {
            Ok(()) => Outcome::Done(pb::ChangeDone {}),
            Err(error) => Outcome::Refused(pb::ChangeRefused {
                not_leader: error == ChangeError::NotLeader,
                unknown: matches!(error, ChangeError::Unknown(_)),
                reason: error.reason().to_owned(),
                detail: match &error {
                    ChangeError::Unknown(why) => why.clone(),
                    other => other.to_string(),
                },
            }),
        };
        Ok(pb::ChangeMembersResponse {
            outcome: Some(outcome),
        })
    }

    /// Has another lead, where this member does and another votes: who is to be stopped does not leave the others to an election. Says whether
    /// it was this member that led.
    ///
    /// # Errors
    /// When none of the others was heard, or none leads within 2 s.
    pub async fn step_aside(&self) -> Result<bool, ChangeError> {
        let deadline = Instant::now() + ASIDE_WITHIN;
        let standing = self.standing();
        let Some(Leads::Here(term)) = leading::now(self.raft()) else {
            return Ok(false);
        };
        if standing.voters().len() < 2 {
            return Ok(false);
        }
        let mut leads = Some(Leads::Here(term));
        loop {
            if matches!(leads, Some(Leads::Here(_))) {
                self.hand_over(standing.id).await?;
            }
            let patience = deadline.min(Instant::now() + HEARD_WITHIN);
            if !leading::changes_or_passes(self.raft(), leads.as_ref(), patience).await {
                return Err(ChangeError::Nobody);
            }
            leads = leading::now(self.raft());
            if matches!(&leads, Some(Leads::There(later, ..)) if *later > term) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Err(ChangeError::Nobody);
            }
        }
    }

    /// Has the voter lead whose log is the nearest to this leader's.
    async fn hand_over(&self, leader: u64) -> Result<(), ChangeError> {
        let next = self.standing().successor(|_| true);
        let next = next.ok_or(ChangeError::Leads(leader))?;
        self.change_here(Change::Lead(next), false).await
    }

    /// Waits until another leads who was to; says whether one does by then.
    async fn is_settled(&self, change: &Change, deadline: Instant) -> bool {
        let Change::Lead(wanted) = change else {
            return true;
        };
        loop {
            let leads = leading::now(self.raft());
            let is_wanted = match &leads {
                Some(Leads::Here(_)) => self.raft().node_id() == wanted,
                Some(Leads::There(_, id, _)) => id == wanted,
                None => false,
            };
            if is_wanted || !leading::changes(self.raft(), leads.as_ref(), deadline).await {
                return is_wanted;
            }
        }
    }
}

pub(crate) fn outcome(answer: Result<pb::ChangeMembersResponse, PeerError>) -> Result<(), ChangeError> {
    use pb::change_members_response::Outcome;
    match answer.map(|answer| answer.outcome) {
        Ok(Some(Outcome::Done(pb::ChangeDone {}))) => Ok(()),
        Ok(Some(Outcome::Refused(refused))) => Err(match refused {
            pb::ChangeRefused { not_leader: true, .. } => ChangeError::NotLeader,
            pb::ChangeRefused {
                unknown: true,
                detail,
                ..
            } => ChangeError::Unknown(detail),
            pb::ChangeRefused { reason, detail, .. } => ChangeError::Refused { reason, detail },
        }),
        Ok(None) => Err(ChangeError::Unknown(
            "the leader's answer says nothing".to_owned(),
        )),
        Err(PeerError::Unreachable(_)) => Err(ChangeError::NotLeader),
        Err(PeerError::Refused(why)) => Err(ChangeError::Failed(why)),
        Err(PeerError::Lost(why)) => Err(ChangeError::Unknown(why)),
    }
}

pub(crate) fn write(change: &Change, force: bool) -> pb::ChangeMembersRequest {
    use pb::change_members_request::Change as Said;
    let learner = |id: &u64, node| pb::AddLearner {
        id: *id,
        node: Some(codec::encode_node(node)),
    };
    let change = match change {
        Change::Add { id, node } => Said::Add(learner(id, node)),
        Change::Promote(id) => Said::Promote(*id),
        Change::Demote(id) => Said::Demote(*id),
        Change::Remove(id) => Said::Remove(*id),
        Change::Move { id, node } => Said::Move(learner(id, node)),
        Change::Lead(id) => Said::TransferLeader(*id),
    };
    pb::ChangeMembersRequest {
        change: Some(change),
        force,
    }
}

fn read(request: pb::ChangeMembersRequest) -> Option<Change> {
    use pb::change_members_request::Change as Said;
    Some(match request.change? {
        Said::Add(pb::AddLearner { id, node }) => Change::Add {
            id,
            node: codec::decode_node(node?),
        },
        Said::Promote(id) => Change::Promote(id),
        Said::Demote(id) => Change::Demote(id),
        Said::Remove(id) => Change::Remove(id),
        Said::Move(pb::AddLearner { id, node }) => Change::Move {
            id,
            node: codec::decode_node(node?),
        },
        Said::TransferLeader(id) => Change::Lead(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Node;

    #[test]
    fn every_change_reads_back() {
        let node = Node {
            name: "c4".to_owned(),
            address: "h4:7402".to_owned(),
            api: "h4:7400".to_owned(),
            enrol: "h4:7401".to_owned(),
        };
        for change in [
            Change::Add {
                id: 4,
                node: node.clone(),
            },
            Change::Promote(4),
            Change::Demote(4),
            Change::Remove(4),
            Change::Move { id: 4, node },
            Change::Lead(4),
        ] {
            for force in [false, true] {
                let request = write(&change, force);
                assert_eq!(request.force, force);
                assert_eq!(read(request), Some(change.clone()));
            }
        }
        assert_eq!(read(pb::ChangeMembersRequest::default()), None);
    }
}
