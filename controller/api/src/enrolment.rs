//! Enrolment: the only service whose caller has no certificate yet.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use verger_controller_state::{Action, Admission, Command, Presented, Refused, Response as Answer};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::enrolment_service_server::EnrolmentService;
use verger_proto::policy::v1::Envelope;
use verger_transport::{JoinToken, Label};
use verger_wire::parse;

use crate::agents::machine_in;
use crate::caller;
use crate::ports::{Ambient, Holder, Issuer, Replicated, read, refused_surely};
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
        let pb::EnrolRequest {
            token,
            csr,
            agent_id,
            machine,
        } = request.into_inner();
        // Agent ids are names of certificates, too: one label, no slash.
        let _: Label = parse("agent_id", &agent_id).map_err(invalid)?;
        let agent: AgentId = parse("agent_id", &agent_id).map_err(invalid)?;
        let token: JoinToken = token.parse().map_err(|_| refused(&Refused::Token))?;
        let key = self.issuer.key_of(&csr).map_err(|error| issue(&error))?;
        let machine = machine_in(&machine)?;
        // Whoever is not let in costs the log nothing. What is decided here is decided again where the token is spent.
        let admission = refused_surely(&*self.replicated, |state| {
            let presented = Presented {
                token: token.id(),
                secret: &Digest::from_bytes(token.secret_hash()),
                agent: &agent,
                key: &key,
                machine: machine.as_ref(),
            };
            state.admission(&presented).map_err(|error| refused(&error))
        });
        if admission.await? == Admission::Waits {
            return Ok(Response::new(waiting()));
        }
        let command = Command {
            stamp: self.ambient.now(),
            actor: format!("agent/{agent}"),
            request_id: None,
            from,
            policies: Vec::new(),
            counted: true,
            action: Action::Enrol {
                token_id: token.id().to_owned(),
                secret_hash: Digest::from_bytes(token.secret_hash()),
                agent: agent.clone(),
                key,
                machine,
            },
        };
        match self
            .replicated
            .propose(command)
            .await
            .map_err(|error| unavailable(&error))?
        {
            Answer::Enrolled => {}
            Answer::AwaitsApproval => {
                tracing::info!(%agent, %key, "a host waits for approval");
                return Ok(Response::new(waiting()));
            }
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
            waiting: false,
        }))
    }
}

/// To a host that a person has to approve: it is given nothing.
fn waiting() -> pb::EnrolResponse {
    pb::EnrolResponse {
        waiting: true,
        ..pb::EnrolResponse::default()
    }
}
