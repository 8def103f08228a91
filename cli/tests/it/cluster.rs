//! A cluster of one member that keeps its set in memory, behind real mutual TLS; what goes wrong is scripted.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::InterceptorLayer;
use tonic::transport::Server as Router;
use tonic::{Request, Response, Status};
use verger_policy::model::{ObjectKey, PolicyObject};
use verger_policy::set::{Body, PolicySet};
use verger_proto::cluster::v1 as cv1;
use verger_proto::cluster::v1::audit_service_server::AuditServiceServer;
use verger_proto::cluster::v1::certificate_service_server::CertificateServiceServer;
use verger_proto::cluster::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use verger_proto::findings::v1 as fv1;
use verger_proto::findings::v1::findings_service_server::{FindingsService, FindingsServiceServer};
use verger_proto::policy::v1 as pv1;
use verger_proto::policy::v1::policy_service_server::{PolicyService, PolicyServiceServer};
use verger_proto::policy::v1::proposal_service_server::ProposalServiceServer;
use verger_seal::{SealingKey, SetStatement, TrustRoot, verify_set};
use verger_transport::{
    Authority, Identity, KeyPair, Purpose, Server, SpiffeId, accept, certificate_pem,
    install_crypto_provider, spki_pin,
};
use verger_wire::{FromWire as _, IntoWire as _};

use crate::audit::{Audits, Kept};
use crate::certificates::{Certificates, Issuing};
use crate::program::Program;
use crate::proposals::Proposals;

const HOUR: Duration = Duration::from_secs(3_600);

/// What happens to one `Apply`, before or instead of the usual.
pub(crate) enum Mishap {
    /// The change is made and its answer is lost.
    AnswerLost,
    /// Nothing is done.
    Away,
    /// Somebody else is first.
    SomebodyElse(Vec<PolicyObject>),
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) set: PolicySet,
    pub(crate) seal: Option<Vec<u8>>,
    pub(crate) mishaps: VecDeque<Mishap>,
    /// Request ids of every change offered.
    pub(crate) offered: Vec<String>,
    made: BTreeMap<String, (u64, Vec<u8>)>,
    /// What each `Watch` answers before it breaks; the last one stays open.
    pub(crate) streams: VecDeque<Vec<fv1::WatchResponse>>,
    pub(crate) watched: Vec<fv1::WatchRequest>,
    pub(crate) tokens: Vec<String>,
    /// Digests of the images of what runs.
    pub(crate) running: Vec<String>,
    pub(crate) hosts: Vec<cv1::Host>,
    pub(crate) instances: Vec<cv1::Instance>,
    pub(crate) pin: String,
    pub(crate) issuing: Issuing,
    /// Of the person who asks.
    pub(crate) groups: Vec<String>,
    pub(crate) proposals: Vec<pv1::Proposal>,
    /// Hosts taken out.
    pub(crate) removed: Vec<String>,
    /// What was decided of hosts and logins: of which, and the reason or key.
    pub(crate) decided: Vec<[String; 3]>,
    pub(crate) audit: Kept,
    /// The person may not read the audit.
    pub(crate) audit_refused: bool,
    /// A file that is damaged when a signature arrives.
    pub(crate) damaged_by_signing: Option<PathBuf>,
    /// Envelopes of later versions of the trust root.
    pub(crate) later: Vec<Vec<u8>>,
    /// What members signed of freshness.
    pub(crate) stamp: Option<Vec<u8>>,
    /// What is accounted for of each host.
    pub(crate) accounts: BTreeMap<String, Vec<fv1::AccountResponse>>,
    /// No host with a hostile name is listed beside the others.
    pub(crate) only_good_hosts: bool,
}

#[derive(Clone)]
struct Service {
    world: Arc<Mutex<World>>,
    trust: Arc<(TrustRoot, Vec<u8>)>,
    /// The person's key, for what somebody else seals.
    key: Arc<SealingKey>,
}

