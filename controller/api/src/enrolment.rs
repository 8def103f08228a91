//! Enrolment: the only service whose caller has no certificate yet.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use verger_controller_state::{Action, Command, Refused, Response as Answer};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::enrolment_service_server::EnrolmentService;
use verger_proto::policy::v1::Envelope;
use verger_transport::{JoinToken, Label};
use verger_wire::parse;

use crate::caller;
use crate::ports::{Ambient, Holder, Issuer, Replicated, read};
use crate::status::{invalid, issue, refused, unavailable, unexpected};

/// The service.
pub struct Enrolment {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    issuer: Arc<dyn Issuer>,
}

impl Enrolment {
    /// Serves from the replicated state and the agents' authority.
    pub fn new(replicated: Arc<dyn Replicated>, ambient: Arc<dyn Ambient>, issuer: Arc<dyn Issuer>) -> Self {
        Self {
            replicated,
            ambient,
            issuer,
        }
    }
}

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn enrol(&self, request: Request<pb::EnrolRequest>) -> Result<Response<pb::EnrolResponse>, Status> {
        let from = caller::from(&request);
        let pb::EnrolRequest { token, csr, agent_id } = request.into_inner();
        // Agent ids are names of certificates, too: one label, no slash.
        let _: Label = parse("agent_id", &agent_id).map_err(invalid)?;
        let agent: AgentId = parse("agent_id", &agent_id).map_err(invalid)?;
        let token: JoinToken = token.parse().map_err(|_| refused(&Refused::Token))?;
        let key = self.issuer.key_of(&csr).map_err(|error| issue(&error))?;
        // Whoever has no token costs the log nothing. What is decided here is decided again where the token is spent.
        let serves = read(&*self.replicated, |state| {
            state.token_serves(token.id(), &Digest::from_bytes(token.secret_hash()), &agent, &key)
        });
        if !serves {
            return Err(refused(&Refused::Token));
        }
        let command = Command {
            stamp: self.ambient.now(),
            actor: format!("agent/{agent}"),
            request_id: None,
            from,
            policies: Vec::new(),
            action: Action::Enrol {
                token_id: token.id().to_owned(),
                secret_hash: Digest::from_bytes(token.secret_hash()),
                agent: agent.clone(),
                key,
            },
        };
        match self
            .replicated
            .propose(command)
            .await
            .map_err(|error| unavailable(&error))?
        {
            Answer::Enrolled => {}
            other => return Err(unexpected(&other)),
        }
        let issued = self
            .issuer
            .issue(&csr, &Holder::Agent(agent.clone()))
            .map_err(|error| issue(&error))?;
        tracing::info!(%agent, "an agent was enrolled");
        let trust_root = read(&*self.replicated, |state| {
            state.cluster().map(|cluster| cluster.envelope.clone())
        });
        Ok(Response::new(pb::EnrolResponse {
            chain: issued.chain.into_iter().map(Bytes::from).collect(),
            member_cas: self.issuer.member_cas().into_iter().map(Bytes::from).collect(),
            trust_root: trust_root.map(|json| Envelope { json }),
        }))
    }
}
