//! The port to the other members: what is said to them. How it gets there, and that it is they who are there, is for who implements it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use verger_proto::peer::v1 as pb;

/// Why a peer did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nothing was sent: it cannot be reached.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It may have been sent, and no answer came.
    #[error("no answer came: {0}")]
    Lost(String),
    /// It refused to look at it.
    #[error("it refused: {0}")]
    Refused(String),
}

/// One peer. Every call ends within the time it is given, or as [`PeerError::Lost`].
#[async_trait]
pub trait Peer: Send + Sync + 'static {
    /// Replicates entries; none of them as a sign of life.
    async fn append(
        &self,
        request: pb::AppendRequest,
        within: Duration,
    ) -> Result<pb::AppendResponse, PeerError>;

    /// Asks for a vote.
    async fn vote(&self, request: pb::VoteRequest, within: Duration) -> Result<pb::VoteResponse, PeerError>;

    /// Asks whether it would vote.
    async fn pre_vote(
        &self,
        request: pb::PreVoteRequest,
        within: Duration,
    ) -> Result<pb::PreVoteResponse, PeerError>;

    /// Asks it to lead from now on.
    async fn transfer_leader(
        &self,
        request: pb::TransferLeaderRequest,
        within: Duration,
    ) -> Result<pb::TransferLeaderResponse, PeerError>;

    /// Offers it a snapshot, and asks what it has of it.
    async fn offer(
        &self,
        request: pb::OfferSnapshotRequest,
        within: Duration,
    ) -> Result<pb::OfferSnapshotResponse, PeerError>;

    /// Sends a snapshot. It ends when the parts do; who drops their receiver has had enough.
    async fn install(
        &self,
        parts: mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<pb::InstallSnapshotResponse, PeerError>;

    /// Asks it, as the leader, up to where a read is current.
    async fn read_index(&self, within: Duration) -> Result<pb::ReadIndexResponse, PeerError>;

    /// Gives it, as the leader, commands to commit.
    async fn propose(
        &self,
        request: pb::ProposeRequest,
        within: Duration,
    ) -> Result<pb::ProposeResponse, PeerError>;

    /// Has it, as the leader, change who the members are.
    async fn change_members(
        &self,
        request: pb::ChangeMembersRequest,
        within: Duration,
    ) -> Result<pb::ChangeMembersResponse, PeerError>;

    /// Asks it where the chain over what it applied was.
    async fn compare_state(&self, within: Duration) -> Result<pb::CompareStateResponse, PeerError>;
}

/// All of them.
pub trait Peers: Send + Sync + 'static {
    /// The member of this name, at this address. Connects when it is called first.
    fn peer(&self, name: &str, address: &str) -> Arc<dyn Peer>;
}

/// Of a cluster of one member: nobody can be called.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

struct Nobody(String);

impl Nobody {
    fn error(&self) -> PeerError {
        PeerError::Unreachable(format!("member {} is called by nobody here", self.0))
    }
}

impl Peers for NoPeers {
    fn peer(&self, name: &str, _address: &str) -> Arc<dyn Peer> {
        Arc::new(Nobody(name.to_owned()))
    }
}

#[async_trait]
impl Peer for Nobody {
    async fn append(&self, _: pb::AppendRequest, _: Duration) -> Result<pb::AppendResponse, PeerError> {
        Err(self.error())
    }

    async fn vote(&self, _: pb::VoteRequest, _: Duration) -> Result<pb::VoteResponse, PeerError> {
        Err(self.error())
    }

    async fn pre_vote(&self, _: pb::PreVoteRequest, _: Duration) -> Result<pb::PreVoteResponse, PeerError> {
        Err(self.error())
    }

    async fn transfer_leader(
        &self,
        _: pb::TransferLeaderRequest,
        _: Duration,
    ) -> Result<pb::TransferLeaderResponse, PeerError> {
        Err(self.error())
    }

    async fn offer(
        &self,
        _: pb::OfferSnapshotRequest,
        _: Duration,
    ) -> Result<pb::OfferSnapshotResponse, PeerError> {
        Err(self.error())
    }

    async fn install(
        &self,
        _: mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<pb::InstallSnapshotResponse, PeerError> {
        Err(self.error())
    }

    async fn read_index(&self, _: Duration) -> Result<pb::ReadIndexResponse, PeerError> {
        Err(self.error())
    }

    async fn propose(&self, _: pb::ProposeRequest, _: Duration) -> Result<pb::ProposeResponse, PeerError> {
        Err(self.error())
    }

    async fn change_members(
        &self,
        _: pb::ChangeMembersRequest,
        _: Duration,
    ) -> Result<pb::ChangeMembersResponse, PeerError> {
        Err(self.error())
    }

    async fn compare_state(&self, _: Duration) -> Result<pb::CompareStateResponse, PeerError> {
        Err(self.error())
    }
}
