//! What agents sign of their findings: kept when it is theirs and fits, refused when it is not, and shown with its rows.

use tonic::{Code, Status};
use verger_policy::digest::Digest;
use verger_policy::finding::{Chain, Standing, Told, Transition};
use verger_proto::agent::v1 as pb;
use verger_proto::findings::v1 as fpb;
use verger_proto::findings::v1::account_response::Part;
use verger_seal::{AgentKey, FindingsHead, SignedHead};
use verger_wire::{FromWire as _, IntoWire as _, digest_bytes};

use crate::world::{World, batch, refused, soon, start};

fn key(seed: u8) -> AgentKey {
    AgentKey::from_scalar([seed; 32]).unwrap()
}

/// A world with two hosts, whose keys are 1 and 2.
fn world() -> World {
    let world = World::founded();
    world.enrol_signing("h1", &key(1));
    world.enrol_signing("h2", &key(2));
    world
}

/// Where findings stand once these transitions were told, from the first on.
fn told(transitions: &[Transition]) -> Told {
    let (mut chain, mut standing) = (Chain::START, Standing::default());
    for transition in transitions {
        chain = chain.then(&transition.digest());
        standing.note(transition);
    }
    Told {
        chain,
        open: standing.count(),
        table: standing.digest(),
    }
}

fn head(world: &World, agent: &str, told: Told) -> FindingsHead {
    FindingsHead {
        cluster: world.cluster_id(),
        agent: agent.parse().unwrap(),
        told,
        at: start(),
    }
}

fn with_head(first: u64, transitions: &[Transition], head: &SignedHead) -> pb::ReportRequest {
    pb::ReportRequest {
        head: Some(head.into_wire()),
        ..batch(first, transitions)
    }
}

/// The account of a host: what is said of it first, and all of its rows.
async fn account(world: &World, agent: &str) -> Result<(fpb::HostAccount, Vec<Transition>), Status> {
    let request = fpb::AccountRequest {
        agent_id: agent.to_owned(),
    };
    let mut stream = world.ada().findings().account(request).await?.into_inner();
    let mut host = None;
    let mut rows = Vec::new();
    while let Some(message) = soon(stream.message()).await? {
        match message.part.unwrap() {
            Part::Host(first) => assert!(host.replace(first).is_none() && rows.is_empty()),
            Part::Rows(part) => rows.extend(
                part.rows
                    .into_iter()
                    .map(|row| Transition::from_wire(row).unwrap()),
            ),
        }
    }
    Ok((host.expect("it comes first"), rows))
}