pub(crate) struct Cluster {
    world: Arc<Mutex<World>>,
    pub(crate) id: String,
    pub(crate) pin: String,
    pub(crate) address: String,
    /// Where a member is that cannot tell what is current: it answers nothing else.
    pub(crate) cut_off: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Cluster {
    /// Founds a cluster with a new key, starts it, and makes its context the program's own.
    pub(crate) fn start(program: &Program) -> Self {
        Self::start_with(program, HOUR)
    }

    /// As [`Self::start`]; the person's certificate is good for that long.
    pub(crate) fn start_with(program: &Program, life: Duration) -> Self {
        program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
        program
            .run(&[
                "trust",
                "init",
                "--key",
                "ann.key",
                "--name",
                "ann",
                "--out",
                "root.json",
            ])
            .ends(0);
        Self::founded(program, life)
    }

    /// As [`Self::start`]; two must sign: `ann.key` and `bob.key`.
    pub(crate) fn of_two(program: &Program) -> Self {
        program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
        let bob = program
            .run(&["keys", "generate", "--out", "bob.key", "-o", "json"])
            .ends(0);
        let bob = format!("bob={}", bob.json()["publicKey"].as_str().unwrap());
        let args = [
            "trust",
            "init",
            "--key",
            "ann.key",
            "--name",
            "ann",
            "--with",
            &bob,
            "--threshold",
            "2",
            "--out",
            "root.json",
        ];
        program.run(&args).ends(0);
        program.sign_file("root.json", "bob.key").ends(0);
        Self::founded(program, HOUR)
    }

    /// As [`Self::start`], on the trust root in `root.json`; the context's sealing key is the file `key`, of any form.
    pub(crate) fn sealed_by(program: &Program, key: &str) -> Self {
        Self::founded_with(program, HOUR, key)
    }

    /// On the trust root in `root.json`.
    fn founded(program: &Program, life: Duration) -> Self {
        Self::founded_with(program, life, "ann.key")
    }

    fn founded_with(program: &Program, life: Duration, key_file: &str) -> Self {
        install_crypto_provider();
        let envelope = std::fs::read(program.path("root.json")).unwrap();
        let root = TrustRoot::open_first(&envelope).unwrap();
        let id = root.cluster_id().hex();
        let text = std::fs::read_to_string(program.path(key_file)).unwrap();
        // Nobody else seals where the person's key is not one of Verger's own.
        let key = SealingKey::from_pem(&text).unwrap_or_else(|_| SealingKey::from_seed([9; 32]));

        let folder = tempfile::tempdir().unwrap();
        let authority = |purpose| Authority::create(folder.path(), purpose, &id).unwrap();
        let (members, agents, people) = (
            authority(Purpose::Members),
            authority(Purpose::Agents),
            authority(Purpose::People),
        );
        let authorities = [
            (Purpose::Members, &members),
            (Purpose::Agents, &agents),
            (Purpose::People, &people),
        ]
        .map(|(purpose, authority)| (purpose, authority.certificate().to_vec()));
        let server = Server::new(&id, &issue(&members, &id, "controller/c1", HOUR), &authorities).unwrap();
        let pin = spki_pin(members.certificate()).unwrap();

        let world = Arc::new(Mutex::new(World {
            pin: pin.clone(),
            ..World::default()
        }));
        let person = issue(&people, &id, "person/ann", life);
        let certificates = Certificates::new(people, &id, &world);
        let proposals = Proposals::new(&root, &world);
        let audits = Audits(Arc::clone(&world), envelope.clone());
        let service = Service {
            world: Arc::clone(&world),
            trust: Arc::new((root, envelope)),
            key: Arc::new(key),
        };
        let [(listener, address), (cut_off_listener, cut_off)] = [(); 2].map(|()| listen());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let [listener, cut_off] = [listener, cut_off_listener]
                    .map(|listener| tokio::net::TcpListener::from_std(listener).unwrap());
                let refusing = Router::builder()
                    .layer(InterceptorLayer::new(|_| {
                        Err::<Request<()>, _>(Status::unavailable("no quorum confirms what is current"))
                    }))
                    .add_service(FindingsServiceServer::new(service.clone()))
                    .serve_with_incoming(ReceiverStream::new(accept(cut_off, &server)));
                let serving = Router::builder()
                    .add_service(PolicyServiceServer::new(service.clone()))
                    .add_service(FindingsServiceServer::new(service.clone()))
                    .add_service(CertificateServiceServer::new(certificates))
                    .add_service(ProposalServiceServer::new(proposals))
                    .add_service(AuditServiceServer::new(audits))
                    .add_service(ClusterServiceServer::new(service))
                    .serve_with_incoming(ReceiverStream::new(accept(listener, &server)));
                tokio::select! {
                    served = serving => served.unwrap(),
                    refused = refusing => refused.unwrap(),
                    _ = stopped => {}
                }
            });
        });

        let context = serde_json::json!({
            "clusterId": id, "addresses": [address], "memberCas": [certificate_pem(members.certificate())],
            "certificate": person.chain_pem(), "key": person.key_pem(), "person": "ann",
        });
        let file = program.write("handed-over.json", context.to_string());
        private(Path::new(&file));
        program.run(&["context", "use", &file, "--key", key_file]).ends(0);
        Self {
            world,
            id,
            pin,
            address,
            cut_off,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Stops it; what is connected is cut off.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn listen() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

pub(crate) fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The seal of a set, for an hour.
fn seal(root: &TrustRoot, set: &PolicySet, key: &SealingKey) -> Vec<u8> {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    SetStatement::new(root, set.epoch(), set.root(), set.len() as u64, end)
        .seal(&[key])
        .to_json()
}

fn issue(authority: &Authority, cluster: &str, peer: &str, life: Duration) -> Identity {
    let key = KeyPair::generate().unwrap();
    let id = SpiffeId {
        cluster: cluster.to_owned(),
        peer: peer.parse().unwrap(),
    };
    let issued = authority.issue(&key.request().unwrap(), &id, life, &[]).unwrap();
    Identity::new(issued.chain, &key)
}

/// A key's digest as text.
fn key(bytes: &[u8]) -> String {
    verger_wire::digest("key", bytes).unwrap().to_string()
}

impl Service {
    fn decided(&self, what: &str, of: &str, with: &str) {
        let decided = [what, of, with].map(str::to_owned);
        self.world.lock().unwrap().decided.push(decided);
    }

    fn sealed(&self, set: &PolicySet) -> Vec<u8> {
        seal(&self.trust.0, set, &self.key)
    }

    /// As a controller does: nothing unsealed, nothing out of turn, nothing twice.
    fn change(
        &self,
        id: String,
        expected: u64,
        upserts: Vec<PolicyObject>,
        deletes: Vec<ObjectKey>,
        seal: Option<pv1::Envelope>,
        dry_run: bool,
    ) -> Result<(u64, Vec<u8>), Status> {
        let mut world = self.world.lock().unwrap();
        world.offered.push(id.clone());
        let mishap = world.mishaps.pop_front();
        match &mishap {
            Some(Mishap::Away) => return Err(Status::unavailable("not leading")),
            Some(Mishap::SomebodyElse(objects)) => {
                let next = world.set.change(objects.clone(), []).unwrap();
                world.set = next;
                world.seal = Some(self.sealed(&world.set));
            }
            _ => {}
        }
        if let Some(made) = world.made.get(&id) {
            return Ok(made.clone());
        }
        if expected != world.set.epoch() {
            return Err(Status::aborted(format!(
                "the set is at epoch {}",
                world.set.epoch()
            )));
        }
        let next = world
            .set
            .change(upserts, deletes)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let made = (next.epoch(), next.root().as_bytes().to_vec());
        if dry_run {
            return Ok(made);
        }
        let seal = seal
            .ok_or_else(|| Status::permission_denied("no seal"))?
            .json
            .to_vec();
        let later = world.later.iter().map(Vec::as_slice);
        let (root, _) = self.trust.0.walk(later).unwrap();
        verify_set(&root, &seal, jiff::Timestamp::now())
            .and_then(|sealed| sealed.matches(next.epoch(), &next.root(), next.len() as u64))
            .map_err(|refusal| Status::permission_denied(refusal.to_string()))?;
        world.set = next;
        world.seal = Some(seal);
        world.made.insert(id, made.clone());
        match mishap {
            Some(Mishap::AnswerLost) => Err(Status::unavailable("connection reset")),
            _ => Ok(made),
        }
    }
}

type Stream<M> = Pin<Box<dyn tokio_stream::Stream<Item = Result<M, Status>> + Send>>;

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the program does not ask for this"))
}

