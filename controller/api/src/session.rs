//! One agent's policy session: the current set down whenever it changes, acknowledgements and status up.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use verger_controller_state::State;
use verger_policy::digest::Digest;
use verger_policy::model::{AgentId, Spec};
use verger_proto::agent::v1 as pb;
use verger_proto::cluster::v1::Instance;
use verger_proto::policy::v1::Envelope;
use verger_wire::{IntoWire as _, digest};

use crate::agents::Agents;
use crate::caller::CallingAgent;
use crate::denials::Noted;
use crate::pace::{self, Pace};
use crate::ports::read;
use crate::stamp::stamp_of;
use crate::status::{argument, invalid, stopping, with_reason};
use crate::watch::Stream;

/// A silent session is spoken into this often, so that both sides notice a dead one.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// An agent says hello within this.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// Messages that wait for a slow agent: one set and one heartbeat. A set that changes meanwhile is sent as it is then.
const READY: usize = 2;
/// The most instances in a status.
const INSTANCES: usize = 20_000;

pub(crate) fn serve(
    agents: Agents,
    calling: CallingAgent,
    noted: Noted,
    incoming: Streaming<pb::ConnectRequest>,
) -> Stream<pb::ConnectResponse> {
    let (ready, messages) = mpsc::channel(READY);
    tokio::spawn(async move {
        let agent = calling.id.clone();
        let session = Session {
            agents: &agents,
            calling: &calling,
            agent: &agent,
            ready: &ready,
            nonce: 0,
            held: (0, Digest::from_bytes([0; 32])),
            offered: None,
            stamp: None,
            members: Vec::new(),
        };
        let ended = session.serve(incoming).await;
        if let Err(status) = ended {
            tracing::info!(%agent, code = ?status.code(), message = status.message(), "a session ended");
            // Here, and not when it is sent: whoever hung up is not there to be told.
            noted.ends(&status);
            let _ = ready.send(Err(status)).await;
        }
    });
    Box::pin(ReceiverStream::new(messages))
}

type Answer = Result<pb::ConnectResponse, Status>;
/// Room for one message on the way to the agent.
type Room<'a> = mpsc::Permit<'a, Answer>;

struct Session<'a> {
    agents: &'a Agents,
    calling: &'a CallingAgent,
    agent: &'a AgentId,
    ready: &'a mpsc::Sender<Answer>,
    nonce: u64,
    /// Epoch and root in the agent's ledger, as it said last. Not what was offered: it may have refused that, or skipped it for
    /// a newer one.
    held: (u64, Digest),
    /// The epoch offered last, or found held.
    offered: Option<u64>,
    /// What was sent last of freshness.
    stamp: Option<Envelope>,
    /// Where it was told that members are called.
    members: Vec<String>,
}

