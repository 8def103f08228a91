//! Members as an agent meets them, one of which has no space: it opens every stream, and ends it when it is to write.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request};
use tonic_types::{ErrorDetails, StatusExt as _};
use verger_agent_core::report::{Pace, Report};
use verger_agent_core::store::conformance::transition;
use verger_agent_core::store::memory::MemoryDisk;
use verger_agent_core::store::{Round, SpoolStore as _};
use verger_policy::digest::Digest;
use verger_proto::agent::v1::session_service_server::{SessionService, SessionServiceServer};
use verger_transport::{
    Authority, KeyPair, Purpose, Server, SpiffeId, accept_known, install_crypto_provider,
};

use super::*;
use crate::report::{self, Numbers, ReportPorts};
use crate::signing::HeadSigner;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a member was asked to open a stream.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) sessions: AtomicUsize,
    pub(crate) reports: AtomicUsize,
}

/// One that is full first, and then one with space.
pub(crate) struct Members {
    pub(crate) controllers: Arc<Controllers>,
    pub(crate) full: Arc<Asked>,
    pub(crate) roomy: Arc<Asked>,
    /// The last number of each batch that the one with space was told.
    told: mpsc::Receiver<u64>,
    _folder: tempfile::TempDir,
}

struct Member {
    asked: Arc<Asked>,
    /// Nowhere, where there is no space.
    tell: Option<mpsc::Sender<u64>>,
}

type Answers<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

fn no_space() -> Status {
    let mut details = ErrorDetails::with_error_info("CANNOT_WRITE", "verger", [] as [(String, String); 0]);
    details.set_retry_info(Some(Duration::from_millis(1)));
    Status::with_error_details(Code::Unavailable, "the disk is full", details)
}

#[tonic::async_trait]
impl SessionService for Member {
    type ConnectStream = Answers<pb::ConnectResponse>;
    type ReportStream = Answers<pb::ReportResponse>;

    async fn connect(
        &self,
        _: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        self.asked.sessions.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(match self.tell {
            Some(_) => Box::pin(tokio_stream::pending()),
            None => Box::pin(tokio_stream::once(Err(no_space()))),
        }))
    }

    async fn report(
        &self,
        request: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        self.asked.reports.fetch_add(1, Ordering::SeqCst);
        let tell = self.tell.clone();
        let held = |acknowledged| pb::ReportResponse {
            acknowledged,
            chain: Default::default(),
        };
        let answers = request.into_inner().then(move |message| {
            let tell = tell.clone();
            async move {
                let message = message?;
                let told = message.first_sequence + message.transitions.len() as u64 - 1;
                tell.ok_or_else(no_space)?.send(told).await.unwrap();
                Ok(held(told))
            }
        });
        Ok(Response::new(Box::pin(
            tokio_stream::once(Ok(held(0))).chain(answers),
        )))
    }

    async fn look_up_person(
        &self,
        _: Request<pb::LookUpPersonRequest>,
    ) -> Result<Response<pb::LookUpPersonResponse>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn renew(&self, _: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

impl Members {
    pub(crate) async fn new() -> Self {
        install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, format!("data_dir = {:?}\n", folder.path())).unwrap();
        let config = Config::load(&file).unwrap();
        let cluster = Digest::of(b"cluster").hex();
        let authority = |purpose| Authority::create(folder.path(), purpose, &cluster).unwrap();
        let [members, agents, people] = [Purpose::Members, Purpose::Agents, Purpose::People].map(authority);
        let identity = |of: &Authority, peer: &str| {
            let key = KeyPair::generate().unwrap();
            let id = SpiffeId {
                cluster: cluster.clone(),
                peer: peer.parse().unwrap(),
            };
            let issued = of.issue(&key.request().unwrap(), &id, Duration::from_secs(3_600), &[]);
            Identity::new(issued.unwrap().chain, &key)
        };
        let trusted = [
            (Purpose::Members, members.certificate().to_vec()),
            (Purpose::Agents, agents.certificate().to_vec()),
            (Purpose::People, people.certificate().to_vec()),
        ];
        let (tell, told) = mpsc::channel(16);
        let (full, roomy) = (Arc::<Asked>::default(), Arc::<Asked>::default());
        let mut addresses = Vec::new();
        for (name, asked, tell) in [("c1", &full, None), ("c2", &roomy, Some(tell))] {
            let own = identity(&members, &format!("controller/{name}"));
            let tls = Server::new(&cluster, &own, &trusted).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
            let asked = Arc::clone(asked);
            let service = SessionServiceServer::new(Member { asked, tell });
            tokio::spawn(async move {
                let connections = ReceiverStream::new(accept_known(listener, &tls, |_| true));
                let server = tonic::transport::Server::builder().add_service(service);
                server.serve_with_incoming(connections).await
            });
        }
        let own = identity(&agents, "agent/web-1");
        let client = Client::new(&cluster, &own, &[members.certificate().to_vec()]).unwrap();
        Self {
            controllers: Arc::new(Controllers {
                client: Arc::new(client),
                joined: addresses.clone(),
                addresses: Mutex::new(addresses),
                file: MembersFile::new(&config),
                machine: Bytes::new(),
                door: None,
            }),
            full,
            roomy,
            told,
            _folder: folder,
        }
    }
}

