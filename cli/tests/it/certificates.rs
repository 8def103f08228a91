//! The person's certificate, which renews itself.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tonic::{Request, Response, Status};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::certificate_service_server::CertificateService;
use verger_transport::{Authority, KeyPair, SpiffeId};

use crate::cluster::{Cluster, World};
use crate::findings::finding;
use crate::program::Program;

/// What the cluster answers to a renewal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Issuing {
    #[default]
    Good,
    Away,
    /// Away once, then good.
    AwayOnce,
    /// A certificate of a key that the person does not hold.
    AnothersKey,
    /// A certificate of somebody else.
    AnothersName,
    /// One that ends before the one held.
    Short,
    /// No certificate.
    Nothing,
}

pub(crate) struct Certificates {
    people: Authority,
    id: SpiffeId,
    world: Arc<Mutex<World>>,
}

impl Certificates {
    pub(crate) fn new(people: Authority, cluster: &str, world: &Arc<Mutex<World>>) -> Self {
        Self {
            people,
            id: SpiffeId {
                cluster: cluster.to_owned(),
                peer: "person/ann".parse().unwrap(),
            },
            world: Arc::clone(world),
        }
    }
}

#[tonic::async_trait]
impl CertificateService for Certificates {
    async fn create_login(
        &self,
        request: Request<pb::CreateLoginRequest>,
    ) -> Result<Response<pb::CreateLoginResponse>, Status> {
        let pb::CreateLoginRequest { person, csr, .. } = request.into_inner();
        let id = SpiffeId {
            peer: format!("person/{person}").parse().unwrap(),
            ..self.id.clone()
        };
        let life = Duration::from_secs(86_400);
        let issued = self.people.issue(&csr, &id, life, &[]).unwrap();
        Ok(Response::new(pb::CreateLoginResponse {
            chain: issued.chain.into_iter().map(Into::into).collect(),
            not_after: None,
        }))
    }

    async fn revoke_login(
        &self,
        request: Request<pb::RevokeLoginRequest>,
    ) -> Result<Response<pb::RevokeLoginResponse>, Status> {
        let pb::RevokeLoginRequest { person, reason, .. } = request.into_inner();
        let decided = ["revoke".to_owned(), person, reason];
        self.world.lock().unwrap().decided.push(decided);
        Ok(Response::new(pb::RevokeLoginResponse {}))
    }

    async fn who_am_i(
        &self,
        _request: Request<pb::WhoAmIRequest>,
    ) -> Result<Response<pb::WhoAmIResponse>, Status> {
        let groups = self.world.lock().unwrap().groups.clone();
        Ok(Response::new(pb::WhoAmIResponse {
            person: "ann".to_owned(),
            groups,
            ..Default::default()
        }))
    }

    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let issuing = {
            let mut world = self.world.lock().unwrap();
            let issuing = world.issuing;
            if matches!(issuing, Issuing::AwayOnce) {
                world.issuing = Issuing::Good;
            }
            issuing
        };
        let mut csr = request.into_inner().csr.to_vec();
        let (mut id, mut life) = (self.id.clone(), Duration::from_secs(86_400));
        match issuing {
            Issuing::Good => {}
            Issuing::Away | Issuing::AwayOnce => return Err(Status::unavailable("not now")),
            Issuing::AnothersKey => csr = KeyPair::generate().unwrap().request().unwrap(),
            Issuing::AnothersName => id.peer = "person/eve".parse().unwrap(),
            Issuing::Short => life = Duration::from_secs(30),
            Issuing::Nothing => {
                return Ok(Response::new(pb::RenewCertificateResponse {
                    chain: vec![b"nothing".to_vec().into()],
                    not_after: None,
                }));
            }
        }
        let issued = self.people.issue(&csr, &id, life, &[]).unwrap();
        Ok(Response::new(pb::RenewCertificateResponse {
            chain: issued.chain.into_iter().map(Into::into).collect(),
            not_after: None,
        }))
    }
}

/// More than half of it is over, since it was valid for minutes when it was issued.
const SHORT: Duration = Duration::from_secs(120);

fn shown(program: &Program) -> serde_json::Value {
    program.run(&["context", "show", "-o", "json"]).ends(0).json()
}

#[test]
fn a_certificate_of_which_half_is_over_is_renewed_by_whatever_is_done() {
    let program = Program::new();
    let _cluster = Cluster::start_with(&program, SHORT);
    let before = shown(&program);
    let ran = program.run(&["list", "Workload"]).ends(0);
    assert!(ran.err.contains("your certificate was renewed"), "{}", ran.err);
    let after = shown(&program);
    assert!(before["certificateEnds"].as_str() < after["certificateEnds"].as_str());
    assert_eq!(before["sealingKey"], after["sealingKey"], "nothing else changed");
    // Fresh, it is left alone.
    let ran = program.run(&["list", "Workload"]).ends(0);
    assert!(!ran.err.contains("certificate"), "{}", ran.err);
    assert_eq!(shown(&program), after);
    // Unless it is asked for.
    let ran = program.run(&["context", "renew"]).ends(0);
    assert!(ran.err.contains("your certificate was renewed"), "{}", ran.err);
}

