//! Joining the control plane: who does it has a token and no certificate yet.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Code, Request, Response, Status};
use verger_controller_state::{Action, ClusterVersion, Command, MemberRecord, Refused, Response as Answer};
use verger_policy::digest::Digest;
use verger_policy::model::Name;
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::join_service_server::JoinService;
use verger_transport::{JoinToken, Label, is_address};
use verger_wire::parse;

use crate::caller;
use crate::members::{name, not_changed, take_out};
use crate::ports::{
    Ambient, Below, Issuer, MemberChange, Membership, NewMember, Replicated, read, refused_surely,
};
use crate::status::{argument, invalid, issue, refused, unavailable, unexpected, with_reason};

/// The service.
pub struct Joining {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    issuer: Arc<dyn Issuer>,
    membership: Arc<dyn Membership>,
}

impl Joining {
    /// Serves from the replicated state and the roots.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        issuer: Arc<dyn Issuer>,
        membership: Arc<dyn Membership>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            issuer,
            membership,
        }
    }
}

impl Joining {
    /// Makes whoever is on record a learner. If it was removed before it was one, whoever did that found none, and it is none any more after
    /// this; also where it is not known whether it came to be one.
    async fn let_in(&self, member: &Name, new: NewMember) -> Result<(), Status> {
        let number = new.number;
        let is_there = |members: &[pb::Member]| members.iter().any(|other| other.number == number);
        // It asks again where the answer was lost.
        let added = match is_there(&self.membership.standing().members) {
            true => Ok(()),
            false => self.membership.change(MemberChange::Add(new), false).await,
        };
        let caught_up = self.replicated.catch_up().await;
        if read(&*self.replicated, |state| {
            matches!(state.member(member), Some(MemberRecord::Removed { .. }))
        }) {
            take_out(&*self.membership, member, false)
                .await
                .inspect_err(|error| {
                    let why = error.message();
                    tracing::warn!(%member, why, "removed while it joined, it may be a member still: remove it once more");
                })?;
            return Err(refused(&Refused::Token));
        }
        added.map_err(|error| not_changed(&error))?;
        caught_up.map_err(|error| unavailable(&error))
    }
}

/// `HOST:PORT`, as others call it.
fn address(field: &'static str, text: &str) -> Result<String, Status> {
    match is_address(text) {
        true => Ok(text.to_owned()),
        false => Err(argument(field, "is not HOST:PORT")),
    }
}

fn authorities([members, agents, people]: [Vec<u8>; 3]) -> pb::Authorities {
    pb::Authorities {
        members: Bytes::from(members),
        agents: Bytes::from(agents),
        people: Bytes::from(people),
    }
}

#[tonic::async_trait]
impl JoinService for Joining {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let from = caller::from(&request);
        let pb::JoinRequest {
            token,
            name: member,
            peer_address,
            address: api_address,
            enrol_address,
            csrs,
            newest_version,
        } = request.into_inner();
        let label: Label = parse("name", &member).map_err(invalid)?;
        let member = name(&member)?;
        let new = |number| -> Result<NewMember, Status> {
            Ok(NewMember {
                number,
                name: member.to_string(),
                peer_address: address("peer_address", &peer_address)?,
                address: address("address", &api_address)?,
                enrol_address: address("enrol_address", &enrol_address)?,
            })
        };
        new(0)?;
        let token: JoinToken = token.parse().map_err(|_| refused(&Refused::Token))?;
        let newest = ClusterVersion::of(newest_version);
        let csrs = csrs.unwrap_or_default();
        let csrs = [csrs.members.to_vec(), csrs.agents.to_vec(), csrs.people.to_vec()];
        let key = self.issuer.key_of(&csrs[0]).map_err(|error| issue(&error))?;
        let secret_hash = Digest::from_bytes(token.secret_hash());
        // Whoever is not let in costs the log nothing, and is told nothing. What is decided here is decided again where the token is spent.
        refused_surely(&*self.replicated, |state| {
            let may = state.may_admit(&member, &secret_hash, &key, newest);
            may.map_err(|error| refused(&error))
        })
        .await?;
        if let Some(why) = self.membership.closed() {
            return Err(with_reason(Code::FailedPrecondition, "CLOSED_TO_MEMBERS", why));
        }
        // Before the token is spent: this member may not have the roots.
        let Below { own, roots } = self.issuer.below(&csrs, &label).map_err(|error| issue(&error))?;
        let command = Command {
            stamp: self.ambient.now(),
            actor: format!("controller/{member}"),
            request_id: None,
            from,
            policies: Vec::new(),
            counted: true,
            action: Action::AdmitMember {
                member: member.clone(),
                secret_hash,
                key,
                newest,
            },
        };
        let answer = self.replicated.propose(command).await;
        let number = match answer.map_err(|error| unavailable(&error))? {
            Answer::MemberAdmitted { number } => number,
            other => return Err(unexpected(&other)),
        };
        self.let_in(&member, new(number)?).await?;
        tracing::info!(%member, number, "a member joined");
        Ok(Response::new(pb::JoinResponse {
            number,
            authorities: Some(authorities(own)),
            roots: Some(authorities(roots)),
        }))
    }
}