#[tonic::async_trait]
impl PolicyService for Service {
    async fn get_set(&self, _: Request<pv1::GetSetRequest>) -> Result<Response<pv1::GetSetResponse>, Status> {
        let world = self.world.lock().unwrap();
        let set = &world.set;
        Ok(Response::new(pv1::GetSetResponse {
            epoch: set.epoch(),
            root: set.root().as_bytes().to_vec().into(),
            entries: set.entries().map(|entry| entry.into_wire()).collect(),
            seal: world.seal.clone().map(|json| pv1::Envelope { json: json.into() }),
            bodies: set
                .parts()
                .filter_map(|(_, body)| body)
                .map(|body| (&**body).into_wire())
                .collect(),
            trust_root: Some(pv1::Envelope {
                json: self.trust.1.clone().into(),
            }),
            revision: 1,
            stamp: world
                .stamp
                .clone()
                .map(|json| pv1::Envelope { json: json.into() }),
            later_trust_roots: world
                .later
                .iter()
                .map(|json| pv1::Envelope {
                    json: json.clone().into(),
                })
                .collect(),
        }))
    }

    async fn rotate_trust_root(
        &self,
        request: Request<pv1::RotateTrustRootRequest>,
    ) -> Result<Response<pv1::RotateTrustRootResponse>, Status> {
        let pv1::RotateTrustRootRequest {
            request_id: _,
            trust_root,
            seal,
        } = request.into_inner();
        let (trust_root, seal) = (trust_root.unwrap().json.to_vec(), seal.unwrap().json.to_vec());
        let mut world = self.world.lock().unwrap();
        let later = world.later.iter().map(Vec::as_slice);
        let (current, _) = self.trust.0.walk(later).unwrap();
        verger_seal::verify_rotation(&current, &trust_root, &seal, jiff::Timestamp::now())
            .map_err(|refusal| Status::permission_denied(refusal.to_string()))?;
        world.set = world.set.change([], []).unwrap();
        world.seal = Some(seal);
        world.later.push(trust_root);
        Ok(Response::new(pv1::RotateTrustRootResponse {
            epoch: world.set.epoch(),
            root: world.set.root().as_bytes().to_vec().into(),
            revision: 1,
        }))
    }

