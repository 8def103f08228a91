//! What a member serves its peers, on a listener of their own.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use verger_controller_api::fleet::Fleet;
use verger_controller_raft::{Member, PeerRefused};
use verger_controller_state::MemberRecord;
use verger_policy::model::Name;
use verger_proto::peer::v1 as pb;
use verger_proto::peer::v1::peer_service_server::{PeerService, PeerServiceServer};
use verger_proto::stored::v1::RaftVote;
use verger_transport::{Label, Peer, PeerCertificate, certificate_of};

use super::{KEEPALIVE, MESSAGE_BYTES, WINDOW};
use crate::hearing;

/// Parts of a snapshot that wait to be written.
const AHEAD: usize = 2;

/// The door of the others.
pub(crate) struct PeerDoor {
    /// Who this is.
    pub(crate) member: Arc<Member>,
    /// What was heard of agents, here and elsewhere.
    pub(crate) fleet: Arc<Fleet>,
}

/// Serves peers until told to stop.
pub(crate) fn serve(
    listener: TcpListener,
    tls: &verger_transport::Server,
    door: PeerDoor,
    stop: CancellationToken,
) -> impl Future<Output = Result<(), tonic::transport::Error>> + Send + use<> {
    let connections = ReceiverStream::new(verger_transport::accept_members(listener, tls));
    let service = PeerServiceServer::new(door)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_service(service)
        .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
}

fn refused(error: PeerRefused) -> Status {
    match error {
        PeerRefused::Malformed(_) => Status::invalid_argument(error.to_string()),
        PeerRefused::Failed(_) => Status::unavailable(error.to_string()),
    }
}

impl PeerDoor {
    /// Who calls: a member that is one, as far as is known here. One that is not known may have been let in since; one that was removed
    /// is nobody.
    fn caller<T>(&self, request: &Request<T>) -> Result<Label, Status> {
        let name = match certificate_of(request) {
            Some(PeerCertificate {
                peer: Peer::Controller(name),
                ..
            }) => name.clone(),
            _ => return Err(Status::permission_denied("only members are served here")),
        };
        let is_gone = name.to_string().parse().is_ok_and(|of: Name| {
            let is_removed = |record: &MemberRecord| matches!(record, MemberRecord::Removed { .. });
            self.member
                .read(|state| state.member(&of).is_some_and(is_removed))
        });
        match is_gone {
            true => Err(Status::permission_denied(format!(
                "member {name} was removed from the cluster"
            ))),
            false => Ok(name),
        }
    }

    /// A member speaks for itself alone: whoever has this vote's number and another name is not who calls.
    fn speaks<T>(&self, request: &Request<T>, vote: Option<&RaftVote>) -> Result<(), Status> {
        let caller = self.caller(request)?;
        self.is_of(&caller, vote)
    }

    fn is_of(&self, caller: &Label, vote: Option<&RaftVote>) -> Result<(), Status> {
        let caller = caller.to_string();
        let number = vote.and_then(|vote| vote.voted_for);
        let members = self.member.standing().members;
        let other = members
            .iter()
            .find(|member| Some(member.id) == number && member.node.name != caller);
        match other {
            None => Ok(()),
            Some(other) => Err(Status::permission_denied(format!(
                "member {caller} speaks for {}",
                other.node.name
            ))),
        }
    }
}

/// Whose snapshot it is, by its first part.
fn leader_of(first: Option<&pb::InstallSnapshotRequest>) -> Option<&RaftVote> {
    use pb::install_snapshot_request::Part;
    match first?.part.as_ref()? {
        Part::Head(head) => head.leader.as_ref(),
        Part::Chunk(_) | Part::End(_) => None,
    }
}

fn candidate(ballot: Option<&pb::Ballot>) -> Option<&RaftVote> {
    ballot.and_then(|ballot| ballot.vote.as_ref())
}

#[tonic::async_trait]
impl PeerService for PeerDoor {
    async fn append(
        &self,
        request: Request<pb::AppendRequest>,
    ) -> Result<Response<pb::AppendResponse>, Status> {
        self.speaks(&request, request.get_ref().leader.as_ref())?;
        let answer = self.member.append(request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        self.speaks(&request, candidate(request.get_ref().ballot.as_ref()))?;
        let answer = self.member.vote(request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    async fn pre_vote(
        &self,
        request: Request<pb::PreVoteRequest>,
    ) -> Result<Response<pb::PreVoteResponse>, Status> {
        self.speaks(&request, candidate(request.get_ref().ballot.as_ref()))?;
        let answer = self.member.pre_vote(request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        self.speaks(&request, request.get_ref().leader.as_ref())?;
        let answer = self.member.stand(request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    async fn offer_snapshot(
        &self,
        request: Request<pb::OfferSnapshotRequest>,
    ) -> Result<Response<pb::OfferSnapshotResponse>, Status> {
        let leader = request
            .get_ref()
            .head
            .as_ref()
            .and_then(|head| head.leader.as_ref());
        self.speaks(&request, leader)?;
        let answer = self.member.offered(request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::InstallSnapshotRequest>>,
    ) -> Result<Response<pb::InstallSnapshotResponse>, Status> {
        let caller = self.caller(&request)?;
        let mut stream = request.into_inner();
        let first = stream.message().await?;
        self.is_of(&caller, leader_of(first.as_ref()))?;
        let (parts, received) = mpsc::channel(AHEAD);
        let forward = async {
            let mut next = first;
            while let Some(part) = next {
                // Who takes them has had enough, and says why.
                if parts.send(part).await.is_err() {
                    break;
                }
                next = stream.message().await?;
            }
            drop(parts);
            Ok::<(), Status>(())
        };
        let (forwarded, installed) = tokio::join!(forward, self.member.install(received));
        forwarded?;
        tracing::info!(from = %caller, "a snapshot came");
        installed.map(Response::new).map_err(refused)
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(self.member.read_index().await))
    }

    async fn propose(
        &self,
        request: Request<pb::ProposeRequest>,
    ) -> Result<Response<pb::ProposeResponse>, Status> {
        self.caller(&request)?;
        let answer = self.member.propose_for(request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    async fn change_members(
        &self,
        request: Request<pb::ChangeMembersRequest>,
    ) -> Result<Response<pb::ChangeMembersResponse>, Status> {
        let caller = self.caller(&request)?;
        tracing::info!(by = %caller, change = ?request.get_ref().change, "a change of members is asked for");
        let answer = self.member.change_for(request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    async fn share_heard(
        &self,
        request: Request<pb::ShareHeardRequest>,
    ) -> Result<Response<pb::ShareHeardResponse>, Status> {
        let caller = self.caller(&request)?;
        let (caller, request) = (caller.to_string(), request.into_inner());
        self.member.hear_full(&caller, &request.full);
        let again = hearing::take(&self.fleet, &caller, request);
        Ok(Response::new(pb::ShareHeardResponse { again }))
    }

    async fn compare_state(
        &self,
        request: Request<pb::CompareStateRequest>,
    ) -> Result<Response<pb::CompareStateResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(self.member.tell_state()))
    }
}