#[tokio::test]
async fn findings_go_to_another_when_the_one_that_takes_them_has_no_space() {
    let mut members = Members::new().await;
    let spool = MemoryDisk::new(1 << 20);
    spool
        .commit_round(&Round {
            transitions: (0..3).map(transition).collect(),
            ..Round::default()
        })
        .unwrap();
    let (_spooled, spooled_seen) = watch::channel(3);
    let key = KeyPair::generate().unwrap();
    let ports = ReportPorts {
        controllers: Arc::clone(&members.controllers),
        spool: Arc::new(spool.clone()),
        spooled: spooled_seen,
        contradicted: watch::channel(Numbers::default()).0,
        signer: Arc::new(HeadSigner::new(
            Digest::of(b"cluster"),
            "web-1".parse().unwrap(),
            key,
        )),
    };
    let pace = Pace {
        backoff_base: 1,
        backoff_cap: 10,
        ..Pace::default()
    };
    let report = Report::new(&spool.usage().unwrap(), pace, 1);
    let stop = CancellationToken::new();
    let driving = tokio::spawn(report::drive(report, ports, stop.clone()));
    let told = tokio::time::timeout(PATIENCE, members.told.recv()).await;
    assert_eq!(told.expect("the one with space is told"), Some(3));
    stop.cancel();
    driving.await.unwrap();
    let reports = |asked: &Asked| asked.reports.load(Ordering::SeqCst);
    assert_eq!((reports(&members.full), reports(&members.roomy)), (1, 1));
}

#[tokio::test]
async fn whoever_does_not_serve_is_asked_last_also_when_the_members_say_where_they_are_called() {
    let members = Members::new().await;
    let controllers = &members.controllers;
    let order = || controllers.addresses().clone();
    let [full, roomy] = <[String; 2]>::try_from(order()).unwrap();
    let turn = |address: &String| {
        controllers.turn_from(&Lost::refused(address.clone(), no_space()));
    };
    controllers.know(vec!["c9:7402".to_owned(), full.clone(), roomy.clone()]);
    assert_eq!(order(), [&full, &roomy, "c9:7402"]);
    for _ in 0..2 {
        turn(&full);
        assert_eq!(order(), [&roomy, "c9:7402", &full]);
    }
    controllers.know(vec![full.clone(), roomy.clone(), "c9:7402".to_owned()]);
    assert_eq!(order(), [&roomy, "c9:7402", &full]);
    // One behind another that does not answer.
    turn(&"c9:7402".to_owned());
    assert_eq!(order(), [&roomy, &full, "c9:7402"]);
    // Of one that is not a member any more there is nothing to turn from, nor where it was not one that answered.
    turn(&"c8:7402".to_owned());
    controllers.turn_from(&Lost::because("nobody answers"));
    assert_eq!(order(), [&roomy, &full, "c9:7402"]);
}