    async fn apply(
        &self,
        request: Request<pv1::ApplyRequest>,
    ) -> Result<Response<pv1::ApplyResponse>, Status> {
        let pv1::ApplyRequest {
            request_id,
            expected_epoch,
            upserts,
            deletes: _,
            seal,
            dry_run,
        } = request.into_inner();
        let upserts = upserts
            .into_iter()
            .map(|body| Arc::<Body>::from_wire(body).unwrap().object().clone())
            .collect();
        let (epoch, root) = self.change(request_id, expected_epoch, upserts, Vec::new(), seal, dry_run)?;
        Ok(Response::new(pv1::ApplyResponse {
            epoch,
            root: root.into(),
            revision: 1,
        }))
    }

    async fn get(&self, _: Request<pv1::GetRequest>) -> Result<Response<pv1::GetResponse>, Status> {
        unused()
    }

    async fn list(&self, _: Request<pv1::ListRequest>) -> Result<Response<pv1::ListResponse>, Status> {
        unused()
    }

    async fn delete(
        &self,
        request: Request<pv1::DeleteRequest>,
    ) -> Result<Response<pv1::DeleteResponse>, Status> {
        let pv1::DeleteRequest {
            request_id,
            expected_epoch,
            key,
            seal,
            dry_run,
        } = request.into_inner();
        let key = ObjectKey::from_wire(key.unwrap()).unwrap();
        let (epoch, root) = self.change(request_id, expected_epoch, Vec::new(), vec![key], seal, dry_run)?;
        Ok(Response::new(pv1::DeleteResponse {
            epoch,
            root: root.into(),
            revision: 1,
        }))
    }

