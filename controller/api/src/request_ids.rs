//! Which of the messages that people send are requests with an id.

use verger_proto::cluster::v1 as cluster;
use verger_proto::findings::v1 as findings;
use verger_proto::policy::v1 as policy;

/// A message that people send.
pub(crate) trait Asked {
    /// The id of the request; empty where such requests have none.
    fn request_id(&self) -> &str;
}

macro_rules! asked {
    (with: $($with:ty),+; without: $($without:ty),+ $(;)?) => {
        $(impl Asked for $with {
            fn request_id(&self) -> &str {
                &self.request_id
            }
        })+
        $(impl Asked for $without {
            fn request_id(&self) -> &str {
                ""
            }
        })+
        #[cfg(test)]
        const WITHOUT: &[&str] = &[$(stringify!($without)),+];
    };
}

asked! {
    with:
        policy::ApplyRequest,
        policy::DeleteRequest,
        policy::RotateTrustRootRequest,
        policy::ProposeRequest,
        policy::SignRequest,
        policy::WithdrawRequest,
        cluster::CreateJoinTokenRequest,
        cluster::RemoveHostRequest,
        cluster::ApproveHostRequest,
        cluster::RejectHostRequest,
        cluster::EvictHostRequest,
        cluster::BanHostRequest,
        cluster::UnbanHostRequest,
        cluster::InviteMemberRequest,
        cluster::PromoteMemberRequest,
        cluster::DemoteMemberRequest,
        cluster::RemoveMemberRequest,
        cluster::TransferLeaderRequest,
        cluster::SaveSnapshotRequest,
        cluster::CreateLoginRequest,
        cluster::RevokeLoginRequest,
        findings::AckRequest;
    without:
        policy::GetSetRequest,
        policy::GetRequest,
        policy::ListRequest,
        policy::WatchRequest,
        policy::GetProposalRequest,
        policy::ListProposalsRequest,
        cluster::GetStatusRequest,
        cluster::ListMembersRequest,
        cluster::ListHostsRequest,
        cluster::GetHostRequest,
        cluster::ListInstancesRequest,
        cluster::GetInstanceRequest,
        cluster::RenewCertificateRequest,
        cluster::WhoAmIRequest,
        cluster::ListRequest,
        cluster::WatchRequest,
        cluster::HeadRequest,
        findings::ListRequest,
        findings::GetRequest,
        findings::WatchRequest,
        findings::AccountRequest;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;

    use super::WITHOUT;

    /// With an id, that is: the compiler sees to it that the others have one.
    #[test]
    fn messages_that_are_listed_without_an_id_have_none() {
        let set = prost_types::FileDescriptorSet::decode(verger_proto::DESCRIPTORS).unwrap();
        let mut looked_at = 0;
        for file in &set.file {
            let package = file
                .package()
                .trim_start_matches("verger.")
                .trim_end_matches(".v1");
            for message in &file.message_type {
                let name = format!("{package}::{}", message.name());
                if WITHOUT.iter().any(|without| without.replace(' ', "") == name) {
                    looked_at += 1;
                    let has = message.field.iter().any(|field| field.name() == "request_id");
                    assert!(!has, "{name} has an id, which belongs on record");
                }
            }
        }
        assert_eq!(looked_at, WITHOUT.len());
    }
}
