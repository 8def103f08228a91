//! Calls that are made once, and why they were not answered where they were not.

use std::time::Duration;

use tokio::time::timeout;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::cluster::v1::{CreateLoginRequest, ListMembersRequest, SaveSnapshotRequest};
use verger_proto::policy::v1::GetSetRequest;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_transport::KeyPair;

use crate::access::Access;

/// A call that is not answered within this is made again.
const CALL: Duration = Duration::from_secs(5);

/// One read, asked for once. The reason where it is not answered.
pub(super) async fn read(at: &Access) -> Result<(), String> {
    let channel = at.channel().await.map_err(|error| format!("{error:#}"))?;
    let request = GetSetRequest { with_bodies: false };
    let mut client = PolicyServiceClient::new(channel);
    match timeout(CALL, client.get_set(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(status.to_string()),
        Err(_) => Err(format!("no answer within {CALL:?}")),
    }
}

/// Whose disks are full, and why, as a member shows it. The reason where it does not answer.
pub(super) async fn full_of(at: &Access) -> Result<Vec<(String, String)>, String> {
    let channel = at.channel().await.map_err(|error| format!("{error:#}"))?;
    let request = ListMembersRequest { stale_ok: true };
    let mut client = MemberServiceClient::new(channel);
    let members = match timeout(CALL, client.list_members(request)).await {
        Ok(Ok(answer)) => answer.into_inner().members,
        Ok(Err(status)) => return Err(status.to_string()),
        Err(_) => return Err(format!("no answer within {CALL:?}")),
    };
    let full = members.into_iter().filter(|member| !member.full.is_empty());
    Ok(full.map(|member| (member.name, member.full)).collect())
}

/// One write, asked for once. The reason where it is not acknowledged.
pub(super) async fn attempt(at: &Access, person: &str) -> Result<(), String> {
    let channel = at.channel().await.map_err(|error| format!("{error:#}"))?;
    let csr = KeyPair::generate().and_then(|key| key.request());
    let request = CreateLoginRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        person: person.to_owned(),
        csr: csr.map_err(|error| error.to_string())?.into(),
    };
    let mut client = CertificateServiceClient::new(channel);
    match timeout(CALL, client.create_login(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(status.to_string()),
        Err(_) => Err(format!("no answer within {CALL:?}")),
    }
}

/// One snapshot of everything, asked for once. The reason where not all of it is given.
pub(super) async fn save(at: &Access) -> Result<(), String> {
    let channel = at.channel().await.map_err(|error| format!("{error:#}"))?;
    let request = SaveSnapshotRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    let fetched = async {
        let mut client = MemberServiceClient::new(channel);
        let mut pieces = client.save_snapshot(request).await?.into_inner();
        while pieces.message().await?.is_some() {}
        Ok(())
    };
    match timeout(CALL, fetched).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err::<(), tonic::Status>(status)) => Err(status.to_string()),
        Err(_) => Err(format!("no answer within {CALL:?}")),
    }
}
