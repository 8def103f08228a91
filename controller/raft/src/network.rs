//! openraft's network port over ours.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::RaftNetworkFactory;
use openraft::alias::WatchReceiverOf;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::metrics::RaftServerMetrics;
use openraft::network::RPCOption;
use openraft::network::v2::RaftNetworkV2;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::rt::WatchReceiver as _;
use verger_controller_store::SnapshotDir;
use verger_proto::peer::v1 as pb;

use crate::peers::{Peer, PeerError, Peers};
use crate::sending::transmit;
use crate::state_machine::SnapshotData;
use crate::types::{MemberId, Node, TypeConfig, Vote};
use crate::wire;

/// For so much of entries a peer is given so much longer.
const PER_MEBIBYTE: Duration = Duration::from_millis(250);

/// Who the members are, once Raft runs.
pub(crate) type Members = Arc<OnceLock<WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>>>;

/// Makes the connections.
pub(crate) struct Network {
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) members: Members,
    pub(crate) snapshots: Arc<SnapshotDir>,
}

/// One of them.
pub(crate) struct Connection {
    target: MemberId,
    node: Node,
    peer: Arc<dyn Peer>,
    peers: Arc<dyn Peers>,
    members: Members,
    snapshots: Arc<SnapshotDir>,
}

impl Connection {
    /// Whom it leads to, where that one is called by now: a leader keeps its connections for as long as it leads, wherever a member goes.
    fn peer(&mut self) -> Arc<dyn Peer> {
        let moved = self.members.get().and_then(|metrics| {
            let metrics = metrics.borrow_watched();
            let node = metrics.membership_config.membership().get_node(&self.target)?;
            (*node != self.node).then(|| node.clone())
        });
        if let Some(node) = moved {
            self.peer = self.peers.peer(&node.name, &node.address);
            self.node = node;
        }
        Arc::clone(&self.peer)
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: MemberId, node: &Node) -> Connection {
        Connection {
            target,
            node: node.clone(),
            peer: self.peers.peer(&node.name, &node.address),
            peers: Arc::clone(&self.peers),
            members: Arc::clone(&self.members),
            snapshots: Arc::clone(&self.snapshots),
        }
    }
}

fn failed(error: PeerError) -> RPCError<TypeConfig> {
    match error {
        PeerError::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&error)),
        PeerError::Lost(_) | PeerError::Refused(_) => RPCError::Network(NetworkError::new(&error)),
    }
}

fn unread(error: io::Error) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(&error))
}

fn within(option: &RPCOption) -> Duration {
    option.soft_ttl()
}

/// How long a peer may take for entries, beside what it takes to answer at all: one command may be 16 MiB, and the way slow.
fn to_take(request: &pb::AppendRequest) -> Duration {
    let bytes: usize = request.entries.iter().map(|entry| entry.payload.len()).sum();
    PER_MEBIBYTE.mul_f64(bytes as f64 / f64::from(1 << 20))
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = wire::write_append(&rpc);
        let within = within(&option) + to_take(&request);
        let answer = self.peer().append(request, within).await;
        wire::read_appended(answer.map_err(failed)?).map_err(unread)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = pb::VoteRequest {
            ballot: Some(wire::write_ballot(&rpc)),
        };
        let answer = self.peer().vote(request, within(&option)).await;
        wire::read_result(answer.map_err(failed)?.result).map_err(unread)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = pb::PreVoteRequest {
            ballot: Some(wire::write_ballot(&rpc)),
        };
        let answer = self.peer().pre_vote(request, within(&option)).await;
        wire::read_result(answer.map_err(failed)?.result).map_err(unread)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let peer = self.peer();
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = transmit(&*peer, &self.snapshots, &vote, snapshot.snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = wire::write_transfer(&req);
        let answer = self.peer().transfer_leader(request, within(&option)).await;
        match answer.map_err(failed)?.taken {
            true => Ok(Ok(())),
            false => Err(unread(io::Error::other(
                "the peer is not where the leader takes it to be",
            ))),
        }
    }
}
