//! The one place that sees both the API and what is behind its ports.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tonic::service::RoutesBuilder;
use verger_controller_api::denials::{Denials, DenialsLayer, keep_record, write_rest};
use verger_controller_api::fleet::Fleet;
use verger_controller_api::identity_provider::IdentityProvider;
use verger_controller_api::logins::LoginsLayer;
use verger_controller_api::ports::{Ambient, AuditRows, Issuer, Membership, Replicated};
use verger_controller_api::quotas::{Serves, serves};
use verger_controller_api::{
    Agents, Audit, Authorizer, Certificates, Cluster, Enrolment, Findings, Joining, LogIn, MESSAGE_BYTES,
    MemberInfo, Members, Policy, Proposals, SMALL_MESSAGE_BYTES,
};
use verger_controller_raft::{Member, MemberConfig, NoPeers, Part, Peers};
use verger_proto::agent::v1::enrolment_service_server::EnrolmentServiceServer;
use verger_proto::agent::v1::session_service_server::SessionServiceServer;
use verger_proto::cluster::v1::audit_service_server::AuditServiceServer;
use verger_proto::cluster::v1::certificate_service_server::CertificateServiceServer;
use verger_proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use verger_proto::cluster::v1::join_service_server::JoinServiceServer;
use verger_proto::cluster::v1::login_service_server::LoginServiceServer;
use verger_proto::cluster::v1::member_service_server::MemberServiceServer;
use verger_proto::findings::v1::findings_service_server::FindingsServiceServer;
use verger_proto::policy::v1::policy_service_server::PolicyServiceServer;
use verger_proto::policy::v1::proposal_service_server::ProposalServiceServer;
use verger_transport::{Authority, Identity, KeyPair, Own, Peer, Purpose, Server, SpiffeId, spki_pin};

use crate::adapters::{Authorities, RaftMembership, RaftState, SystemAmbient};
use crate::config::Config;
use crate::oidc::Oidc;
use crate::peers::TlsPeers;
use crate::renewal::{Renewal, Validity};
use crate::seat::{FIRST, Seat};

/// How long a member's certificate is good.
pub(crate) const MEMBER_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// A member that does not lead a cluster of one by then never will.
const LEADING_LIMIT: Duration = Duration::from_secs(30);

/// The services of one member, ready to be served.
pub(crate) struct WiredUp {
    pub(crate) member: Arc<Member>,
    pub(crate) api: tonic::service::Routes,
    pub(crate) enrolment: tonic::service::Routes,
    /// Calls that are refused before they reach the log.
    pub(crate) denials: Arc<Denials>,
    pub(crate) health: tonic_health::server::HealthReporter,
    /// What was heard of agents.
    pub(crate) fleet: Arc<Fleet>,
}

/// Opens the stores and starts Raft.
async fn open(config: &Config, number: u64, start: u64, peers: Arc<dyn Peers>) -> anyhow::Result<Member> {
    let member = MemberConfig {
        id: number,
        node: config.node(),
        is_first: number == FIRST,
        start,
    };
    Ok(Member::open(member, config.raft_dir(), peers).await?)
}

/// A number that no other run has.
fn start_number() -> u64 {
    let mut start = [0; 8];
    SystemAmbient.random(&mut start);
    u64::from_le_bytes(start)
}

/// Opens a member that needs nobody else to decide anything, and waits until it leads.
///
/// # Errors
/// When it cannot be opened, or others vote, too.
pub(crate) async fn open_alone(config: &Config, number: u64) -> anyhow::Result<Member> {
    let member = open(config, number, start_number(), Arc::new(NoPeers)).await?;
    let voters = voters(&member);
    if voters > 1 {
        member.stop().await;
        anyhow::bail!(
            "{voters} members vote in this cluster, and this one decides nothing without the others: start it"
        );
    }
    member.wait_until_leading(LEADING_LIMIT).await?;
    // What it had acknowledged before it was started is there.
    member.catch_up().await?;
    Ok(member)
}

fn voters(member: &Member) -> usize {
    let members = member.standing().members;
    members.iter().filter(|member| member.part == Part::Voter).count()
}

/// Which member this is. One that was founded before there could be others is told by its state.
pub(crate) async fn seat(config: &Config) -> anyhow::Result<Seat> {
    let dir = config.raft_dir();
    if let Some(seat) = Seat::load(&dir)? {
        return Ok(seat);
    }
    let member = open_alone(config, FIRST).await?;
    let cluster = member.read(|state| state.cluster().map(|cluster| cluster.id.hex()));
    member.stop().await;
    let seat = Seat::new(
        FIRST,
        cluster.context("this member is not founded: run `verger-controller init`")?,
    );
    seat.keep(&dir)?;
    Ok(seat)
}

/// Opens the member that is stopped, for a command on its host.
///
/// # Errors
/// As [`open_alone`].
pub(crate) async fn open_stopped(config: &Config) -> anyhow::Result<Member> {
    let seat = seat(config).await?;
    open_alone(config, seat.number).await
}