#[test]
fn a_renewal_that_fails_is_said_and_keeps_nobody_from_his_work() {
    let program = Program::new();
    let cluster = Cluster::start_with(&program, SHORT);
    let before = shown(&program);
    for (issuing, why) in [
        (Issuing::Away, "not now"),
        (Issuing::AnothersKey, "cannot be used"),
        (Issuing::AnothersName, "cannot be used"),
        (Issuing::Short, "cannot be used"),
        (Issuing::Nothing, "cannot be used"),
    ] {
        cluster.world().issuing = issuing;
        let ran = program.run(&["list", "Workload"]).ends(0);
        let said = ran.err.contains("could not be renewed") && ran.err.contains(why);
        assert!(said, "{}", ran.err);
        assert_eq!(shown(&program), before, "the certificate that works stays");
        assert_ne!(program.run(&["context", "renew"]).code, 0);
    }
    cluster.world().issuing = Issuing::Good;
    program.run(&["context", "renew"]).ends(0);
    assert_ne!(shown(&program), before);
}

/// A `findings watch`, and the lines that it prints on standard output and on standard error.
struct Watch {
    child: Child,
    findings: mpsc::Receiver<String>,
    notes: mpsc::Receiver<String>,
}

impl Watch {
    fn begin(program: &Program) -> Self {
        let mut child = program
            .command(&["findings", "watch", "-o", "jsonl"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            child,
            findings: lines(out),
            notes: lines(err),
        }
    }

    fn finding(&self) -> String {
        self.findings
            .recv_timeout(PATIENCE)
            .expect("a finding is printed")
    }

    fn note(&self, part: &str) -> String {
        loop {
            let line = self
                .notes
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("nothing was said of {part}"));
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    // More lines than any of these runs prints.
    let (lines, read) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    read
}

#[test]
fn a_watch_renews_the_certificate_when_it_connects_again() {
    let program = Program::new();
    let cluster = Cluster::start_with(&program, SHORT);
    cluster.world().issuing = Issuing::AwayOnce;
    cluster
        .world()
        .streams
        .extend([vec![finding(1, 3, "")], vec![finding(2, 7, "")]]);
    let before = shown(&program);
    let watch = Watch::begin(&program);
    watch.note("could not be renewed");
    watch.note("the stream was lost");
    watch.note("your certificate was renewed");
    watch.finding();
    watch.finding();
    assert!(before["certificateEnds"].as_str() < shown(&program)["certificateEnds"].as_str());
}

/// Long enough for a watch to begin, and for another run beside it.
const MOMENT: Duration = Duration::from_secs(8);

#[test]
fn a_watch_goes_on_with_the_certificate_that_another_run_renewed_and_ends_with_its_own() {
    let program = Program::new();
    let cluster = Cluster::start_with(&program, MOMENT);
    cluster.world().issuing = Issuing::Away;
    // The stream stays open until the listener cuts it, when the certificate ends.
    let open = vec![finding(1, 3, "")];
    cluster.world().streams.push_back(open);
    let mut watch = Watch::begin(&program);
    watch.finding();
    // Nobody renews it: that is the end, and it is said.
    let told = watch.note("your certificate ended");
    assert!(told.contains("recover-login --person ann"), "{told}");
    assert_eq!(watch.child.wait().unwrap().code(), Some(1));

    let program = Program::new();
    let cluster = Cluster::start_with(&program, MOMENT);
    cluster.world().issuing = Issuing::Away;
    cluster.world().streams.push_back(vec![finding(1, 3, "")]);
    let watch = Watch::begin(&program);
    watch.finding();
    cluster.world().issuing = Issuing::Good;
    program.run(&["context", "renew"]).ends(0);
    cluster.world().issuing = Issuing::Away;
    cluster.world().streams.push_back(vec![finding(2, 7, "")]);
    watch.note("the stream was lost");
    assert!(watch.finding().contains("0202"));
}

#[test]
fn somebody_else_is_given_a_login_of_a_key_of_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    let create =
        |person: &str, out: &str| program.run(&["context", "create", "--person", person, "--out", out]);
    create("bob", "bob.json").ends(0);
    let mode = std::fs::metadata(program.path("bob.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(program.path(name)).unwrap()).unwrap()
    };
    let (ann, bob) = (read("handed-over.json"), read("bob.json"));
    assert_eq!(
        (&bob["person"], &bob["clusterId"]),
        (&"bob".into(), &ann["clusterId"])
    );
    assert_ne!(bob["key"], ann["key"]);
    let listed = program.run(&["--context", "bob.json", "list", "Workload"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    // Nothing is overwritten, and no name becomes one of a certificate that cannot be one.
    assert!(create("bob", "bob.json").ends(2).err.contains("it exists"));
    assert!(create("a/b", "other.json").ends(2).err.contains("--person"));
    assert!(!program.path("other.json").exists());
}
