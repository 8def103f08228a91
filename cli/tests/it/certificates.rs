//! The person's certificate, which renews itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tonic::{Request, Response, Status};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::certificate_service_server::CertificateService;
use verger_transport::{Authority, KeyPair, SpiffeId};

use crate::cluster::{Cluster, World};
use crate::program::Program;

/// What the cluster answers to a renewal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Issuing {
    #[default]
    Good,
    Away,
    /// A certificate of a key that the person does not hold.
    AnothersKey,
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
    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let issuing = self.world.lock().unwrap().issuing;
        let csr = match issuing {
            Issuing::Good => request.into_inner().csr.to_vec(),
            Issuing::Away => return Err(Status::unavailable("not now")),
            Issuing::AnothersKey => KeyPair::generate().unwrap().request().unwrap(),
        };
        let life = Duration::from_secs(86_400);
        let issued = self.people.issue(&csr, &self.id, life, &[]).unwrap();
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
