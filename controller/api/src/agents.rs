//! What agents call: their policy session, their findings, their certificate's renewal.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use verger_controller_state::{Action, Command, Refused, Response as Answer, limits};
use verger_policy::finding::Transition;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_server::SessionService;
use verger_wire::{FromWire as _, timestamp};

use crate::caller::{self, CallingAgent};
use crate::fleet::Fleet;
use crate::ports::{Ambient, Holder, Issuer, Replicated, read};
use crate::session;
use crate::status::{argument, invalid, issue, refused, unavailable, unexpected};
use crate::watch::Stream;

/// Acknowledgements that wait for a slow agent.
const ACKNOWLEDGEMENTS: usize = 16;

/// The service.
#[derive(Clone)]
pub struct Agents {
    pub(crate) replicated: Arc<dyn Replicated>,
    pub(crate) ambient: Arc<dyn Ambient>,
    issuer: Arc<dyn Issuer>,
    pub(crate) fleet: Arc<Fleet>,
}

impl Agents {
    /// Serves from the replicated state; notes in `fleet` what agents say.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        issuer: Arc<dyn Issuer>,
        fleet: Arc<Fleet>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            issuer,
            fleet,
        }
    }

    /// Refuses an agent that is not enrolled under the key it calls with. Asked again while a stream is open: another may have
    /// been enrolled in its place.
    pub(crate) fn enrolled(&self, agent: &CallingAgent) -> Result<(), Status> {
        let CallingAgent { id, key } = agent;
        let known = read(&*self.replicated, |state| {
            state.host(id).is_some_and(|host| host.key == *key)
        });
        if known {
            Ok(())
        } else {
            Err(refused(&Refused::UnknownAgent))
        }
    }

    async fn ingest(&self, calling: &CallingAgent, message: pb::ReportRequest) -> Result<u64, Status> {
        self.enrolled(calling)?;
        let agent = &calling.id;
        let pb::ReportRequest {
            first_sequence,
            transitions,
            anew,
        } = message;
        if transitions.len() > limits::TRANSITIONS {
            let what = format!(
                "are more than {}: send them in several messages",
                limits::TRANSITIONS
            );
            return Err(argument("transitions", what));
        }
        let transitions = transitions
            .into_iter()
            .enumerate()
            .map(|(index, transition)| {
                Transition::from_wire(transition)
                    .map_err(|error| invalid(error.within(&format!("transitions[{index}]"))))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // A finding has rows of many hosts: one under a foreign uid would speak for all of them.
        let cluster = read(&*self.replicated, |state| {
            state.cluster().map(|cluster| cluster.id)
        });
        let cluster = cluster.ok_or_else(|| refused(&Refused::NotFounded))?;
        if !transitions
            .iter()
            .all(|transition| transition.is_consistent(&cluster))
        {
            return Err(refused(&Refused::ForgedFinding));
        }
        let command = Command {
            stamp: self.ambient.now(),
            actor: format!("agent/{agent}"),
            request_id: None,
            // Findings leave no rows in the audit.
            from: None,
            policies: Vec::new(),
            action: Action::Ingest {
                agent: agent.clone(),
                first_sequence,
                transitions,
                anew,
            },
        };
        match self
            .replicated
            .propose(command)
            .await
            .map_err(|error| unavailable(&error))?
        {
            Answer::Ingested(upto) => Ok(upto),
            // The agent sends again from there.
            Answer::Refused(Refused::SequenceGap { expected }) => Ok(expected - 1),
            other => Err(unexpected(&other)),
        }
    }
}

#[tonic::async_trait]
impl SessionService for Agents {
    type ConnectStream = Stream<pb::ConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let agent = caller::agent(&request, self.ambient.now())?;
        self.enrolled(&agent)?;
        Ok(Response::new(session::serve(
            self.clone(),
            agent,
            request.into_inner(),
        )))
    }

    type ReportStream = Stream<pb::ReportResponse>;

    async fn report(
        &self,
        request: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let agent = caller::agent(&request, self.ambient.now())?;
        self.enrolled(&agent)?;
        let mut incoming = request.into_inner();
        let (ready, messages) = mpsc::channel(ACKNOWLEDGEMENTS);
        let this = self.clone();
        tokio::spawn(async move {
            // First, what is held: where that is not what the agent was told, one of the two was set back.
            let held = read(&*this.replicated, |state| {
                state.host(&agent.id).map_or(0, |host| host.last_sequence)
            });
            let first = pb::ReportResponse { acknowledged: held };
            if ready.send(Ok(first)).await.is_err() {
                return;
            }
            // One batch at a time: the agent's window is the back-pressure.
            while let Some(message) = incoming.next().await {
                let answer = match message {
                    Ok(message) => this.ingest(&agent, message).await,
                    // Too long, or cut off: whoever is still there is told why.
                    Err(status) => Err(status),
                };
                let last = answer.is_err();
                let answer = answer.map(|acknowledged| pb::ReportResponse { acknowledged });
                if ready.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let agent = caller::renewing_agent(&request, self.ambient.now())?;
        self.enrolled(&agent)?;
        let pb::RenewRequest { csr } = request.into_inner();
        let key = self.issuer.key_of(&csr).map_err(|error| issue(&error))?;
        if key != agent.key {
            return Err(argument(
                "csr",
                "has another key than the certificate: a certificate is renewed with its own key",
            ));
        }
        let issued = self
            .issuer
            .issue(&csr, &Holder::Agent(agent.id))
            .map_err(|error| issue(&error))?;
        Ok(Response::new(pb::RenewResponse {
            chain: issued.chain.into_iter().map(Bytes::from).collect(),
            not_after: Some(timestamp(issued.not_after)),
        }))
    }
}
