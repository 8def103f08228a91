//! Four eyes: a change is proposed by one and made by another.

use tonic::Code;
use verger_controller_state::limits;
use verger_proto::policy::v1 as pb;
use verger_wire::digest_bytes;

use crate::world::{World, refused, workload};

fn proposal(world: &World) -> pb::ProposeRequest {
    let objects = [workload("web", "a", 1)];
    let next = world.next_set(&objects, &[]);
    pb::ProposeRequest {
        request_id: world.request_id(),
        expected_epoch: 0,
        upserts: objects.iter().map(crate::world::body).collect(),
        deletes: Vec::new(),
        seal: Some(world.seal(&next, &world.key)),
    }
}

fn signature(world: &World) -> pb::SignRequest {
    let next = world.next_set(&[workload("web", "a", 1)], &[]);
    pb::SignRequest {
        request_id: world.request_id(),
        number: 1,
        seal: Some(world.seal(&next, &world.second)),
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_proposes_another_looks_at_and_makes() {
    let world = World::founded_of(2);
    let proposed = world.ada().proposals().propose(proposal(&world)).await.unwrap();
    assert_eq!(proposed.into_inner().number, 1);
    let bob = world.caller("person/bob");
    let listed = bob.proposals().list_proposals(pb::ListProposalsRequest {}).await;
    let listed = listed.unwrap().into_inner().proposals;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].upserts.is_empty() && !listed[0].overtaken);
    let request = pb::GetProposalRequest { number: 1 };
    let whole = bob.proposals().get_proposal(request).await.unwrap().into_inner();
    let whole = whole.proposal.unwrap();
    assert_eq!((whole.actor.as_str(), whole.expected_epoch), ("person/ada", 0));
    assert_eq!(whole.upserts[0].canonical, proposal(&world).upserts[0].canonical);

    let request = signature(&world);
    let signed = bob.proposals().sign(request.clone()).await.unwrap().into_inner();
    let root = digest_bytes(&world.log.state().set().root());
    let applied = signed.applied.clone().unwrap();
    assert_eq!((signed.wanting, applied.epoch, applied.root), (0, 1, root));
    // A repeat after a lost answer is answered the same.
    let again = bob.proposals().sign(request).await.unwrap().into_inner();
    assert_eq!(again, signed);
    let gone = bob
        .proposals()
        .get_proposal(pb::GetProposalRequest { number: 1 })
        .await;
    refused(gone, Code::NotFound, "NO_SUCH_PROPOSAL");
}

#[tokio::test(start_paused = true)]
async fn a_signature_of_what_is_not_there_never_reaches_the_log() {
    let world = World::founded_of(2);
    let before = world.log.state().audit_head();
    // It is the number that the next proposal will have.
    let early = world
        .caller("person/bob")
        .proposals()
        .sign(signature(&world))
        .await;
    refused(early, Code::NotFound, "NO_SUCH_PROPOSAL");
    let mut long = signature(&world);
    long.seal = Some(pb::Envelope {
        json: vec![b' '; limits::COMMAND_BYTES].into(),
    });
    let long = world.ada().proposals().sign(long).await;
    assert_eq!(long.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(world.log.state().audit_head(), before);
    // The benign twin: once it is there, both reach it.
    world.ada().proposals().propose(proposal(&world)).await.unwrap();
    let bob = world.caller("person/bob");
    bob.proposals().sign(signature(&world)).await.unwrap();
    assert_eq!(world.log.state().audit_head().written, before.written + 2);
}

#[tokio::test(start_paused = true)]
async fn where_one_is_enough_nothing_is_proposed() {
    let world = World::founded();
    let answer = world.ada().proposals().propose(proposal(&world)).await;
    refused(answer, Code::FailedPrecondition, "SEAL_COMPLETE");
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_was_overtaken_says_so_and_can_be_taken_back() {
    let world = World::founded_of(2);
    world.ada().proposals().propose(proposal(&world)).await.unwrap();
    let late = signature(&world);
    world.apply(&[workload("db", "a", 1)], &[]).await;
    let answer = world.caller("person/bob").proposals().sign(late).await;
    refused(answer, Code::Aborted, "EPOCH_CONFLICT");
    let list = || async {
        let answer = world
            .ada()
            .proposals()
            .list_proposals(pb::ListProposalsRequest {})
            .await;
        answer.unwrap().into_inner().proposals
    };
    assert!(list().await[0].overtaken);
    let request_id = world.request_id();
    let request = pb::WithdrawRequest {
        request_id,
        number: 1,
    };
    world.ada().proposals().withdraw(request).await.unwrap();
    assert!(list().await.is_empty());
}
