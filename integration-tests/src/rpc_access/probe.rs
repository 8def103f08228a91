//! One call, and what it came to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_proto::agent::v1 as apb;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;
use verger_transport::{Client, ConnectError, JoinToken, KeyPair, channel};

use crate::hostile::raw;

/// The first that is proposed.
const PROPOSAL: u64 = 1;

/// One call.
const CALL: Duration = Duration::from_secs(20);

/// How often a member that decides nothing just now is called.
const AGAIN: usize = 10;
/// Before that, where it does not say how long to stay away.
const MOMENT: Duration = Duration::from_millis(200);

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The handshake was refused: nothing was called.
    NoHandshake,
    /// There is no such service at this door.
    NotServed,
    /// For what the caller is, with this reason.
    Denied(String),
    /// Otherwise: the caller got past the door.
    Answered,
}

impl Answer {
    pub(super) fn is_let_in(&self) -> bool {
        *self == Self::Answered
    }
}

/// A door, as somebody comes to it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) client: Arc<Client>,
    pub(super) address: String,
}

impl Door {
    /// A connection; `None` where the handshake is refused while it is made. With TLS 1.3 that may show at the first call only.
    pub(super) async fn open(&self) -> Result<Option<Channel>> {
        match channel(Arc::clone(&self.client), std::slice::from_ref(&self.address)).await {
            Ok(channel) => Ok(Some(channel)),
            Err(ConnectError::Unreachable { .. }) => {
                // Whether anybody is there at all.
                tokio::net::TcpStream::connect(&self.address)
                    .await
                    .with_context(|| format!("nobody listens at {}", self.address))?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Makes a call that is good enough to be decided on.
pub(super) async fn call(door: &Door, rpc: &str) -> Result<Answer> {
    let Some(channel) = door.open().await? else {
        return Ok(Answer::NoHandshake);
    };
    call_over(channel, rpc).await
}

/// The same, over a connection that is there. Where a member says that nothing is decided just now, which it does with the time to stay
/// away, it is called again.
pub(super) async fn call_over(channel: Channel, rpc: &str) -> Result<Answer> {
    let path = format!("/{rpc}");
    for _ in 0..AGAIN {
        let call = raw::call(channel.clone(), &path, message(rpc)?);
        match tokio::time::timeout(CALL, call).await {
            // A stream that waits for what happens next.
            Err(_) | Ok(Ok(())) => return Ok(Answer::Answered),
            Ok(Err(status)) => match away(&status) {
                Some(time) => tokio::time::sleep(time).await,
                None => return Ok(told(&status)),
            },
        }
    }
    anyhow::bail!("{rpc}: the member decides nothing, {AGAIN} times in a row")
}

/// For how long whoever calls is asked to stay away, by a member that is there.
fn away(status: &Status) -> Option<Duration> {
    let is_there = status.get_details_error_info().is_some();
    let is_busy = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    (is_there && is_busy).then(|| asked.unwrap_or(MOMENT).min(CALL))
}

fn told(status: &Status) -> Answer {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason) {
        (Code::PermissionDenied | Code::Unauthenticated, reason) => {
            Answer::Denied(reason.unwrap_or_else(|| status.message().to_owned()))
        }
        // There is nobody to vouch for anybody.
        (Code::FailedPrecondition, Some(reason)) if reason == "NO_PROVIDER" => Answer::Denied(reason),
        (Code::Unimplemented, None) => Answer::NotServed,
        // What Verger answers has a reason; what has none, and is none of the caller's, is of the connection.
        (Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled, None) => Answer::NoHandshake,
        _ => Answer::Answered,
    }
}

/// A message that gets as far as to whom may call. None changes anything: ids of requests are missing, names are nobody's, and seals
/// say nothing.
fn message(rpc: &str) -> Result<Bytes> {
    let agent_id = || "nobody".to_owned();
    let key = || vec![1; 32].into();
    let object = || {
        Some(pb::ObjectKey {
            kind: "Workload".to_owned(),
            name: "nobody".to_owned(),
        })
    };
    let uid = || "0".repeat(64);
    let (_, name) = rpc.split_once('/').context("an rpc has a service")?;
    let bytes = match name {
        "Enrol" => apb::EnrolRequest {
            token: JoinToken::from_random([3; 40]).reveal().to_string(),
            csr: KeyPair::generate()?.request()?.into(),
            agent_id: agent_id(),
            machine: Default::default(),
        }
        .encode_to_vec(),
        "CreateJoinToken" => cpb::CreateJoinTokenRequest {
            agent_id: agent_id(),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetHost" => cpb::GetHostRequest { agent_id: agent_id() }.encode_to_vec(),
        "RemoveHost" => cpb::RemoveHostRequest {
            agent_id: agent_id(),
            ..Default::default()
        }
        .encode_to_vec(),
        "ApproveHost" => cpb::ApproveHostRequest {
            agent_id: agent_id(),
            key: key(),
            ..Default::default()
        }
        .encode_to_vec(),
        "RejectHost" => cpb::RejectHostRequest {
            agent_id: agent_id(),
            key: key(),
            ..Default::default()
        }
        .encode_to_vec(),
        "EvictHost" => cpb::EvictHostRequest {
            agent_id: agent_id(),
            ..Default::default()
        }
        .encode_to_vec(),
        "BanHost" => cpb::BanHostRequest {
            agent_id: agent_id(),
            reason: "none".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "UnbanHost" => cpb::UnbanHostRequest {
            agent_id: agent_id(),
            ..Default::default()
        }
        .encode_to_vec(),
        "Join" => cpb::JoinRequest {
            token: JoinToken::from_random([3; 40]).reveal().to_string(),
            name: "nobody".to_owned(),
            peer_address: "127.0.0.1:1".to_owned(),
            address: "127.0.0.1:2".to_owned(),
            enrol_address: "127.0.0.1:3".to_owned(),
            csrs: Some(cpb::Authorities {
                members: KeyPair::generate()?.request()?.into(),
                agents: KeyPair::generate()?.request()?.into(),
                people: KeyPair::generate()?.request()?.into(),
            }),
            newest_version: 1,
        }
        .encode_to_vec(),
        // Of nobody, and without the id of a request.
        "InviteMember" | "PromoteMember" | "DemoteMember" | "RemoveMember" | "TransferLeader"
            if rpc.contains("MemberService") =>
        {
            cpb::RemoveMemberRequest {
                name: agent_id(),
                ..Default::default()
            }
            .encode_to_vec()
        }
        "GetInstance" => cpb::GetInstanceRequest {
            agent_id: agent_id(),
            instance: "nothing".to_owned(),
        }
        .encode_to_vec(),
        "Get" if rpc.contains("PolicyService") => pb::GetRequest { key: object() }.encode_to_vec(),
        // Of nobody's signatures: nothing is added.
        "Sign" => pb::SignRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            number: PROPOSAL,
            seal: Some(pb::Envelope {
                json: b"{}".to_vec().into(),
            }),
        }
        .encode_to_vec(),
        "Delete" => pb::DeleteRequest {
            key: object(),
            ..Default::default()
        }
        .encode_to_vec(),
        "Get" => fpb::GetRequest { uid: uid() }.encode_to_vec(),
        "Ack" => fpb::AckRequest {
            uid: uid(),
            note: "none".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        _ => Vec::new(),
    };
    Ok(bytes.into())
}
