//! One member as its callers see it, with everything behind the ports scripted.
//!
//! Tests run on a paused clock, which moves only when nothing else can: what waits for it waits for the whole member.

mod callers;
mod faults;
mod log;
mod members;
mod objects;
mod provider;
mod surroundings;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tonic::service::RoutesBuilder;
use verger_controller_api::denials::{Denials, DenialsLayer};
use verger_controller_api::fleet::Fleet;
use verger_controller_api::ports::{Ambient, AuditRows, Issuer, Membership, Replicated};
use verger_controller_api::{
    Agents, Audit, Authorizer, Certificates, Cluster, Enrolment, Findings, Joining, LogIn, MESSAGE_BYTES,
    MemberInfo, Members as MembersService, Policy, Proposals, SMALL_MESSAGE_BYTES,
};
use verger_controller_state::{Action, Command, Response, RowChange, State, Tree};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_proto::agent::v1::enrolment_service_server::EnrolmentServiceServer;
use verger_proto::agent::v1::session_service_server::SessionServiceServer;
use verger_proto::cluster::v1 as cpb;
use verger_proto::cluster::v1::audit_service_server::AuditServiceServer;
use verger_proto::cluster::v1::certificate_service_server::CertificateServiceServer;
use verger_proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use verger_proto::cluster::v1::join_service_server::JoinServiceServer;
use verger_proto::cluster::v1::login_service_server::LoginServiceServer;
use verger_proto::cluster::v1::member_service_server::MemberServiceServer;
use verger_proto::findings::v1::findings_service_server::FindingsServiceServer;
use verger_proto::policy::v1::policy_service_server::PolicyServiceServer;
use verger_proto::policy::v1::proposal_service_server::ProposalServiceServer;
use verger_seal::{AgentKey, MemberKey, SealingKey, Terms, TrustRoot, TrustedKey};
use verger_transport::PeerCertificate;

pub(crate) use callers::{Caller, Reporter, Talk, denied, fields, reason, refused, soon};
pub(crate) use faults::batch;
pub(crate) use log::Log;
pub(crate) use members::Members;
pub(crate) use objects::{binding, body, filler, guardrail, host, key_of, labelled, role, workload};
pub(crate) use provider::Provider;
pub(crate) use surroundings::{Authority, Surroundings, key_digest, request_of, start};
use wire::Door;

/// People with a local login, each with a key of the own name.
const LOCALS: &[&str] = &[
    "a", "abel", "ada", "aude", "bob", "carl", "eve", "noah", "otto", "vera",
];

/// An instance of Docker's.
pub(crate) fn instance(id: &str, name: &str) -> cpb::Instance {
    cpb::Instance {
        runtime: "docker".to_owned(),
        id: id.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    }
}

/// A member.
pub(crate) struct World {
    pub(crate) log: Arc<Log>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) members: Arc<Members>,
    /// Calls that were refused, and that nobody writes unless a test does.
    pub(crate) denials: Arc<Denials>,
    /// The person's.
    pub(crate) key: SealingKey,
    /// Of a second person, where two must seal.
    pub(crate) second: SealingKey,
    /// The member's own, which nothing stamps with unless a test does.
    pub(crate) member: MemberKey,
    door: Door,
    requests: AtomicU64,
}