impl Session<'_> {
    async fn serve(mut self, mut incoming: Streaming<pb::ConnectRequest>) -> Result<(), Status> {
        self.greet(&mut incoming).await?;
        let ended = self.run(incoming).await;
        self.agents.fleet.ended(self.agent);
        ended
    }

    /// Waits for the Hello, and notes the session. Before it is known to be of the agent's own machine nothing is noted of it: whoever
    /// uses the key elsewhere, or says nothing, would keep a dead host from being missed.
    async fn greet(&mut self, incoming: &mut Streaming<pb::ConnectRequest>) -> Result<(), Status> {
        use pb::connect_request::Message;
        let first = tokio::time::timeout(HELLO_LIMIT, incoming.next())
            .await
            .map_err(|_| with_reason(Code::DeadlineExceeded, "NO_HELLO", "say Hello first"))?;
        let Some(pb::ConnectRequest {
            message: Some(Message::Hello(hello)),
        }) = first.transpose()?
        else {
            return Err(argument("message", "must be a Hello first"));
        };
        let pb::Hello {
            epoch,
            root,
            agent_version,
            machine,
        } = hello;
        self.agents.on_its_machine(self.calling, &machine).await?;
        let root = if epoch == 0 {
            Digest::from_bytes([0; 32])
        } else {
            digest("hello.root", &root).map_err(invalid)?
        };
        self.held = (epoch, root);
        // It may have been shut out, or its name given to another key, since it came.
        self.agents.goes_on(self.calling)?;
        self.note(|seen| {
            seen.sessions += 1;
            seen.ledger = Some((epoch, root));
            seen.version = agent_version
                .chars()
                .filter(char::is_ascii_graphic)
                .take(32)
                .collect();
            seen.refusal.clear();
        });
        Ok(())
    }

    async fn run(&mut self, mut incoming: Streaming<pb::ConnectRequest>) -> Result<(), Status> {
        use pb::connect_request::Message;
        let mut revisions = self.agents.replicated.revisions();
        let mut heard = Pace::new();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ready = self.ready;
        // What a slow agent did not read in time, it need not read later. Meanwhile it is heard.
        let (mut offer_due, mut beat_due) = (true, false);
        loop {
            tokio::select! {
                message = incoming.next() => match message {
                    None => return Ok(()),
                    Some(message) => {
                        let message = message?.message;
                        let cost = match &message {
                            Some(Message::Status(_)) => pace::STATUS,
                            _ => pace::ANSWER,
                        };
                        self.hear(message).await?;
                        heard.heard(cost).await;
                    }
                },
                moved = revisions.changed() => {
                    moved.map_err(|_| stopping())?;
                    self.goes_on_unread()?;
                    offer_due = true;
                }
                _ = heartbeat.tick() => {
                    self.goes_on_unread()?;
                    beat_due = true;
                }
                room = ready.reserve(), if offer_due || beat_due => {
                    let room = room.map_err(|_| Status::cancelled("the agent went away"))?;
                    self.agents.goes_on(self.calling)?;
                    // A set comes first.
                    if std::mem::take(&mut offer_due) {
                        self.offer(room);
                    } else {
                        beat_due = false;
                        self.beat(room);
                    }
                }
            }
        }
    }

    /// Whoever does not read is shut out as whoever does, who is asked when there is room for what is due.
    fn goes_on_unread(&self) -> Result<(), Status> {
        match self.ready.capacity() {
            0 => self.agents.goes_on(self.calling),
            _ => Ok(()),
        }
    }

    fn note(&self, change: impl FnOnce(&mut crate::fleet::Seen)) {
        self.agents
            .fleet
            .note(self.agent, self.agents.ambient.now(), change);
    }

    fn send(&mut self, room: Room<'_>, message: pb::connect_response::Message) {
        self.nonce += 1;
        room.send(Ok(pb::ConnectResponse {
            nonce: self.nonce,
            message: Some(message),
        }));
    }

    fn beat(&mut self, room: Room<'_>) {
        let (epoch, stamp) = read(&*self.agents.replicated, |state| {
            (state.set().epoch(), stamp_of(state))
        });
        let stamp = stamp.filter(|stamp| self.stamp.as_ref() != Some(stamp));
        if stamp.is_some() {
            self.stamp.clone_from(&stamp);
        }
        let mut members = self.agents.addresses();
        match members == self.members {
            true => members.clear(),
            false => self.members.clone_from(&members),
        }
        let heartbeat = pb::Heartbeat {
            epoch,
            stamp,
            members,
        };
        self.send(room, pb::connect_response::Message::Heartbeat(heartbeat));
    }

    /// Sends the set if it is another than the one offered last, or than the one the agent says it holds.
    fn offer(&mut self, room: Room<'_>) {
        let (epoch, update) = read(&*self.agents.replicated, |state| {
            let epoch = state.set().epoch();
            // An epoch has one set. Most of what moves the log on is findings.
            let fresh = self.offered != Some(epoch);
            let update = fresh.then(|| update_for(state, self.agent, self.held));
            (epoch, update.flatten())
        });
        self.offered = Some(epoch);
        if let Some(update) = update {
            self.send(room, pb::connect_response::Message::Set(update));
        }
    }

    async fn hear(&mut self, message: Option<pb::connect_request::Message>) -> Result<(), Status> {
        use pb::connect_request::Message;
        self.agents.goes_on(self.calling)?;
        match message {
            None | Some(Message::Hello(_)) => Err(argument("message", "is not one that belongs here")),
            Some(Message::Ack(pb::Ack {
                nonce: _,
                epoch,
                root,
            })) => {
                let root = digest("ack.root", &root).map_err(invalid)?;
                self.held = (epoch, root);
                self.note(|seen| {
                    seen.ledger = Some((epoch, root));
                    seen.refusal.clear();
                });
                Ok(())
            }
            Some(Message::Nack(pb::Nack {
                nonce: _,
                reason,
                detail,
            })) => {
                let text = verger_policy::model::printable_within(&format!("{reason}: {detail}"), 500);
                tracing::warn!(agent = %self.agent, refusal = %text, "an agent refused the policy set");
                self.note(|seen| seen.refusal = text);
                Ok(())
            }
            Some(Message::Status(status)) => self.status(status),
            Some(Message::Alive(pb::Alive {})) => {
                self.agents.fleet.alive(self.agent, self.agents.ambient.now());
                Ok(())
            }
        }
    }

    fn status(&self, status: pb::Status) -> Result<(), Status> {
        let pb::Status {
            applied_epoch: _,
            instances,
            controls,
            unreadable,
            findings_made,
        } = status;
        if instances.len() > INSTANCES {
            let what = format!("are more than {INSTANCES}");
            return Err(argument("status.instances", what));
        }
        // Whose they are, the certificate says.
        let owned = |instance| Instance {
            agent_id: self.agent.to_string(),
            ..instance
        };
        self.note(|seen| {
            seen.instances = instances.into_iter().map(owned).collect();
            seen.controls = controls;
            seen.unreadable = unreadable.into_iter().collect();
            seen.findings_made = findings_made;
        });
        Ok(())
    }
}

/// The set as this agent needs it; `None` when it has it already, or there is none yet.
fn update_for(state: &State, agent: &AgentId, held: (u64, Digest)) -> Option<pb::SetUpdate> {
    let (set, seal) = (state.set(), state.seal()?);
    let (held_epoch, held_root) = held;
    if held_epoch == set.epoch() && held_root == set.root() {
        return None;
    }
    // Other labels select other bodies, whatever their age; and an epoch this member does not know says nothing.
    let own = set.parts().find(|(_, body)| {
        body.is_some_and(|body| matches!(&body.object().spec, Spec::Host(host) if host.agent == *agent))
    });
    let relabelled = own.is_none_or(|(entry, _)| entry.epoch > held_epoch);
    let base_epoch = if relabelled || held_epoch >= set.epoch() {
        0
    } else {
        held_epoch
    };
    let no_labels = verger_policy::model::Labels::default();
    let labels = set.host_labels(agent).unwrap_or(&no_labels);
    let bodies = set
        .needed_by(labels)
        .filter(|entry| entry.epoch > base_epoch)
        .filter_map(|entry| set.body(&entry.key))
        .map(|body| (&**body).into_wire())
        .collect();
    Some(pb::SetUpdate {
        base_epoch,
        epoch: set.epoch(),
        entries: set.entries().map(|entry| entry.into_wire()).collect(),
        bodies,
        seal: Some(Envelope { json: seal.clone() }),
        trust_roots: state
            .cluster()
            .map(|cluster| cluster.later.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|json| Envelope { json: json.clone() })
            .collect(),
    })
}
