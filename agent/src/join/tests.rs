#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use verger_proto::agent::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
use verger_seal::{SealingKey, TrustRoot};
use verger_transport::{
    Authority, JoinToken, Purpose, Server, SpiffeId, accept_enrolments, install_crypto_provider,
};

use super::*;

/// A controller that spends a token on one key.
struct Enrolling {
    agents: Authority,
    members: Vec<u8>,
    cluster: String,
    trust_root: Vec<u8>,
    spent: Mutex<Option<[u8; 32]>>,
    /// How many of the next answers are lost.
    lost: Mutex<usize>,
    /// Whether it certifies another's key.
    anothers: Arc<AtomicBool>,
    /// How often the host is told to wait; at `u32::MAX` for ever.
    approval: Arc<AtomicU32>,
    /// What the host said of its machine.
    machines: Arc<Mutex<Vec<bytes::Bytes>>>,
}

#[tonic::async_trait]
impl EnrolmentService for Enrolling {
    async fn enrol(&self, request: Request<pb::EnrolRequest>) -> Result<Response<pb::EnrolResponse>, Status> {
        let request = request.into_inner();
        let key = Authority::key_digest(&request.csr).unwrap();
        if *self.spent.lock().unwrap().get_or_insert(key) != key {
            return Err(Status::permission_denied("the token is spent"));
        }
        self.machines.lock().unwrap().push(request.machine.clone());
        let mut lost = self.lost.lock().unwrap();
        if *lost > 0 {
            *lost -= 1;
            return Err(Status::unavailable("connection reset"));
        }
        let wait = self.approval.load(Ordering::SeqCst);
        if wait > 0 {
            self.approval
                .store(wait.saturating_sub(u32::from(wait < u32::MAX)), Ordering::SeqCst);
            return Ok(Response::new(pb::EnrolResponse {
                waiting: true,
                ..Default::default()
            }));
        }
        let id = SpiffeId {
            cluster: self.cluster.clone(),
            peer: format!("agent/{}", request.agent_id).parse().unwrap(),
        };
        let csr = match self.anothers.load(Ordering::SeqCst) {
            true => KeyPair::generate().unwrap().request().unwrap(),
            false => request.csr.to_vec(),
        };
        let issued = self
            .agents
            .issue(&csr, &id, Duration::from_secs(3_600), &[])
            .unwrap();
        Ok(Response::new(pb::EnrolResponse {
            chain: issued.chain.into_iter().map(Into::into).collect(),
            member_cas: vec![self.members.clone().into()],
            trust_root: Some(verger_proto::policy::v1::Envelope {
                json: self.trust_root.clone().into(),
            }),
            waiting: false,
        }))
    }
}

struct Place {
    folder: tempfile::TempDir,
    config: Config,
    args: JoinArgs,
    anothers: Arc<AtomicBool>,
    approval: Arc<AtomicU32>,
    machines: Arc<Mutex<Vec<bytes::Bytes>>>,
}

impl Place {
    /// A host, and a controller that loses so many answers.
    async fn new(lost: usize) -> Self {
        install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let (root, envelope) =
            TrustRoot::found(&[("ann".to_owned(), &SealingKey::from_seed([1; 32]))], 1).unwrap();
        let cluster = root.cluster_id().hex();
        let authority = |purpose| Authority::create(folder.path(), purpose, &cluster).unwrap();
        let (members, agents, people) = (
            authority(Purpose::Members),
            authority(Purpose::Agents),
            authority(Purpose::People),
        );
        let key = KeyPair::generate().unwrap();
        let id = SpiffeId {
            cluster: cluster.clone(),
            peer: "controller/c1".parse().unwrap(),
        };
        let issued = members
            .issue(&key.request().unwrap(), &id, Duration::from_secs(3_600), &[])
            .unwrap();
        let authorities = [
            (Purpose::Members, members.certificate().to_vec()),
            (Purpose::Agents, agents.certificate().to_vec()),
            (Purpose::People, people.certificate().to_vec()),
        ];
        let server = Server::new(&cluster, &Identity::new(issued.chain, &key), &authorities).unwrap();
        let pin = spki_pin(members.certificate()).unwrap();
        let anothers = Arc::new(AtomicBool::new(false));
        let (approval, machines) = (Arc::new(AtomicU32::new(0)), Arc::default());
        let service = EnrolmentServiceServer::new(Enrolling {
            agents,
            members: members.certificate().to_vec(),
            cluster: cluster.clone(),
            trust_root: envelope.to_json(),
            spent: Mutex::default(),
            lost: Mutex::new(lost),
            anothers: Arc::clone(&anothers),
            approval: Arc::clone(&approval),
            machines: Arc::clone(&machines),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let connections = ReceiverStream::new(accept_enrolments(listener, &server));
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(connections)
                .await
        });
        let file = folder.path().join("agent.toml");
        let id = folder.path().join("machine-id");
        std::fs::write(&id, "0123456789abcdef0123456789abcdef\n").unwrap();
        let data = folder.path().join("data");
        std::fs::write(&file, format!("data_dir = {data:?}\nmachine_id = {id:?}\n")).unwrap();
        Self {
            config: Config::load(&file).unwrap(),
            args: JoinArgs {
                agent: "web-1".to_owned(),
                enrol: address.clone(),
                controller: address,
                cluster_id: cluster,
                ca_pin: pin,
                token: JoinToken::from_random([7; 40]).reveal().to_string(),
                wait: 60,
            },
            folder,
            anothers,
            approval,
            machines,
        }
    }