impl World {
    /// Before the founding.
    pub(crate) fn new() -> Self {
        let log = Arc::new(Log::new());
        let surroundings = Arc::new(Surroundings::new());
        let authority = Arc::new(Authority::default());
        let fleet = Arc::new(Fleet::default());
        let provider = Arc::new(Provider::default());
        let members = Arc::new(Members::new());
        let membership: Arc<dyn Membership> = Arc::clone(&members) as _;
        let denials = Arc::new(Denials::default());
        let replicated: Arc<dyn Replicated> = Arc::clone(&log) as _;
        let ambient: Arc<dyn Ambient> = Arc::clone(&surroundings) as _;
        let issuer: Arc<dyn Issuer> = Arc::clone(&authority) as _;
        let authorizer = Authorizer::new(Arc::clone(&replicated));
        let mut routes = RoutesBuilder::default();
        routes
            .add_service(
                PolicyServiceServer::new(Policy::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&authorizer),
                ))
                .max_decoding_message_size(MESSAGE_BYTES),
            )
            .add_service(
                ProposalServiceServer::new(Proposals::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&authorizer),
                ))
                .max_decoding_message_size(MESSAGE_BYTES),
            )
            .add_service(
                ClusterServiceServer::new(Cluster::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&fleet),
                    Arc::clone(&authorizer),
                    MemberInfo {
                        member: "c1".to_owned(),
                        address: "c1.example:7443".to_owned(),
                        enrol_address: "c1.example:7444".to_owned(),
                        ca_pin: "sha256:00".to_owned(),
                        oidc_issuer: Some("https://id.example".to_owned()),
                    },
                ))
                .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            )
            .add_service(
                AuditServiceServer::new(Audit::new(
                    Arc::clone(&replicated),
                    Arc::clone(&log) as Arc<dyn AuditRows>,
                    Arc::clone(&authorizer),
                ))
                .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            )
            .add_service(
                CertificateServiceServer::new(Certificates::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&issuer),
                    Arc::clone(&authorizer),
                ))
                .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            )
            .add_service(
                FindingsServiceServer::new(Findings::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&authorizer),
                ))
                .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            )
            .add_service(
                SessionServiceServer::new(Agents::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&issuer),
                    Arc::clone(&fleet),
                    Arc::clone(&membership),
                ))
                .max_decoding_message_size(MESSAGE_BYTES),
            )
            .add_service(
                LoginServiceServer::new(LogIn::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&issuer),
                    Some(Arc::clone(&provider) as _),
                    "c1.example:7443".to_owned(),
                ))
                .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            )
            .add_service(
                MemberServiceServer::new(MembersService::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&membership),
                    Arc::clone(&members) as _,
                    Arc::clone(&fleet),
                    Arc::clone(&authorizer),
                ))
                .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            )
            .add_service(
                JoinServiceServer::new(Joining::new(
                    Arc::clone(&replicated),
                    Arc::clone(&ambient),
                    Arc::clone(&issuer),
                    membership,
                ))
                .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            )
            .add_service(
                EnrolmentServiceServer::new(Enrolment::new(replicated, ambient, issuer))
                    .max_decoding_message_size(SMALL_MESSAGE_BYTES),
            );
        let watched = DenialsLayer::new(Arc::clone(&denials), Arc::clone(&surroundings) as _);
        Self {
            log: Arc::clone(&log),
            surroundings,
            authority,
            fleet,
            provider,
            members,
            key: SealingKey::from_seed([1; 32]),
            second: SealingKey::from_seed([2; 32]),
            member: MemberKey::from_seed([3; 32]),
            door: Door::open(routes.routes(), watched, Arc::clone(&log) as _),
            denials,
            requests: AtomicU64::new(0),
        }
    }

    /// Founded on the person's key, with the empty set.
    pub(crate) fn founded() -> Self {
        Self::founded_of(1)
    }

    /// Founded on the keys of two, of whom so many must seal.
    pub(crate) fn founded_of(threshold: usize) -> Self {
        let world = Self::new();
        let keys = [("ada", &world.key), ("bob", &world.second)];
        let trusted = |name: &str, public| TrustedKey {
            name: name.to_owned(),
            public,
        };
        let terms = Terms {
            keys: keys[..threshold]
                .iter()
                .map(|(name, key)| trusted(name, key.public()))
                .collect(),
            threshold,
            members: vec![trusted("c1", world.member.public())],
        };
        let signing = keys[..threshold].iter().map(|(_, key)| *key);
        let envelope = TrustRoot::draft(&terms, &signing.collect::<Vec<_>>()).unwrap();
        world.found(Action::Found {
            trust_root: envelope.to_json().into(),
        });
        world
    }

    /// Founds the cluster, with a local login of everybody whom tests know. Of these the audit says nothing: they take no part in
    /// what a test counts.
    fn found(&self, found: Action) {
        let mut state = State::default();
        let (founded, mut changes) = state.apply(1, 0, self.command(found).encode());
        assert!(matches!(founded, Response::Founded(_)), "{founded:?}");
        for person in LOCALS {
            let action = Action::CreateLogin {
                person: (*person).to_owned(),
                key: key_digest(person),
            };
            let (given, given_changes) = state.apply(1, 0, self.command(action).encode());
            assert_eq!(given, Response::LoginCreated);
            let logins = given_changes
                .into_iter()
                .filter(|change| change.tree == Tree::Logins);
            changes.extend(logins);
        }
        let rows: BTreeMap<_, _> = changes
            .into_iter()
            .filter_map(|RowChange { tree, key, value }| Some(((tree, key), value?)))
            .collect();
        let audit = rows
            .iter()
            .filter(|((tree, _), _)| *tree == Tree::Audit)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        let rows = rows.into_iter().map(|((tree, key), value)| (tree, key, value));
        self.log.begin(State::from_rows(1, rows).unwrap(), audit);
    }

    /// A caller with a connection of its own; `""` has no certificate, others are `person/ada` and so on. Its key is that of its
    /// name, and its certificate good for a day.
    pub(crate) fn caller(&self, peer: &str) -> Caller {
        let (_, name) = peer.split_once('/').unwrap_or_default();
        self.caller_with(peer, name, start().as_second() + 86_400)
    }

    /// A caller with this key in its certificate, which ends then.
    pub(crate) fn caller_with(&self, peer: &str, key: &str, not_after: i64) -> Caller {
        let certificate = (!peer.is_empty()).then(|| PeerCertificate {
            peer: peer.parse().unwrap(),
            key: *key_digest(key).as_bytes(),
            not_after,
        });
        Caller(self.door.enter(certificate))
    }

    /// Gives a person a local login with this key, in place of any other.
    pub(crate) fn give_login(&self, person: &str, key: &str) {
        let given = self.run(Action::CreateLogin {
            person: person.to_owned(),
            key: key_digest(key),
        });
        assert_eq!(given, Response::LoginCreated);
    }

    /// The person who made everything.
    pub(crate) fn ada(&self) -> Caller {
        self.caller("person/ada")
    }

    /// Carries out an action that nobody sent through the API.
    pub(crate) fn run(&self, action: Action) -> Response {
        self.log.run(&self.command(action))
    }

    pub(crate) fn command(&self, action: Action) -> Command {
        Command {
            stamp: self.surroundings.now(),
            actor: "controller/c1".to_owned(),
            request_id: None,
            from: None,
            policies: Vec::new(),
            counted: false,
            action,
        }
    }

    /// Stamps what is there now, as the member that leads does.
    pub(crate) fn stamp(&self) -> Vec<u8> {
        let now = self.surroundings.now();
        let due = self
            .log
            .state()
            .due_stamp(now, jiff::SignedDuration::ZERO)
            .unwrap();
        let envelope = self.member.stamp(&due).to_json();
        let stamped = self.run(Action::Stamp {
            envelope: envelope.clone().into(),
        });
        assert_eq!(stamped, Response::Stamped { whole: true });
        envelope
    }

    /// A request id that was not used before.
    pub(crate) fn request_id(&self) -> String {
        format!("request-{}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Enrols agents, each with a key of its own name.
    pub(crate) fn enrol(&self, agents: &[&str]) {
        for agent in agents {
            self.enrol_with(agent, agent);
        }
    }

    /// Enrols an agent with this key.
    pub(crate) fn enrol_with(&self, agent: &str, key: &str) {
        self.enrol_under(agent, key_digest(key), None);
    }

    /// Enrols an agent on this machine.
    pub(crate) fn enrol_on(&self, agent: &str, machine: &str) {
        self.enrol_under(agent, key_digest(agent), Some(key_digest(machine)));
    }

    /// Enrols an agent with a key that can sign.
    pub(crate) fn enrol_signing(&self, agent: &str, key: &AgentKey) {
        self.enrol_under(agent, Digest::of(&key.public_info()), None);
    }

    /// That agent, with a connection of its own.
    pub(crate) fn signing_caller(&self, agent: &str, key: &AgentKey) -> Caller {
        let certificate = PeerCertificate {
            peer: format!("agent/{agent}").parse().unwrap(),
            key: *Digest::of(&key.public_info()).as_bytes(),
            not_after: start().as_second() + 86_400,
        };
        Caller(self.door.enter(Some(certificate)))
    }

    fn enrol_under(&self, agent: &str, key: Digest, machine: Option<Digest>) {
        let (id, token): (AgentId, _) = (agent.parse().unwrap(), format!("token of {key}"));
        self.run(Action::CreateToken {
            id: token.clone(),
            secret_hash: Digest::of(b"secret"),
            agent: id.clone(),
            expires: start() + jiff::SignedDuration::from_secs(600),
            approval: false,
        });
        let enrolled = self.run(Action::Enrol {
            token_id: token,
            secret_hash: Digest::of(b"secret"),
            agent: id,
            key,
            machine,
        });
        assert_eq!(enrolled, Response::Enrolled);
    }

    /// A host with this key waits for approval.
    pub(crate) fn wait(&self, agent: &str, key: &str) {
        let (id, token): (AgentId, _) = (agent.parse().unwrap(), format!("approval of {key}"));
        self.run(Action::CreateToken {
            id: token.clone(),
            secret_hash: Digest::of(b"secret"),
            agent: id.clone(),
            expires: start() + jiff::SignedDuration::from_secs(600),
            approval: true,
        });
        let waits = self.run(Action::Enrol {
            token_id: token,
            secret_hash: Digest::of(b"secret"),
            agent: id,
            key: key_digest(key),
            machine: None,
        });
        assert_eq!(waits, Response::AwaitsApproval);
    }

    /// Shuts an agent out.
    pub(crate) fn evict(&self, agent: &str) {
        let evicted = self.run(Action::EvictHost {
            agent: agent.parse().unwrap(),
            reason: String::new(),
        });
        assert_eq!(evicted, Response::Decided);
    }

    /// Notes what an agent said of its instances.
    pub(crate) fn note_instances(&self, agent: &str, instances: Vec<cpb::Instance>) {
        let owned = |instance| cpb::Instance {
            agent_id: agent.to_owned(),
            ..instance
        };
        let (now, id) = (self.surroundings.now(), agent.parse().unwrap());
        self.fleet.note(&id, now, |seen| {
            seen.instances = instances.into_iter().map(owned).collect();
        });
    }

    /// The cluster's id.
    pub(crate) fn cluster_id(&self) -> Digest {
        self.log.state().cluster().unwrap().id
    }

    /// Waits until nothing that was begun can go on by itself.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
