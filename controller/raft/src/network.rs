//! openraft's network port over ours.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::network::v2::RaftNetworkV2;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{ErrorSubject, ErrorVerb, RaftNetworkFactory, StorageError};
use tokio::sync::mpsc;
use verger_controller_store::SnapshotDir;
use verger_proto::peer::v1 as pb;

use crate::peers::{Peer, PeerError, Peers};
use crate::runtime::off_thread;
use crate::state_machine::SnapshotData;
use crate::types::{MemberId, Node, TypeConfig, Vote};
use crate::{codec, wire};

/// Parts of a snapshot that are read ahead of the peer.
const AHEAD: usize = 4;

/// Makes the connections.
pub(crate) struct Network {
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) snapshots: Arc<SnapshotDir>,
}

/// One of them.
pub(crate) struct Connection {
    peer: Arc<dyn Peer>,
    snapshots: Arc<SnapshotDir>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, _target: MemberId, node: &Node) -> Connection {
        Connection {
            peer: self.peers.peer(&node.name, &node.address),
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

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.peer.append(wire::write_append(&rpc), within(&option)).await;
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
        let answer = self.peer.vote(request, within(&option)).await;
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
        let answer = self.peer.pre_vote(request, within(&option)).await;
        wire::read_result(answer.map_err(failed)?.result).map_err(unread)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (parts, sent) = mpsc::channel(AHEAD);
        let reading = send(&self.snapshots, &vote, &snapshot.snapshot, parts);
        let (read, answer) = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            both = async { tokio::join!(reading, self.peer.install(sent)) } => both,
        };
        // What cannot be read here is no fault of the peer's.
        if let Err(error) = read {
            return Err(StreamingError::StorageError(StorageError::from_io_error(
                ErrorSubject::Snapshot(None),
                ErrorVerb::Read,
                error,
            )));
        }
        match answer {
            Ok(answer) => {
                let vote = wire::vote(answer.vote).map_err(|error| NetworkError::new(&error))?;
                Ok(SnapshotResponse::new(vote))
            }
            Err(error @ PeerError::Unreachable(_)) => {
                Err(StreamingError::Unreachable(Unreachable::new(&error)))
            }
            Err(error) => Err(StreamingError::Network(NetworkError::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = wire::write_transfer(&req);
        let answer = self.peer.transfer_leader(request, within(&option)).await;
        match answer.map_err(failed)?.taken {
            true => Ok(Ok(())),
            false => Err(unread(io::Error::other(
                "the peer is not where the leader takes it to be",
            ))),
        }
    }
}

/// Reads a snapshot and gives its parts away, as fast as they are taken.
async fn send(
    dir: &SnapshotDir,
    vote: &Vote,
    snapshot: &SnapshotData,
    parts: mpsc::Sender<pb::InstallSnapshotRequest>,
) -> io::Result<()> {
    use pb::install_snapshot_request::Part;
    let head = pb::SnapshotHead {
        leader: Some(codec::write_vote(vote)),
        mark: snapshot.meta().membership.clone(),
    };
    let part = |part| pb::InstallSnapshotRequest { part: Some(part) };
    let mut reader = dir.read(snapshot).map_err(io::Error::other)?;
    let mut chunks = 0;
    // Who has had enough says why.
    let mut is_wanted = parts.send(part(Part::Head(head))).await.is_ok();
    while is_wanted {
        let (back, read) = off_thread(move || {
            let read = reader.next_chunk();
            (reader, read)
        })
        .await?;
        reader = back;
        let Some(chunk) = read.map_err(io::Error::other)? else {
            let _ = parts.send(part(Part::End(pb::SnapshotEnd { chunks }))).await;
            break;
        };
        is_wanted = parts.send(part(Part::Chunk(chunk.into()))).await.is_ok();
        chunks += 1;
    }
    Ok(())
}