    type WatchStream = Stream<pv1::WatchResponse>;

    async fn watch(&self, _: Request<pv1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        unused()
    }
}

#[tonic::async_trait]
impl FindingsService for Service {
    async fn list(&self, _: Request<fv1::ListRequest>) -> Result<Response<fv1::ListResponse>, Status> {
        let world = self.world.lock().unwrap();
        let findings = world
            .streams
            .iter()
            .flatten()
            .filter_map(|message| message.finding.clone())
            .collect();
        Ok(Response::new(fv1::ListResponse {
            findings,
            next_page_token: String::new(),
            revision: 1,
        }))
    }

    async fn get(&self, _: Request<fv1::GetRequest>) -> Result<Response<fv1::GetResponse>, Status> {
        Err(Status::not_found("there is no finding with this uid"))
    }

    type WatchStream = Stream<fv1::WatchResponse>;

    async fn watch(
        &self,
        request: Request<fv1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut world = self.world.lock().unwrap();
        world.watched.push(request.into_inner());
        let last = world.streams.len() == 1;
        let messages = world
            .streams
            .pop_front()
            .ok_or_else(|| Status::unavailable("no more is scripted"))?;
        let sent = tokio_stream::iter(messages.into_iter().map(Ok));
        use tokio_stream::StreamExt as _;
        Ok(Response::new(if last {
            Box::pin(sent.chain(tokio_stream::pending()))
        } else {
            Box::pin(sent.chain(tokio_stream::once(Err(Status::unavailable("the member stops")))))
        }))
    }

    type AccountStream = Stream<fv1::AccountResponse>;

    async fn account(
        &self,
        request: Request<fv1::AccountRequest>,
    ) -> Result<Response<Self::AccountStream>, Status> {
        let world = self.world.lock().unwrap();
        let account = world.accounts.get(&request.into_inner().agent_id).cloned();
        let account = account.ok_or_else(|| Status::not_found("there is no host of this name"))?;
        Ok(Response::new(Box::pin(tokio_stream::iter(
            account.into_iter().map(Ok),
        ))))
    }

    async fn ack(&self, _: Request<fv1::AckRequest>) -> Result<Response<fv1::AckResponse>, Status> {
        unused()
    }
}

#[tonic::async_trait]
impl ClusterService for Service {
    async fn get_status(
        &self,
        _: Request<cv1::GetStatusRequest>,
    ) -> Result<Response<cv1::GetStatusResponse>, Status> {
        let world = self.world.lock().unwrap();
        Ok(Response::new(cv1::GetStatusResponse {
            cluster_id: self.trust.0.cluster_id().hex(),
            member_id: "c1".to_owned(),
            version: "9.9.9".to_owned(),
            epoch: world.set.epoch(),
            enrol_address: "c1.example:7444".to_owned(),
            address: "c1.example:7443".to_owned(),
            ca_pin: world.pin.clone(),
            ..Default::default()
        }))
    }

    async fn create_join_token(
        &self,
        request: Request<cv1::CreateJoinTokenRequest>,
    ) -> Result<Response<cv1::CreateJoinTokenResponse>, Status> {
        self.world
            .lock()
            .unwrap()
            .tokens
            .push(request.into_inner().agent_id);
        let token = verger_transport::JoinToken::from_random([7; 40])
            .reveal()
            .to_string();
        Ok(Response::new(cv1::CreateJoinTokenResponse {
            token,
            expires: None,
        }))
    }

    async fn remove_host(
        &self,
        request: Request<cv1::RemoveHostRequest>,
    ) -> Result<Response<cv1::RemoveHostResponse>, Status> {
        let agent = request.into_inner().agent_id;
        self.world.lock().unwrap().removed.push(agent);
        Ok(Response::new(cv1::RemoveHostResponse {}))
    }

    async fn approve_host(
        &self,
        request: Request<cv1::ApproveHostRequest>,
    ) -> Result<Response<cv1::ApproveHostResponse>, Status> {
        let request = request.into_inner();
        self.decided("approve", &request.agent_id, &key(&request.key));
        Ok(Response::new(cv1::ApproveHostResponse {}))
    }

