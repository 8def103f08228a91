//! Four eyes: what one proposes another is shown, and signs; nobody signs what he was not shown.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tonic::{Request, Response, Status};
use verger_policy::model::{ObjectKey, PolicyObject};
use verger_proto::policy::v1 as pb;
use verger_proto::policy::v1::proposal_service_server::ProposalService;
use verger_seal::{PartialSeal, SealingKey, TrustRoot};
use verger_wire::FromWire as _;

use crate::cluster::{Cluster, World, private};
use crate::program::{Program, Ran};

pub(crate) struct Proposals {
    root: TrustRoot,
    world: Arc<Mutex<World>>,
}

impl Proposals {
    pub(crate) fn new(root: &TrustRoot, world: &Arc<Mutex<World>>) -> Self {
        Self {
            root: root.clone(),
            world: Arc::clone(world),
        }
    }
}

#[tonic::async_trait]
impl ProposalService for Proposals {
    async fn propose(
        &self,
        request: Request<pb::ProposeRequest>,
    ) -> Result<Response<pb::ProposeResponse>, Status> {
        let pb::ProposeRequest {
            request_id: _,
            expected_epoch,
            upserts,
            deletes,
            seal,
        } = request.into_inner();
        let mut world = self.world.lock().unwrap();
        if expected_epoch != world.set.epoch() {
            return Err(Status::aborted("the set has moved on"));
        }
        let number = world.proposals.len() as u64 + 1;
        world.proposals.push(pb::Proposal {
            number,
            actor: "person/ann".to_owned(),
            created: None,
            expected_epoch,
            upserts,
            deletes,
            seal,
            overtaken: false,
        });
        Ok(Response::new(pb::ProposeResponse { number }))
    }

    async fn sign(&self, request: Request<pb::SignRequest>) -> Result<Response<pb::SignResponse>, Status> {
        let pb::SignRequest {
            request_id: _,
            number,
            seal,
        } = request.into_inner();
        let mut world = self.world.lock().unwrap();
        if let Some(file) = world.damaged_by_signing.take() {
            std::fs::write(&file, "{").unwrap();
            private(&file);
        }
        let place = usize::try_from(number).unwrap() - 1;
        let proposal = world.proposals[place].clone();
        let now = Timestamp::now();
        let refused = |refusal: verger_seal::Refusal| Status::permission_denied(refusal.to_string());
        let mut kept = PartialSeal::open(&self.root, &proposal.seal.unwrap().json, now).map_err(refused)?;
        kept.merge(&self.root, &seal.unwrap().json, now)
            .map_err(refused)?;
        let json = kept.envelope().to_json();
        let wanting = kept.wanting(&self.root);
        if wanting > 0 {
            world.proposals[place].seal = Some(pb::Envelope { json: json.into() });
            let wanting = u32::try_from(wanting).unwrap();
            return Ok(Response::new(pb::SignResponse {
                wanting,
                applied: None,
            }));
        }
        let objects: Vec<PolicyObject> = proposal
            .upserts
            .iter()
            .map(|body| PolicyObject::from_canonical(&body.canonical).unwrap())
            .collect();
        let deletes = proposal
            .deletes
            .into_iter()
            .map(|key| ObjectKey::from_wire(key).unwrap());
        world.set = world.set.change(objects, deletes).unwrap();
        world.seal = Some(json);
        let applied = pb::ApplyResponse {
            epoch: world.set.epoch(),
            root: world.set.root().as_bytes().to_vec().into(),
            revision: 1,
        };
        Ok(Response::new(pb::SignResponse {
            wanting: 0,
            applied: Some(applied),
        }))
    }

    async fn withdraw(
        &self,
        request: Request<pb::WithdrawRequest>,
    ) -> Result<Response<pb::WithdrawResponse>, Status> {
        let number = request.into_inner().number;
        let mut world = self.world.lock().unwrap();
        world.proposals.retain(|proposal| proposal.number != number);
        Ok(Response::new(pb::WithdrawResponse {}))
    }

    async fn get_proposal(
        &self,
        request: Request<pb::GetProposalRequest>,
    ) -> Result<Response<pb::GetProposalResponse>, Status> {
        let number = request.into_inner().number;
        let world = self.world.lock().unwrap();
        let found = world.proposals.iter().find(|proposal| proposal.number == number);
        let proposal = found.ok_or_else(|| Status::not_found("there is no such proposal"))?;
        Ok(Response::new(pb::GetProposalResponse {
            proposal: Some(proposal.clone()),
        }))
    }

    async fn list_proposals(
        &self,
        _: Request<pb::ListProposalsRequest>,
    ) -> Result<Response<pb::ListProposalsResponse>, Status> {
        let world = self.world.lock().unwrap();
        let epoch = world.set.epoch();
        let proposals = world.proposals.iter().map(|proposal| pb::Proposal {
            overtaken: proposal.expected_epoch != epoch,
            ..proposal.clone()
        });
        Ok(Response::new(pb::ListProposalsResponse {
            proposals: proposals.collect(),
        }))
    }
}

fn host(name: &str) -> String {
    format!("apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {name} }}\nspec: {{ agent: {name} }}\n")
}

fn propose(program: &Program, name: &str) -> Ran {
    let file = program.write(&format!("{name}.yaml"), host(name));
    program.run(&["apply", "-f", &file, "--propose"])
}

/// The root that a person reads off the change.
fn root(program: &Program, number: &str) -> String {
    let shown = program.run(&["proposals", number, "-o", "json"]).ends(0).json();
    shown["root"].as_str().unwrap().to_owned()
}

