//! What agents call: their policy session, their findings, their certificate's renewal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use verger_controller_state::{
    Action, Command, Refused, Response as Answer, authentic_head, elsewhere, limits,
};
use verger_policy::digest::Digest;
use verger_policy::finding::Transition;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_server::SessionService;
use verger_seal::SignedHead;
use verger_wire::{FromWire as _, digest, digest_bytes, timestamp};

use crate::caller::{self, CallingAgent};
use crate::denials::Noted;
use crate::fleet::Fleet;
use crate::logins::Standing;
use crate::ports::{Ambient, Holder, Issuer, Membership, Replicated, read};
use crate::session;
use crate::status::{argument, invalid, issue, refused, stopping, unavailable, unexpected};
use crate::watch::Stream;

/// Acknowledgements that wait for a slow agent.
const ACKNOWLEDGEMENTS: usize = 16;
/// A stream that says nothing is asked this often whether its certificate has ended.
const LOOK: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone)]
pub struct Agents {
    pub(crate) replicated: Arc<dyn Replicated>,
    pub(crate) ambient: Arc<dyn Ambient>,
    issuer: Arc<dyn Issuer>,
    pub(crate) fleet: Arc<Fleet>,
    membership: Arc<dyn Membership>,
}

impl Agents {
    /// Serves from the replicated state; notes in `fleet` what agents say, and tells them where all members are called.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        issuer: Arc<dyn Issuer>,
        fleet: Arc<Fleet>,
        membership: Arc<dyn Membership>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            issuer,
            fleet,
            membership,
        }
    }

    /// Where agents call the members, those that vote first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let mut members = self.membership.standing().members;
        members.retain(|member| !member.address.is_empty());
        members.sort_by_key(|member| (!member.voter, member.number));
        members.into_iter().map(|member| member.address).collect()
    }

    /// Refuses an agent that is not enrolled under the key it calls with, or is shut out.
    fn enrolled(&self, agent: &CallingAgent) -> Result<(), Status> {
        let CallingAgent { id, key, .. } = agent;
        read(&*self.replicated, |state| state.serves(id, key).map(drop)).map_err(|error| refused(&error))
    }

    /// Refuses an agent that is not enrolled any more, or whose certificate has ended. Asked while a stream is open, before anything
    /// is taken from it or sent.
    pub(crate) fn goes_on(&self, agent: &CallingAgent) -> Result<(), Status> {
        agent.in_time(self.ambient.now())?;
        self.enrolled(agent)
    }

    /// Refuses an agent that is not enrolled by everything that was acknowledged before its call.
    async fn enrolled_now(&self, agent: &CallingAgent) -> Result<(), Status> {
        let caught_up = self.replicated.catch_up().await;
        caught_up.map_err(|error| unavailable(&error))?;
        self.enrolled(agent)
    }

    /// Refuses an agent that does not say that it is on the machine it was enrolled on, and tells people of it.
    pub(crate) async fn on_its_machine(&self, agent: &CallingAgent, machine: &[u8]) -> Result<(), Status> {
        let machine = machine_in(machine)?;
        let CallingAgent { id, from, .. } = agent;
        let (is_on, is_told) = read(&*self.replicated, |state| {
            let is_on = state.host(id).is_none_or(|host| host.is_on(machine.as_ref()));
            (is_on, !is_on && state.is_told_of_copy(id, machine.as_ref()))
        });
        if is_on {
            return Ok(());
        }
        tracing::warn!(agent = %id, ?from, "an agent's key is used elsewhere than on its machine");
        if !is_told {
            let command = Command {
                stamp: self.ambient.now(),
                actor: format!("agent/{id}"),
                request_id: None,
                from: from.clone(),
                policies: Vec::new(),
                counted: false,
                action: Action::TellCopy {
                    agent: id.clone(),
                    machine,
                },
            };
            let told = self.replicated.propose(command).await;
            told.map_err(|error| unavailable(&error))?;
        }
        Err(refused(&elsewhere(id, machine.as_ref())))
    }

    /// What is held of an agent's transitions, as it is told: their last number, and the chain over them. Of `upto` without the
    /// chain, where this member is not there yet.
    fn held(&self, agent: &CallingAgent, upto: u64) -> pb::ReportResponse {
        read(&*self.replicated, |state| {
            let host = state.host(&agent.id).filter(|host| host.last_sequence >= upto);
            host.map_or(
                pb::ReportResponse {
                    acknowledged: upto,
                    chain: Bytes::new(),
                },
                |host| pb::ReportResponse {
                    acknowledged: host.last_sequence,
                    chain: host.chain.as_ref().map(digest_bytes).unwrap_or_default(),
                },
            )
        })
    }

    async fn ingest(
        &self,
        calling: &CallingAgent,
        message: pb::ReportRequest,
    ) -> Result<pb::ReportResponse, Status> {
        self.goes_on(calling)?;
        let agent = &calling.id;
        let pb::ReportRequest {
            first_sequence,
            transitions,
            anew,
            machine,
            head,
            chain_before,
        } = message;
        self.on_its_machine(calling, &machine).await?;
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
        let head = head
            .map(|head| SignedHead::from_wire(head).map_err(|error| invalid(error.within("head"))))
            .transpose()?;
        if let Some(head) = &head {
            authentic_head(head, &cluster, agent, &calling.key).map_err(|error| refused(&error))?;
        }
        let chain_before = match &*chain_before {
            [] => None,
            bytes => Some(digest("chain_before", bytes).map_err(invalid)?),
        };
        let command = Command {
            stamp: self.ambient.now(),
            actor: format!("agent/{agent}"),
            request_id: None,
            // Findings leave no rows in the audit.
            from: None,
            policies: Vec::new(),
            counted: false,
            action: Action::Ingest {
                agent: agent.clone(),
                first_sequence,
                transitions,
                anew,
                chain_before,
                head,
            },
        };
        match self
            .replicated
            .propose(command)
            .await
            .map_err(|error| unavailable(&error))?
        {
            Answer::Ingested(upto) => Ok(self.held(calling, upto)),
            // The agent sends again from there.
            Answer::Refused(Refused::SequenceGap { expected }) => Ok(self.held(calling, expected - 1)),
            other => Err(unexpected(&other)),
        }
    }
}

