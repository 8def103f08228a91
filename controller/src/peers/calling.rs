//! Calling the others.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use verger_controller_raft::{Peer, PeerError, Peers};
use verger_proto::peer::v1 as pb;
use verger_proto::peer::v1::peer_service_client::PeerServiceClient;
use verger_transport::{Client, Connector, Label, Own};

use super::{KEEPALIVE, MESSAGE_BYTES, WINDOW};

/// A connection that is not made within this is given up: a peer is near, or not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Who is called, under which certificate.
pub(crate) struct TlsPeers {
    cluster: String,
    own: Own,
    member_cas: Vec<Vec<u8>>,
    /// The address of this host to call from.
    from: Option<IpAddr>,
    /// By name and address.
    lines: Mutex<BTreeMap<(String, String), Arc<TlsPeer>>>,
}

impl TlsPeers {
    /// Calls the members of a cluster, known by the members' authority, from an address of this host.
    pub(crate) fn new(cluster: &str, own: Own, member_cas: Vec<Vec<u8>>, from: Option<IpAddr>) -> Self {
        Self {
            cluster: cluster.to_owned(),
            own,
            member_cas,
            from,
            lines: Mutex::default(),
        }
    }

    /// The line to a member, the same as long as it is called so.
    pub(crate) fn line(&self, name: &str, address: &str) -> Arc<TlsPeer> {
        let key = (name.to_owned(), address.to_owned());
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Who moved is called there no more.
        lines.retain(|(other, at), _| other != name || at == address);
        let line = lines
            .entry(key)
            .or_insert_with(|| Arc::new(self.connect(name, address)));
        Arc::clone(line)
    }

    fn connect(&self, name: &str, address: &str) -> TlsPeer {
        let channel = self.channel(name, address);
        if let Err(why) = &channel {
            tracing::error!(member = name, address, why, "a member cannot be called");
        }
        TlsPeer(channel)
    }

    fn channel(&self, name: &str, address: &str) -> Result<Channel, String> {
        let label: Label = name.parse().map_err(|error| format!("{name}: {error}"))?;
        let client = Client::of_member(&self.cluster, &self.own, &self.member_cas, &label)
            .map_err(|error| error.to_string())?;
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .map_err(|_| format!("`{address}` is not an address"))?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        Ok(endpoint.connect_with_connector_lazy(Connector::new(Arc::new(client), self.from)))
    }
}

impl Peers for TlsPeers {
    fn peer(&self, name: &str, address: &str) -> Arc<dyn Peer> {
        self.line(name, address)
    }
}

/// The line to one member. It connects when it is used, and again when it was lost.
pub(crate) struct TlsPeer(Result<Channel, String>);

impl TlsPeer {
    fn client(&self) -> Result<PeerServiceClient<Channel>, PeerError> {
        let channel = self.0.clone().map_err(PeerError::Unreachable)?;
        Ok(PeerServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES))
    }

    /// Tells it what was heard of agents.
    pub(crate) async fn share_heard(
        &self,
        request: pb::ShareHeardRequest,
        within: Duration,
    ) -> Result<pb::ShareHeardResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.share_heard(request)).await
    }
}

async fn answered<T>(
    within: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, PeerError> {
    match tokio::time::timeout(within, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(told(&status)),
        Err(_) => Err(PeerError::Lost(format!("none within {} ms", within.as_millis()))),
    }
}

/// What a call that failed says of whether it was sent.
fn told(status: &Status) -> PeerError {
    let mut cause = status.source();
    while let Some(error) = cause {
        // No connection was made: nothing was sent.
        if error.is::<tonic::ConnectError>() {
            return PeerError::Unreachable(deepest(error));
        }
        cause = error.source();
    }
    match status.code() {
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => {
            PeerError::Refused(status.message().to_owned())
        }
        _ => PeerError::Lost(status.message().to_owned()),
    }
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[async_trait]
impl Peer for TlsPeer {
    async fn append(
        &self,
        request: pb::AppendRequest,
        within: Duration,
    ) -> Result<pb::AppendResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.append(request)).await
    }

    async fn vote(&self, request: pb::VoteRequest, within: Duration) -> Result<pb::VoteResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.vote(request)).await
    }

    async fn pre_vote(
        &self,
        request: pb::PreVoteRequest,
        within: Duration,
    ) -> Result<pb::PreVoteResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.pre_vote(request)).await
    }

    async fn transfer_leader(
        &self,
        request: pb::TransferLeaderRequest,
        within: Duration,
    ) -> Result<pb::TransferLeaderResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.transfer_leader(request)).await
    }

    async fn offer(
        &self,
        request: pb::OfferSnapshotRequest,
        within: Duration,
    ) -> Result<pb::OfferSnapshotResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.offer_snapshot(request)).await
    }

    async fn install(
        &self,
        parts: mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<pb::InstallSnapshotResponse, PeerError> {
        let mut client = self.client()?;
        // As long as it takes: the connection is asked whether it lives.
        let sent = client.install_snapshot(ReceiverStream::new(parts).fuse());
        sent.await
            .map(Response::into_inner)
            .map_err(|status| told(&status))
    }

    async fn read_index(&self, within: Duration) -> Result<pb::ReadIndexResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.read_index(pb::ReadIndexRequest {})).await
    }

    async fn propose(
        &self,
        request: pb::ProposeRequest,
        within: Duration,
    ) -> Result<pb::ProposeResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.propose(request)).await
    }

    async fn change_members(
        &self,
        request: pb::ChangeMembersRequest,
        within: Duration,
    ) -> Result<pb::ChangeMembersResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.change_members(request)).await
    }

    async fn compare_state(&self, within: Duration) -> Result<pb::CompareStateResponse, PeerError> {
        let mut client = self.client()?;
        answered(within, client.compare_state(pb::CompareStateRequest {})).await
    }
}
