//! Findings as they come in: numbered, once each, and none that is somebody else's.

use tonic::{Code, Status};
use verger_controller_state::{Response, limits};
use verger_policy::digest::Digest;
use verger_policy::finding::{FindingUid, Transition};
use verger_proto::agent::v1 as pb;
use verger_proto::findings::v1 as fpb;

use crate::world::{Reporter, World, batch, fields, reason, refused};

async fn reporting(world: &World) -> Reporter {
    world.caller("agent/h1").report().await.unwrap()
}

fn world() -> World {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    world
}

fn sequence(world: &World) -> u64 {
    world
        .log
        .state()
        .host(&"h1".parse().unwrap())
        .unwrap()
        .last_sequence
}

/// Every finding there is.
fn uids(world: &World) -> Vec<FindingUid> {
    let state = world.log.state();
    state
        .findings_after_uid(None)
        .map(|finding| finding.uid)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_transition_under_the_uid_of_another_fault_is_refused_with_its_whole_batch() {
    let world = world();
    let known = world.fault("user");
    world.log.run(&world.ingestion("h2", vec![known.clone()]));
    let before = world.log.state();
    // Each says something about the fault of the other host that only that host can know.
    let foreign = [
        Transition {
            check: world.fault("group").check,
            ..known.clone()
        },
        Transition {
            image: Some(Digest::of(b"another image")),
            ..known.clone()
        },
        Transition {
            subject: verger_policy::finding::SubjectClass::Host,
            ..known.clone()
        },
        Transition {
            uid: FindingUid(Digest::of(b"no fault's")),
            ..known.clone()
        },
    ];
    for forged in foreign {
        let answer = reporting(&world)
            .await
            .tell(1, &[world.fault("true"), forged])
            .await;
        refused(answer, Code::InvalidArgument, "FORGED_FINDING");
        assert_eq!(world.log.state(), before, "not even the good one before it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_answered_with_what_is_there_and_takes_nothing_in() {
    let world = world();
    let mut reporter = reporting(&world).await;
    for (first, expected) in [(2, 0), (u64::MAX, 0), (0, 0)] {
        let answer = reporter.tell(first, &[world.fault("user")]).await.unwrap();
        assert_eq!(answer, expected, "the next number is one more");
        assert_eq!((sequence(&world), uids(&world)), (0, vec![]));
    }
    assert_eq!(reporter.tell(1, &[world.fault("user")]).await.unwrap(), 1);
    assert_eq!(reporter.tell(3, &[world.fault("group")]).await.unwrap(), 1);
    assert_eq!((sequence(&world), uids(&world).len()), (1, 1));
    assert_eq!(reporter.tell(2, &[world.fault("group")]).await.unwrap(), 2);
    assert_eq!(uids(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_is_acknowledged_and_not_taken_in_twice() {
    let world = world();
    let (one, two, three) = (world.fault("1"), world.fault("2"), world.fault("3"));
    assert_eq!(
        reporting(&world)
            .await
            .tell(1, &[one.clone(), two.clone()])
            .await
            .unwrap(),
        2
    );
    let findings = |world: &World| -> Vec<_> { world.log.state().findings_after_uid(None).collect() };
    let before = findings(&world);
    // The acknowledgement was lost with the connection.
    let mut again = reporting(&world).await;
    assert_eq!(again.tell(1, &[one.clone(), two.clone()]).await.unwrap(), 2);
    assert_eq!(findings(&world), before, "no revision moved");
    assert_eq!(
        again.tell(2, &[two, three.clone()]).await.unwrap(),
        3,
        "the new end is taken in"
    );
    let after = findings(&world);
    assert_eq!(after.len(), 3);
    assert!(
        before.iter().all(|finding| after.contains(finding)),
        "the rest stays as it was"
    );
    assert_eq!(again.tell(1, &[one]).await.unwrap(), 3, "even what is long past");
    assert_eq!(findings(&world), after);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_comes_after_the_answer_of_the_log_and_never_for_more() {
    let world = world();
    let mut reporter = reporting(&world).await;
    world.log.answer(Ok(Response::Ingested(7)));
    assert_eq!(
        reporter.tell(1, &[world.fault("user")]).await.unwrap(),
        7,
        "the log's word"
    );
    let failed = verger_controller_api::ports::Unavailable::Failed("the disk is full".to_owned());
    world.log.answer(Err(failed));
    let answer = reporter.tell(1, &[world.fault("user")]).await;
    refused(answer, Code::Unavailable, "CANNOT_WRITE");
    assert_eq!(sequence(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn more_transitions_than_one_message_may_hold_are_refused_before_they_are_proposed() {
    let world = world();
    let one = world.fault("user");
    let most = vec![one.clone(); limits::TRANSITIONS];
    let answer = reporting(&world).await.tell(1, &most).await;
    assert_eq!(answer.unwrap(), limits::TRANSITIONS as u64);
    let over = vec![one; limits::TRANSITIONS + 1];
    let proposed = world.log.proposed().len();
    let answer = reporting(&world).await.tell(1_001, &over).await;
    let status = refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(fields(&status), ["transitions"]);
    assert!(status.message().contains("1000"), "{status:?}");
    assert_eq!(world.log.proposed().len(), proposed);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_refused_message_on_its_stream_is_not_taken_in() {
    let world = world();
    let mut reporter = reporting(&world).await;
    let mut forged = world.fault("user");
    forged.uid = FindingUid(Digest::of(b"no fault's"));
    // Sent ahead, as agents do within their window.
    reporter.send_ahead(batch(1, &[forged])).await;
    reporter.send_ahead(batch(1, &[world.fault("user")])).await;
    let answer = reporter.answer().await;
    refused(answer, Code::InvalidArgument, "FORGED_FINDING");
    world.settle().await;
    assert_eq!((sequence(&world), uids(&world)), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_of_messages_ends_the_stream_with_the_reason() {
    let world = world();
    let mut message = batch(1, &[world.fault("user")]);
    message.transitions[0].image = "x".repeat(verger_controller_api::MESSAGE_BYTES);
    let status = reporting(&world).await.send(message).await.expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_eq!(sequence(&world), 0);
}

/// What the first batch of a stream is answered, when its second transition is altered so.
async fn altered(world: &World, alter: impl Fn(&mut fpb::Transition)) -> Status {
    let mut message = batch(1, &[world.fault("1"), world.fault("2")]);
    alter(&mut message.transitions[1]);
    reporting(world).await.send(message).await.expect_err("altered")
}

#[tokio::test(start_paused = true)]
async fn a_transition_without_meaning_names_its_place_and_field_and_nothing_is_taken_in() {
    type Alteration = fn(&mut fpb::Transition);
    let world = world();
    let before = world.log.state();
    let cases: [(&str, Alteration); 12] = [
        ("at", |transition| transition.at = None),
        ("uid", |transition| {
            transition.uid = bytes::Bytes::from_static(b"short")
        }),
        ("subject", |transition| transition.subject = None),
        ("subject.class", |transition| {
            transition.subject.as_mut().unwrap().class = None
        }),
        ("image", |transition| transition.image = "sha1:1".to_owned()),
        ("check", |transition| transition.check = None),
        ("check.result", |transition| {
            transition.check.as_mut().unwrap().result = "maybe".to_owned()
        }),
        ("check.reason", |transition| {
            transition.check.as_mut().unwrap().reason = "x".repeat(limits::TEXT_BYTES + 1);
        }),
        ("lifecycle", |transition| {
            transition.lifecycle = fpb::Lifecycle::Acknowledged.into()
        }),
        ("lifecycle", |transition| transition.lifecycle = 99),
        ("wanted", |transition| transition.wanted = "strictest".to_owned()),
        ("samples", |transition| {
            transition.samples = vec![fpb::Sample::default(); 17]
        }),
    ];
    for (field, alter) in cases {
        let status = altered(&world, alter).await;
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::InvalidArgument, "INVALID_ARGUMENT")
        );
        assert_eq!(fields(&status), [format!("transitions[1].{field}")]);
        assert_eq!(world.log.state(), before, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_what_is_held_so_that_whoever_was_set_back_is_noticed() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let mut first = world.caller("agent/h1").report().await.unwrap();
    assert_eq!(first.held, 0);
    first.tell(1, &[world.fault("user")]).await.unwrap();
    let second = world.caller("agent/h1").report().await.unwrap();
    assert_eq!(second.held, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_anew_takes_the_place_of_what_was_told_before() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let mut report = world.caller("agent/h1").report().await.unwrap();
    let both = [world.fault("user"), world.fault("group")];
    assert_eq!(report.tell(1, &both).await.unwrap(), 2);
    let anew = pb::ReportRequest {
        anew: true,
        ..crate::world::batch(7, &both[1..])
    };
    assert_eq!(report.send(anew).await.unwrap(), 7);
    let state = world.log.state();
    assert!(state.finding(&both[0].uid).is_none() && state.finding(&both[1].uid).is_some());
}