/// The digest of a machine's id; `None` where an agent does not say.
pub(crate) fn machine_in(machine: &[u8]) -> Result<Option<Digest>, Status> {
    match machine {
        [] => Ok(None),
        machine => digest("machine", machine).map(Some).map_err(invalid),
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
        self.enrolled_now(&agent).await?;
        let noted = Noted::of(&request);
        Ok(Response::new(session::serve(
            self.clone(),
            agent,
            noted,
            request.into_inner(),
        )))
    }

    type ReportStream = Stream<pb::ReportResponse>;

    async fn report(
        &self,
        request: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let agent = caller::agent(&request, self.ambient.now())?;
        // From before it is asked for the first time: nothing that is decided meanwhile is missed.
        let mut revisions = self.replicated.revisions();
        self.enrolled_now(&agent).await?;
        let noted = Noted::of(&request);
        let mut incoming = request.into_inner();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (ready, messages) = mpsc::channel(ACKNOWLEDGEMENTS);
        let this = self.clone();
        tokio::spawn(async move {
            // First, what is held: where that is not what the agent was told, one of the two was set back.
            let first = this.held(&agent, 0);
            if ready.send(Ok(first)).await.is_err() {
                return;
            }
            // One batch at a time: the agent's window is the back-pressure.
            loop {
                let answer = tokio::select! {
                    message = incoming.next() => match message {
                        Some(Ok(message)) => this.ingest(&agent, message).await,
                        // Too long, or cut off: whoever is still there is told why.
                        Some(Err(status)) => Err(status),
                        None => return,
                    },
                    // Whoever is shut out is so at once, and not when he has something to tell.
                    moved = revisions.changed() => match moved.map_err(|_| stopping()).and_then(|()| this.goes_on(&agent)) {
                        Ok(()) => continue,
                        Err(status) => Err(status),
                    },
                    _ = look.tick() => match agent.in_time(this.ambient.now()) {
                        Ok(()) => continue,
                        Err(status) => Err(status),
                    },
                };
                let last = answer.is_err();
                if let Err(status) = &answer {
                    noted.ends(status);
                }
                if ready.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let agent = caller::renewing_agent(&request, self.ambient.now())?;
        self.enrolled_now(&agent).await?;
        let pb::RenewRequest { csr, machine } = request.into_inner();
        self.on_its_machine(&agent, &machine).await?;
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
            people_cas: self.issuer.people_cas().into_iter().map(Bytes::from).collect(),
        }))
    }

    async fn look_up_person(
        &self,
        request: Request<pb::LookUpPersonRequest>,
    ) -> Result<Response<pb::LookUpPersonResponse>, Status> {
        let agent = caller::agent(&request, self.ambient.now())?;
        self.enrolled_now(&agent).await?;
        let pb::LookUpPersonRequest { person, key, machine } = request.into_inner();
        self.on_its_machine(&agent, &machine).await?;
        let key = digest("key", &key).map_err(invalid)?;
        let standing = read(&*self.replicated, |state| Standing::of(state, &person, &key));
        let refused = |why: String| pb::LookUpPersonResponse {
            groups: Vec::new(),
            refused: why,
        };
        Ok(Response::new(match standing {
            // Its powers are those of the API, past all roles; a runtime's are not among them.
            Ok(standing) if standing.break_glass => {
                refused("broken glass serves at controllers alone".to_owned())
            }
            Ok(standing) => pb::LookUpPersonResponse {
                groups: standing.groups.iter().map(ToString::to_string).collect(),
                refused: String::new(),
            },
            Err(status) => refused(status.message().to_owned()),
        }))
    }
}
