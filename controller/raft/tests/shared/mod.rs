//! What the tests of clusters and their simulation share: members that call each other within one process, and what they are told to do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;
use verger_controller_raft::{Member, Peer, PeerError, PeerRefused};
use verger_controller_state::{Action, Command};
use verger_proto::peer::v1 as pb;
use verger_seal::{SealingKey, TrustRoot};

/// When it is noticed that nothing comes any more on a way, whatever was asked: a connection whose other end is not there is given up.
const NOTICED: Duration = Duration::from_secs(5);

/// A way from one member to another, on which calls and answers may be late or lost.
pub(crate) trait Way: Send + Sync + 'static {
    /// Calls, and brings the answer back.
    fn call<T, F>(
        &self,
        within: Duration,
        call: impl FnOnce(Arc<Member>) -> F + Send,
    ) -> impl Future<Output = Result<T, PeerError>> + Send
    where
        T: Send,
        F: Future<Output = Result<T, PeerError>> + Send;
}

/// A peer at the end of one.
pub(crate) struct By<W>(pub(crate) W);

/// A command of the first member's.
pub(crate) fn command(action: Action) -> Command {
    Command::of_member("c1", Timestamp::UNIX_EPOCH, action)
}

/// What founds a cluster.
pub(crate) fn founding() -> Command {
    let key = SealingKey::from_seed([1; 32]);
    let (_, envelope) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).unwrap();
    command(Action::Found {
        trust_root: envelope.to_json().into(),
    })
}

fn refused(error: &PeerRefused) -> PeerError {
    PeerError::Refused(error.to_string())
}

#[async_trait]
impl<W: Way> Peer for By<W> {
    async fn append(
        &self,
        request: pb::AppendRequest,
        within: Duration,
    ) -> Result<pb::AppendResponse, PeerError> {
        let call = async |member: Arc<Member>| member.append(request).await.map_err(|error| refused(&error));
        self.0.call(within, call).await
    }

    async fn vote(&self, request: pb::VoteRequest, within: Duration) -> Result<pb::VoteResponse, PeerError> {
        let call = async |member: Arc<Member>| member.vote(request).await.map_err(|error| refused(&error));
        self.0.call(within, call).await
    }

    async fn pre_vote(
        &self,
        request: pb::PreVoteRequest,
        within: Duration,
    ) -> Result<pb::PreVoteResponse, PeerError> {
        let call =
            async |member: Arc<Member>| member.pre_vote(request).await.map_err(|error| refused(&error));
        self.0.call(within, call).await
    }

    async fn transfer_leader(
        &self,
        request: pb::TransferLeaderRequest,
        within: Duration,
    ) -> Result<pb::TransferLeaderResponse, PeerError> {
        let call = async |member: Arc<Member>| member.stand(request).await.map_err(|error| refused(&error));
        self.0.call(within, call).await
    }

    async fn offer(
        &self,
        request: pb::OfferSnapshotRequest,
        within: Duration,
    ) -> Result<pb::OfferSnapshotResponse, PeerError> {
        let call = async |member: Arc<Member>| member.offered(request).await.map_err(|error| refused(&error));
        self.0.call(within.min(NOTICED), call).await
    }

    async fn install(
        &self,
        parts: mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<pb::InstallSnapshotResponse, PeerError> {
        let call = async |member: Arc<Member>| member.install(parts).await.map_err(|error| refused(&error));
        self.0.call(NOTICED, call).await
    }

    async fn read_index(&self, within: Duration) -> Result<pb::ReadIndexResponse, PeerError> {
        self.0
            .call(within, async |member: Arc<Member>| Ok(member.read_index().await))
            .await
    }

    async fn propose(
        &self,
        request: pb::ProposeRequest,
        within: Duration,
    ) -> Result<pb::ProposeResponse, PeerError> {
        let call =
            async |member: Arc<Member>| member.propose_for(request).await.map_err(|error| refused(&error));
        self.0.call(within, call).await
    }

    async fn change_members(
        &self,
        request: pb::ChangeMembersRequest,
        within: Duration,
    ) -> Result<pb::ChangeMembersResponse, PeerError> {
        let call =
            async |member: Arc<Member>| member.change_for(request).await.map_err(|error| refused(&error));
        self.0.call(within, call).await
    }

    async fn compare_state(&self, within: Duration) -> Result<pb::CompareStateResponse, PeerError> {
        self.0
            .call(within, async |member: Arc<Member>| Ok(member.tell_state()))
            .await
    }
}