/// A member that runs, and is called by its peers; nobody else is served yet.
pub(crate) struct Opened {
    pub(crate) member: Arc<Member>,
    pub(crate) tls: Arc<Server>,
    pub(crate) peers: Arc<TlsPeers>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) seat: Seat,
    /// A number that no other run of it has.
    pub(crate) start: u64,
    own: Own,
    /// From when until when the first certificate is good.
    certificate: Validity,
}

/// Opens the stores and starts Raft.
pub(crate) async fn open_member(config: &Config) -> anyhow::Result<Opened> {
    let seat = seat(config).await?;
    let pki = config.pki_dir();
    let authorities = Purpose::ALL
        .into_iter()
        .map(|purpose| Ok((purpose, Authority::load(&pki, purpose)?.certificate().to_vec())))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let members = Authority::load(&pki, Purpose::Members)?.certificate().to_vec();
    let identity = member_identity(config, &seat.cluster_id)?;
    let (own, certificate) = (Own::new(&identity)?, Validity::of(&identity)?);
    let tls = Server::with(&seat.cluster_id, own.clone(), &authorities)?;
    // Whoever watches the network sees one address of a member.
    let from = config
        .peer_listen
        .map(|listen| listen.ip())
        .filter(|ip| !ip.is_unspecified());
    let peers = Arc::new(TlsPeers::new(&seat.cluster_id, own.clone(), vec![members], from));
    let start = start_number();
    let calling: Arc<dyn Peers> = Arc::<TlsPeers>::clone(&peers);
    let member = Arc::new(open(config, seat.number, start, calling).await?);
    keeps_its_name(config, &member, seat.number)?;
    Ok(Opened {
        member,
        tls: Arc::new(tls),
        peers,
        fleet: Arc::new(Fleet::default()),
        seat,
        start,
        own,
        certificate,
    })
}

/// Refuses a configuration with another name than the others know the member by: they would let nobody in who shows it.
fn keeps_its_name(config: &Config, member: &Member, number: u64) -> anyhow::Result<()> {
    let members = member.standing().members;
    let known = members.iter().find(|member| member.id == number);
    match known.map(|known| known.node.name.as_str()) {
        Some(name) if !name.is_empty() && name != config.member => anyhow::bail!(
            "`member` is {} in the configuration, and {name} in the cluster: a member keeps its name; write `member = \"{name}\"`",
            config.member
        ),
        _ => Ok(()),
    }
}

impl Opened {
    /// Has fresh certificates made, each of which is used from the next handshake on.
    pub(crate) fn renewal(&self, config: &Config) -> Renewal<impl Fn() -> anyhow::Result<Validity> + use<>> {
        let (config, cluster, own) = (config.clone(), self.seat.cluster_id.clone(), self.own.clone());
        Renewal::new(self.certificate, move || {
            let identity = member_identity(&config, &cluster)?;
            let certificate = Validity::of(&identity)?;
            own.replace(&identity)?;
            Ok(certificate)
        })
    }

    /// Whether this member is the only one that votes.
    pub(crate) fn decides_alone(&self) -> bool {
        let members = self.member.standing().members;
        let mut voters = members.iter().filter(|of| of.part == Part::Voter);
        voters.next().is_some_and(|of| of.id == self.seat.number) && voters.next().is_none()
    }

    /// Waits until this member can serve: what it had acknowledged is there, where it decides that alone, and its cluster is known to it.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        if self.decides_alone() {
            self.member.wait_until_leading(LEADING_LIMIT).await?;
            self.member.catch_up().await?;
        }
        let mut revisions = self.member.revisions();
        while self.member.read(|state| state.cluster().is_none()) {
            tracing::info!("waiting for the cluster's leader to call");
            revisions.changed().await.context("the member stopped")?;
        }
        Ok(())
    }
}