#[test]
fn one_proposes_and_another_signs() {
    let program = Program::new();
    let cluster = Cluster::of_two(&program);
    let file = program.write("h1.yaml", host("h1"));
    let alone = program.run(&["apply", "-f", &file]).ends(1);
    assert!(
        alone.err.contains("signatures of 2") && alone.err.contains("--propose"),
        "{}",
        alone.err
    );
    let proposed = propose(&program, "h1").ends(0);
    assert!(proposed.out.contains("+ Host h1"), "{}", proposed.out);
    assert!(
        proposed.out.contains("1 more must sign: verger sign 1"),
        "{}",
        proposed.out
    );
    assert_eq!(cluster.world().set.epoch(), 0);
    let listed = program.run(&["proposals", "-o", "json"]).ends(0).json();
    assert_eq!(
        (&listed[0]["signers"], &listed[0]["state"]),
        (&"ann".into(), &"open".into()),
        "{listed}"
    );
    // Whoever proposed it cannot sign it again as somebody else.
    let again = program.run(&["sign", "1"]).ends(2);
    assert!(again.err.contains("somebody else must"), "{}", again.err);
    let blind = program.run(&["sign", "1", "--key", "bob.key"]).ends(2);
    assert!(blind.err.contains("nothing was signed"), "{}", blind.err);
    let root = root(&program, "1");
    let signed = program
        .run(&["sign", "1", "--key", "bob.key", "--root", &root])
        .ends(0);
    for part in [
        "+ Host h1",
        "proposed by person/ann, signed by ann",
        "signing as bob",
        "applied as epoch 1",
    ] {
        assert!(signed.out.contains(part), "{part}: {}", signed.out);
    }
    assert_eq!(cluster.world().set.epoch(), 1);
    // What two signed is what everybody reads from then on.
    program.run(&["get", "Host", "h1"]).ends(0);
}

#[test]
fn what_is_not_what_was_signed_is_signed_by_nobody() {
    let program = Program::new();
    let cluster = Cluster::of_two(&program);
    propose(&program, "h1").ends(0);
    propose(&program, "evil").ends(0);
    // The controller shows another's bodies, another's signatures, or another proposal under the number.
    let honest = cluster.world().proposals.clone();
    let root = root(&program, "1");
    let attacks = [
        pb::Proposal {
            upserts: honest[1].upserts.clone(),
            ..honest[0].clone()
        },
        pb::Proposal {
            upserts: Vec::new(),
            ..honest[0].clone()
        },
        pb::Proposal {
            seal: honest[1].seal.clone(),
            ..honest[0].clone()
        },
        pb::Proposal {
            seal: None,
            ..honest[0].clone()
        },
        pb::Proposal {
            number: 1,
            ..honest[1].clone()
        },
    ];
    for (place, attack) in attacks.into_iter().enumerate() {
        let shown = attack.clone();
        cluster.world().proposals[0] = attack;
        let ran = program.run(&["sign", "1", "--key", "bob.key", "--root", &root]);
        // A whole other proposal holds together: what Bob looked at is another.
        let code = if place == 4 { 2 } else { 1 };
        assert_eq!(ran.code, code, "{place}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("nothing was signed"), "{place}: {}", ran.err);
        assert_eq!(
            cluster.world().proposals[0],
            shown,
            "{place}: no signature was added"
        );
        assert_eq!(cluster.world().set.epoch(), 0);
    }
}

#[test]
fn an_overtaken_proposal_is_shown_as_such_and_taken_back() {
    let program = Program::new();
    let cluster = Cluster::of_two(&program);
    propose(&program, "h1").ends(0);
    propose(&program, "h2").ends(0);
    let root = root(&program, "1");
    program
        .run(&["sign", "1", "--key", "bob.key", "--root", &root])
        .ends(0);
    cluster.world().proposals.remove(0);
    let late = program.run(&["sign", "2", "--key", "bob.key"]).ends(5);
    assert!(late.err.contains("Propose it again"), "{}", late.err);
    let listed = program.run(&["proposals", "-o", "json"]).ends(0).json();
    assert_eq!(listed[0]["state"], "overtaken");
    program.run(&["proposals", "2", "--withdraw"]).ends(0);
    assert!(program.run(&["proposals"]).ends(0).out.contains("no proposals"));
}

#[test]
fn a_proposal_whose_seal_ended_is_nobodys_attack() {
    let program = Program::new();
    let cluster = Cluster::of_two(&program);
    propose(&program, "h1").ends(0);
    let root = TrustRoot::open_first(&std::fs::read(program.path("root.json")).unwrap()).unwrap();
    let key = SealingKey::from_pem(&std::fs::read_to_string(program.path("ann.key")).unwrap()).unwrap();
    {
        let proposal = &mut cluster.world().proposals[0];
        let json = proposal.seal.take().unwrap().json;
        let mut statement = PartialSeal::open(&root, &json, Timestamp::now())
            .unwrap()
            .statement()
            .clone();
        statement.not_after = Timestamp::from_second(1_700_000_000).unwrap();
        proposal.seal = Some(pb::Envelope {
            json: statement.seal(&[&key]).to_json().into(),
        });
    }
    for args in [&["proposals", "1"][..], &["sign", "1", "--key", "bob.key"][..]] {
        let ran = program.run(args).ends(1);
        assert!(
            ran.err
                .contains("its seal ended at 2023-11-14T22:13:20Z; propose it again"),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("trusted"), "{}", ran.err);
    }
    let state = || program.run(&["proposals", "-o", "json"]).ends(0).json()[0]["state"].clone();
    assert_eq!(state(), "expired");
    cluster.world().proposals[0].seal = None;
    assert_eq!(state(), "invalid");
}

#[test]
fn where_one_is_enough_nothing_is_proposed() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let refused = propose(&program, "h1").ends(2);
    assert!(refused.err.contains("without --propose"), "{}", refused.err);
    assert!(cluster.world().proposals.is_empty());
}
