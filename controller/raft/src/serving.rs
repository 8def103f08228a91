//! What a member answers its peers. That it is they who ask is for who calls this.

use std::io;

use openraft::storage::Snapshot;
use verger_controller_state::limits;
use verger_controller_store::DurableSnapshot;
use verger_proto::peer::v1 as pb;

use crate::member::Member;
use crate::proposer::commit_for;
use crate::types::{Batch, SnapshotMeta};
use crate::{codec, wire};

/// Why a peer is not answered.
#[derive(Debug, thiserror::Error)]
pub enum PeerRefused {
    /// What it says cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(#[source] io::Error),
    /// This member stops, or its stores failed.
    #[error("this member cannot answer: {0}")]
    Failed(String),
}

pub(crate) fn malformed(error: io::Error) -> PeerRefused {
    PeerRefused::Malformed(error)
}

pub(crate) fn failed(error: impl std::fmt::Display) -> PeerRefused {
    PeerRefused::Failed(error.to_string())
}

impl Member {
    /// Takes entries of whoever leads.
    ///
    /// # Errors
    /// When they cannot be read, or the member has failed.
    pub async fn append(&self, request: pb::AppendRequest) -> Result<pb::AppendResponse, PeerRefused> {
        let request = wire::read_append(request).map_err(malformed)?;
        // Before it is taken: whoever calls may go away meanwhile.
        self.is_led_by(&request.vote);
        let answer = self.raft().append_entries(request).await.map_err(failed)?;
        Ok(wire::write_appended(&answer))
    }

    /// Votes.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn vote(&self, request: pb::VoteRequest) -> Result<pb::VoteResponse, PeerRefused> {
        let request = wire::read_ballot(request.ballot).map_err(malformed)?;
        let answer = self.raft().vote(request).await.map_err(failed)?;
        Ok(pb::VoteResponse {
            result: Some(wire::write_result(&answer)),
        })
    }

    /// Says whether it would vote.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn pre_vote(&self, request: pb::PreVoteRequest) -> Result<pb::PreVoteResponse, PeerRefused> {
        let request = wire::read_ballot(request.ballot).map_err(malformed)?;
        let answer = self.raft().pre_vote(request).await.map_err(failed)?;
        Ok(pb::PreVoteResponse {
            result: Some(wire::write_result(&answer)),
        })
    }

    /// Stands for leader at once, as the leader asks.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn stand(
        &self,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, PeerRefused> {
        let request = wire::read_transfer(request).map_err(malformed)?;
        self.is_led_by(request.from_leader());
        let answer = self
            .raft()
            .handle_transfer_leader(request)
            .await
            .map_err(failed)?;
        Ok(pb::TransferLeaderResponse {
            taken: answer.is_ok(),
        })
    }

    /// Says up to where a read is current, if this member leads.
    pub async fn read_index(&self) -> pb::ReadIndexResponse {
        use pb::read_index_response::Outcome;
        let outcome = match self.confirmed_index().await {
            Ok(index) => Outcome::Index(pb::ReadIndex { index }),
            Err((not_leader, reason)) => Outcome::Refused(pb::Refusal {
                not_leader,
                unknown: false,
                reason,
            }),
        };
        pb::ReadIndexResponse {
            outcome: Some(outcome),
        }
    }

    /// Commits what a peer took, if this member leads.
    ///
    /// # Errors
    /// When it says nobody who took it, or a command is longer than any may be.
    pub async fn propose_for(&self, request: pb::ProposeRequest) -> Result<pb::ProposeResponse, PeerRefused> {
        let pb::ProposeRequest {
            origin,
            commands,
            term,
        } = request;
        let unfit = |what: &str| malformed(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let origin = origin.ok_or_else(|| unfit("nobody took it"))?;
        if commands
            .iter()
            .any(|command| command.len() > limits::COMMAND_BYTES)
        {
            return Err(unfit("a command is too long"));
        }
        let batch = Batch {
            commands,
            origin: Some(codec::decode_origin(&origin)),
        };
        Ok(commit_for(self.raft(), self.room(), batch, term).await)
    }
}

/// A file, as openraft wants it described.
pub(crate) fn described(
    snapshot: DurableSnapshot,
) -> io::Result<openraft::alias::SnapshotOf<crate::types::TypeConfig, DurableSnapshot>> {
    let codec::Mark {
        applied,
        membership,
        chain: _,
    } = codec::decode_mark(&snapshot.meta().membership)?;
    Ok(Snapshot {
        meta: SnapshotMeta {
            last_log_id: applied,
            last_membership: membership,
        },
        snapshot,
    })
}