/// Puts everything together.
pub(crate) async fn wire_up(config: &Config, opened: &Opened) -> anyhow::Result<WiredUp> {
    let (member, fleet) = (Arc::clone(&opened.member), Arc::clone(&opened.fleet));
    let cluster = opened.seat.cluster_id.clone();
    let pki = config.pki_dir();
    let members = Authority::load(&pki, Purpose::Members)?.certificate().to_vec();
    let ca_pin = spki_pin(&members).context("the members' authority has no readable key")?;
    let replicated: Arc<dyn Replicated> = Arc::new(RaftState(Arc::clone(&member)));
    let audit_rows: Arc<dyn AuditRows> = Arc::new(RaftState(Arc::clone(&member)));
    let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient);
    let issuer: Arc<dyn Issuer> = Arc::new(Authorities {
        cluster,
        agents: Authority::load(&pki, Purpose::Agents)?,
        people: Authority::load(&pki, Purpose::People)?,
        members,
        pki: pki.clone(),
        person_lifetime: config.person_lifetime(),
    });
    let provider = config
        .oidc
        .as_ref()
        .map(Oidc::new)
        .transpose()
        .context("`[oidc]`")?;
    let provider = provider.map(|provider| Arc::new(provider) as Arc<dyn IdentityProvider>);
    let membership: Arc<dyn Membership> = Arc::new(RaftMembership {
        member: Arc::clone(&member),
        name: config.member.clone(),
        closed: closed(config),
    });
    let authorizer = Authorizer::new(Arc::clone(&replicated));
    let info = MemberInfo {
        member: config.member.clone(),
        address: config.address(),
        enrol_address: config.enrol_address(),
        ca_pin,
        oidc_issuer: provider.as_ref().map(|provider| provider.issuer().to_owned()),
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(verger_proto::DESCRIPTORS)
        .build_v1()?;
    let mut api = RoutesBuilder::default();
    api.add_service(health_service.max_decoding_message_size(SMALL_MESSAGE_BYTES));
    api.add_service(reflection.max_decoding_message_size(SMALL_MESSAGE_BYTES));
    api.add_service(
        PolicyServiceServer::new(Policy::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&authorizer),
        ))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX),
    );
    api.add_service(
        ProposalServiceServer::new(Proposals::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&authorizer),
        ))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX),
    );
    api.add_service(
        ClusterServiceServer::new(Cluster::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&fleet),
            Arc::clone(&authorizer),
            info,
        ))
        .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    api.add_service(
        MemberServiceServer::new(Members::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&membership),
            Arc::new(RaftState(Arc::clone(&member))),
            Arc::clone(&fleet),
            Arc::clone(&authorizer),
        ))
        .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    api.add_service(
        AuditServiceServer::new(Audit::new(
            Arc::clone(&replicated),
            audit_rows,
            Arc::clone(&authorizer),
        ))
        .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    api.add_service(
        CertificateServiceServer::new(Certificates::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&issuer),
            Arc::clone(&authorizer),
        ))
        .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    api.add_service(
        FindingsServiceServer::new(Findings::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            authorizer,
        ))
        .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    api.add_service(
        SessionServiceServer::new(Agents::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&issuer),
            Arc::clone(&fleet),
            Arc::clone(&membership),
        ))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX),
    );
    let mut enrolment = RoutesBuilder::default();
    enrolment.add_service(
        LoginServiceServer::new(LogIn::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&issuer),
            provider,
            config.address(),
        ))
        .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    enrolment.add_service(
        JoinServiceServer::new(Joining::new(
            Arc::clone(&replicated),
            Arc::clone(&ambient),
            Arc::clone(&issuer),
            membership,
        ))
        .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    enrolment.add_service(
        EnrolmentServiceServer::new(Enrolment::new(replicated, ambient, issuer))
            .max_decoding_message_size(SMALL_MESSAGE_BYTES),
    );
    Ok(WiredUp {
        member,
        api: api.routes(),
        enrolment: enrolment.routes(),
        denials: Arc::new(Denials::default()),
        health,
        fleet,
    })
}

impl WiredUp {
    /// Goes around the services.
    pub(crate) fn watch(&self) -> DenialsLayer {
        DenialsLayer::new(Arc::clone(&self.denials), Arc::new(SystemAmbient))
    }

    /// Asks of every call whether its login still serves.
    pub(crate) fn check_logins(&self) -> LoginsLayer {
        LoginsLayer::new(Arc::new(RaftState(Arc::clone(&self.member))))
    }

    /// Says of a certificate whether who has it is served, as this member knows. One that stopped serves nobody.
    pub(crate) fn serves(&self) -> Arc<Serves> {
        let member = Arc::downgrade(&self.member);
        Arc::new(move |certificate| {
            let member = member.upgrade();
            member.is_some_and(|member| member.read(|state| serves(state, certificate)))
        })
    }

    /// Writes what refused calls are in no row yet, before the member stops. `record` is who kept it until then.
    pub(crate) async fn write_rest(&self, record: &mut JoinHandle<()>) {
        self.denials.stop();
        let _ = record.await;
        write_rest(
            &self.denials,
            &RaftState(Arc::clone(&self.member)),
            &SystemAmbient,
        )
        .await;
    }

    /// Writes refused calls into the audit, until what is left of them is written.
    pub(crate) fn keep_record(&self) -> impl Future<Output = ()> + Send + use<> {
        let denials = Arc::clone(&self.denials);
        let replicated = RaftState(Arc::clone(&self.member));
        async move { keep_record(&denials, &replicated, &SystemAmbient).await }
    }
}

/// Why nobody can join by this member.
fn closed(config: &Config) -> Option<String> {
    config.peer_listen.is_none().then(|| {
        format!(
            "member {} listens for no other members: set `peer_listen` (and `peer_address`) in its configuration, and start it again",
            config.member
        )
    })
}

// The key lives in memory only: each start, and each renewal, makes its own.
fn member_identity(config: &Config, cluster: &str) -> anyhow::Result<Identity> {
    let key = KeyPair::generate()?;
    let id = SpiffeId {
        cluster: cluster.to_owned(),
        peer: Peer::Controller(config.member.parse()?),
    };
    let issued = Authority::load(&config.pki_dir(), Purpose::Members)?.issue(
        &key.request()?,
        &id,
        MEMBER_LIFETIME,
        &[],
    )?;
    Ok(Identity::new(issued.chain, &key))
}