    async fn reject_host(
        &self,
        request: Request<cv1::RejectHostRequest>,
    ) -> Result<Response<cv1::RejectHostResponse>, Status> {
        let request = request.into_inner();
        self.decided("reject", &request.agent_id, &key(&request.key));
        Ok(Response::new(cv1::RejectHostResponse {}))
    }

    async fn evict_host(
        &self,
        request: Request<cv1::EvictHostRequest>,
    ) -> Result<Response<cv1::EvictHostResponse>, Status> {
        let request = request.into_inner();
        self.decided("evict", &request.agent_id, &request.reason);
        Ok(Response::new(cv1::EvictHostResponse {}))
    }

    async fn ban_host(
        &self,
        request: Request<cv1::BanHostRequest>,
    ) -> Result<Response<cv1::BanHostResponse>, Status> {
        let request = request.into_inner();
        self.decided("ban", &request.agent_id, &request.reason);
        Ok(Response::new(cv1::BanHostResponse {}))
    }

    async fn unban_host(
        &self,
        request: Request<cv1::UnbanHostRequest>,
    ) -> Result<Response<cv1::UnbanHostResponse>, Status> {
        self.decided("unban", &request.into_inner().agent_id, "");
        Ok(Response::new(cv1::UnbanHostResponse {}))
    }

    async fn list_hosts(
        &self,
        _: Request<cv1::ListHostsRequest>,
    ) -> Result<Response<cv1::ListHostsResponse>, Status> {
        let evil = "web-1\u{1b}[31m".to_owned();
        let host = cv1::Host {
            agent_id: evil.clone(),
            refusal: evil,
            connected: true,
            ..Default::default()
        };
        let world = self.world.lock().unwrap();
        let mut hosts = world.hosts.clone();
        if !world.only_good_hosts {
            hosts.push(host);
        }
        Ok(Response::new(cv1::ListHostsResponse {
            hosts,
            next_page_token: String::new(),
        }))
    }

    async fn get_host(
        &self,
        request: Request<cv1::GetHostRequest>,
    ) -> Result<Response<cv1::GetHostResponse>, Status> {
        let name = request.into_inner().agent_id;
        let world = self.world.lock().unwrap();
        let host = world.hosts.iter().find(|host| host.agent_id == name).cloned();
        match host {
            Some(host) => Ok(Response::new(cv1::GetHostResponse { host: Some(host) })),
            None => Err(Status::not_found("there is no host of this name\u{1b}[2J")),
        }
    }

    async fn list_instances(
        &self,
        _: Request<cv1::ListInstancesRequest>,
    ) -> Result<Response<cv1::ListInstancesResponse>, Status> {
        let running = |image: &String| cv1::Instance {
            image: image.clone(),
            ..Default::default()
        };
        let world = self.world.lock().unwrap();
        let instances = world.running.iter().map(running).chain(world.instances.clone());
        let instances = instances.collect();
        Ok(Response::new(cv1::ListInstancesResponse {
            instances,
            next_page_token: String::new(),
        }))
    }

    async fn get_instance(
        &self,
        request: Request<cv1::GetInstanceRequest>,
    ) -> Result<Response<cv1::GetInstanceResponse>, Status> {
        let asked = request.into_inner();
        let known = self.world.lock().unwrap().instances.clone();
        let known = known
            .into_iter()
            .find(|known| known.agent_id == asked.agent_id && known.id == asked.instance);
        if known.is_some() {
            return Ok(Response::new(cv1::GetInstanceResponse { instance: known }));
        }
        let checks = r#"[{"control":"config","rule":"config/env","field":"env[A\u001b[31m]","result":"fail","expected":"not set","actual":"set","reason":"x"}]"#;
        let instance = cv1::Instance {
            agent_id: "web-1".to_owned(),
            id: "ab".repeat(32),
            name: "evil\r\u{1b}[2J".to_owned(),
            failed: 1,
            judged: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            checks_json: checks.as_bytes().into(),
            ..Default::default()
        };
        Ok(Response::new(cv1::GetInstanceResponse {
            instance: Some(instance),
        }))
    }
}