fn table(rows: &[Transition]) -> (u64, Digest) {
    let mut standing = Standing::default();
    rows.iter().for_each(|row| standing.note(row));
    (standing.count(), standing.digest())
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_signed_is_kept_byte_for_byte_and_its_rows_make_up_what_was_signed() {
    let world = world();
    let mut reporter = world.signing_caller("h1", &key(1)).report().await.unwrap();
    assert_eq!(reporter.chain, digest_bytes(&Chain::START.digest));
    let all = [
        world.fault("a"),
        world.fault("b"),
        world.fault("c"),
        world.resolved("b"),
    ];
    // Two batches, of which the second reaches the end.
    reporter.tell(1, &all[..2]).await.unwrap();
    assert_eq!(reporter.chain, digest_bytes(&told(&all[..2]).chain.digest));
    let signed = key(1).sign_head(&head(&world, "h1", told(&all)));
    assert_eq!(reporter.send(with_head(3, &all[2..], &signed)).await.unwrap(), 4);
    assert_eq!(reporter.chain, digest_bytes(&told(&all).chain.digest));
    // What controllers say of the host is not the agent's.
    world.run(verger_controller_state::Action::TellSilence {
        agent: "h1".parse().unwrap(),
        silent: true,
        since: None,
        unrecorded: true,
    });
    let (host, rows) = account(&world, "h1").await.unwrap();
    assert_eq!(host.head, Some((&signed).into_wire()));
    assert_eq!((host.last_sequence, host.not_kept, host.silent), (4, 0, true));
    assert_eq!(host.key_digest, digest_bytes(&signed.key_digest()));
    let said = SignedHead::from_wire(host.head.unwrap()).unwrap().open().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(table(&rows), (said.told.open, said.told.table));
    assert!(rows.is_sorted_by_key(|row| row.uid));
    // The next one, without a transition, takes its place.
    let later = FindingsHead {
        at: start() + jiff::SignedDuration::from_secs(60),
        ..head(&world, "h1", told(&all))
    };
    let later = key(1).sign_head(&later);
    assert_eq!(reporter.send(with_head(5, &[], &later)).await.unwrap(), 4);
    assert_eq!(
        account(&world, "h1").await.unwrap().0.head,
        Some((&later).into_wire())
    );
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_signed_is_refused_with_all_that_comes_with_it() {
    let world = world();
    let fault = [world.fault("a")];
    let good = head(&world, "h1", told(&fault));
    let others = FindingsHead {
        agent: "h2".parse().unwrap(),
        ..good.clone()
    };
    let elsewhere = FindingsHead {
        cluster: Digest::of(b"another"),
        ..good.clone()
    };
    let mut altered = key(1).sign_head(&good);
    altered.statement = head(&world, "h1", told(&[])).canonical_bytes();
    let cases = [
        ("another key", key(2).sign_head(&good)),
        ("another host", key(1).sign_head(&others)),
        ("another cluster", key(1).sign_head(&elsewhere)),
        ("signature", altered),
    ];
    let before = world.log.state();
    for (why, forged) in cases {
        let mut reporter = world.signing_caller("h1", &key(1)).report().await.unwrap();
        let answer = reporter.send(with_head(1, &fault, &forged)).await;
        let status = refused(answer, Code::InvalidArgument, "FORGED_HEAD");
        assert!(status.message().contains(why), "{why}: {status:?}");
        let after = world.log.state();
        let agent = "h1".parse().unwrap();
        assert_eq!(after.host(&agent), before.host(&agent), "{why}");
        assert_eq!(after.findings_after_uid(None).count(), 0, "{why}");
    }
    let mut reporter = world.signing_caller("h1", &key(1)).report().await.unwrap();
    let signed = key(1).sign_head(&good);
    assert_eq!(reporter.send(with_head(1, &fault, &signed)).await.unwrap(), 1);
    assert!(account(&world, "h1").await.unwrap().0.head.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_what_was_taken_in_is_not_kept_and_the_agent_is_told_the_chain() {
    let world = world();
    let all = [world.fault("a"), world.fault("b")];
    let mut reporter = world.signing_caller("h1", &key(1)).report().await.unwrap();
    let first = key(1).sign_head(&head(&world, "h1", told(&all[..1])));
    reporter.send(with_head(1, &all[..1], &first)).await.unwrap();
    // Signed earlier, or of more than was sent: it says nothing here.
    let both = key(1).sign_head(&head(&world, "h1", told(&all)));
    assert_eq!(reporter.send(with_head(2, &[], &both)).await.unwrap(), 1);
    // Of other transitions under the same numbers, as after the agent's disk was set back.
    let other = [world.fault("a"), world.fault("c")];
    let other = key(1).sign_head(&head(&world, "h1", told(&other)));
    assert_eq!(
        reporter.send(with_head(2, &all[1..], &other)).await.unwrap(),
        2,
        "the transitions are taken in"
    );
    assert_eq!(
        reporter.chain,
        digest_bytes(&told(&all).chain.digest),
        "and the agent sees the chain"
    );
    let held = account(&world, "h1").await.unwrap().0.head;
    assert_eq!(held, Some((&first).into_wire()), "the last one that fitted");
    assert_eq!(reporter.send(with_head(3, &[], &both)).await.unwrap(), 2);
    let held = account(&world, "h1").await.unwrap().0.head;
    assert_eq!(held, Some((&both).into_wire()));
}

#[tokio::test(start_paused = true)]
async fn told_anew_the_chain_goes_on_from_what_the_agent_has() {
    let world = world();
    let mut reporter = world.signing_caller("h1", &key(1)).report().await.unwrap();
    reporter.tell(1, &[world.fault("a")]).await.unwrap();
    let before = Digest::of(b"what the agent has");
    let anew = [world.fault("b")];
    let chain = Chain {
        sequence: 6,
        digest: before,
    };
    let there = Told {
        chain: chain.then(&anew[0].digest()),
        ..told(&anew)
    };
    let signed = key(1).sign_head(&head(&world, "h1", there));
    let message = pb::ReportRequest {
        anew: true,
        chain_before: digest_bytes(&before),
        ..with_head(7, &anew, &signed)
    };
    assert_eq!(reporter.send(message).await.unwrap(), 7);
    assert_eq!(reporter.chain, digest_bytes(&there.chain.digest));
    let (host, rows) = account(&world, "h1").await.unwrap();
    assert_eq!(host.head, Some((&signed).into_wire()));
    assert_eq!(rows, anew);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_whole_or_says_that_the_host_told_more_meanwhile() {
    let world = world();
    let faults: Vec<_> = (0..2_500)
        .map(|number| world.fault(&number.to_string()))
        .collect();
    for part in faults.chunks(1_000) {
        world.log.run(&world.ingestion("h1", part.to_vec()));
    }
    let (host, rows) = account(&world, "h1").await.unwrap();
    assert_eq!((host.last_sequence, rows.len()), (2_500, 2_500));
    assert_eq!(table(&rows), table(&faults));
    let request = fpb::AccountRequest {
        agent_id: "h1".to_owned(),
    };
    let mut stream = world
        .ada()
        .findings()
        .account(request)
        .await
        .unwrap()
        .into_inner();
    soon(stream.message()).await.unwrap();
    // Of another host: nothing to this one.
    world.log.run(&world.ingestion("h2", vec![world.fault("other")]));
    world.log.run(&world.ingestion("h1", vec![world.resolved("7")]));
    let ended = loop {
        match soon(stream.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("rows of two moments in one account"),
            Err(status) => break status,
        }
    };
    refused(Err::<(), _>(ended), Code::Aborted, "CHANGED_MEANWHILE");
    assert_eq!(account(&world, "h1").await.unwrap().1.len(), 2_500);
}

#[tokio::test(start_paused = true)]
async fn of_a_host_that_is_not_there_nothing_is_accounted_for() {
    let world = world();
    refused(account(&world, "h9").await, Code::NotFound, "NOT_FOUND");
    let answer = account(&world, "no such name").await;
    refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert!(account(&world, "h2").await.unwrap().1.is_empty());
}