    async fn join(&self) -> Result<(), String> {
        join(&self.config, &self.args)
            .await
            .map_err(|error| format!("{error:#}"))
    }

    fn joining(&self) -> PathBuf {
        self.config.joining_file(&"web-1".parse().unwrap())
    }

    /// The trust roots in the ledger, as the agent reads it when it runs.
    fn restored(&self) -> usize {
        let options = verger_agent_store::Options::default();
        let (ledger, _) = verger_agent_store::open(&self.config.store_dir(), &options).unwrap();
        let image = ledger.load().unwrap();
        let count = image.trust_roots.len();
        LedgerState::restore("web-1".parse().unwrap(), image).unwrap();
        count
    }
}

#[tokio::test]
async fn an_attempt_whose_answer_was_lost_spends_no_token_for_nothing() {
    let place = Place::new(2).await;
    for _ in 0..2 {
        let error = place.join().await.unwrap_err();
        assert!(error.contains("connection reset"), "{error}");
        assert!(!Enrolment::exists(&place.config));
        let mode = std::fs::metadata(place.joining()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    place.join().await.unwrap();
    assert!(!place.joining().exists(), "the key is in one place only");
    assert!(Enrolment::exists(&place.config));
    Enrolment::load(&place.config)
        .unwrap()
        .client(&place.config)
        .unwrap();
    assert_eq!(place.restored(), 1);
}

#[tokio::test]
async fn another_key_or_another_agent_gets_nothing_for_the_token() {
    let mut place = Place::new(1).await;
    place.join().await.unwrap_err();
    let key = std::fs::read(place.joining()).unwrap();
    std::fs::remove_file(place.joining()).unwrap();
    assert!(place.join().await.unwrap_err().contains("spent"));
    files::replace(&place.joining(), &key).unwrap();
    place.args.agent = "web-2".to_owned();
    assert!(place.join().await.unwrap_err().contains("spent"));
    place.args.agent = "web-1".to_owned();
    place.join().await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_damaged_is_named() {
    let place = Place::new(0).await;
    std::fs::create_dir(place.folder.path().join("data")).unwrap();
    files::replace(&place.joining(), b"-----BEGIN").unwrap();
    let error = place.join().await.unwrap_err();
    assert!(error.contains("joining-web-1.pem: remove it"), "{error}");
    std::fs::remove_file(place.joining()).unwrap();
    place.join().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_enrols_nobody() {
    let place = Place::new(0).await;
    place.anothers.store(true, Ordering::SeqCst);
    let error = place.join().await.unwrap_err();
    assert!(error.contains("cannot be used"), "{error}");
    assert!(!Enrolment::exists(&place.config) && !place.config.identity_file().exists());
    place.anothers.store(false, Ordering::SeqCst);
    place.join().await.unwrap();
}

#[tokio::test]
async fn an_attempt_cut_short_after_the_ledger_was_written_is_made_again() {
    let place = Place::new(0).await;
    place.join().await.unwrap();
    let identity = Identity::load(&place.config.identity_file()).unwrap();
    files::replace(&place.joining(), identity.key_pem().as_bytes()).unwrap();
    std::fs::remove_file(place.config.cluster_file()).unwrap();
    place.join().await.unwrap();
    assert_eq!(place.restored(), 1, "the trust root is there once");
}

#[tokio::test]
async fn a_host_that_has_to_be_approved_waits_and_goes_on_with_the_same_key() {
    let mut place = Place::new(0).await;
    place.approval.store(u32::MAX, Ordering::SeqCst);
    place.args.wait = 0;
    let error = place.join().await.unwrap_err();
    assert!(error.contains("run the same command again"), "{error}");
    assert!(!Enrolment::exists(&place.config) && !place.config.identity_file().exists());
    let key = std::fs::read(place.joining()).unwrap();
    place.join().await.unwrap_err();
    assert_eq!(std::fs::read(place.joining()).unwrap(), key);
    // Approved after it has asked once more.
    place.approval.store(1, Ordering::SeqCst);
    place.args.wait = 60;
    place.join().await.unwrap();
    let identity = Identity::load(&place.config.identity_file()).unwrap();
    assert!(identity.key_pem().ends_with(std::str::from_utf8(&key).unwrap()));
    assert_eq!(place.restored(), 1);
}

#[tokio::test]
async fn the_machine_is_told_by_a_digest_and_never_by_its_id() {
    let place = Place::new(0).await;
    place.join().await.unwrap();
    let told = place.machines.lock().unwrap().clone();
    assert_eq!((told.len(), told[0].len()), (1, 32));
    assert!(!hex::encode(&told[0]).contains("0123456789abcdef"));
}
