//! A change of the set: only under a good seal, only on the epoch it was made on, once.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_policy::model::PolicyObject;
use verger_proto::policy::v1 as pb;
use verger_seal::{SealingKey, SetStatement};

use crate::world::{World, body, host, refused, start, workload};

async fn apply(world: &World, request: pb::ApplyRequest) -> Result<pb::ApplyResponse, Status> {
    world
        .ada()
        .policy()
        .apply(request)
        .await
        .map(tonic::Response::into_inner)
}

/// What a refusal says beside its reason.
fn said(status: &Status) -> BTreeMap<String, String> {
    status
        .get_details_error_info()
        .unwrap()
        .metadata
        .into_iter()
        .collect()
}

/// At epoch 1.
async fn world() -> World {
    let world = World::founded();
    world
        .apply(&[host("h1", "a"), workload("web", "a", 1)], &[])
        .await;
    world
}

fn db() -> PolicyObject {
    workload("db", "a", 1)
}

#[tokio::test(start_paused = true)]
async fn a_good_change_is_answered_with_the_set_it_made() {
    let world = world().await;
    let next = world.next_set(&[db()], &["Workload/web"]);
    let answer = world.apply(&[db()], &["Workload/web"]).await;
    assert_eq!((answer.epoch, answer.root), world.position());
    let state = world.log.state();
    assert_eq!((state.set(), state.revision()), (&next, answer.revision));
    let request = pb::GetSetRequest { with_bodies: true };
    let set = world.ada().policy().get_set(request).await.unwrap().into_inner();
    let bodies: Vec<_> = next
        .parts()
        .map(|(_, body)| body.unwrap().bytes().to_vec())
        .collect();
    let sent: Vec<_> = set.bodies.iter().map(|body| body.canonical.to_vec()).collect();
    assert_eq!((set.epoch, sent), (2, bodies));
    assert_eq!(set.seal.unwrap().json, *state.seal().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_change_made_on_another_epoch_is_a_conflict_that_names_both_and_changes_nothing() {
    let world = world().await;
    let before = world.log.state().set().clone();
    for expected_epoch in [0, 2, u64::MAX] {
        for dry_run in [false, true] {
            let request = pb::ApplyRequest {
                expected_epoch,
                dry_run,
                ..world.change(&[db()], &[])
            };
            let status = refused(apply(&world, request).await, Code::Aborted, "EPOCH_CONFLICT");
            let numbers = [
                ("current", "1".to_owned()),
                ("expected", expected_epoch.to_string()),
            ];
            assert_eq!(
                said(&status),
                numbers.map(|(key, value)| (key.to_owned(), value)).into()
            );
            assert_eq!(*world.log.state().set(), before);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_on_one_epoch_the_second_is_a_conflict() {
    let world = world().await;
    let mine = world.change(&[db()], &[]);
    let theirs = world.change(&[workload("cache", "a", 1)], &[]);
    apply(&world, theirs).await.unwrap();
    let after = world.log.state().set().clone();
    refused(apply(&world, mine).await, Code::Aborted, "EPOCH_CONFLICT");
    assert_eq!(*world.log.state().set(), after);
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_says_what_would_come_and_proposes_nothing() {
    let world = world().await;
    let (before, proposed) = (world.log.state(), world.log.proposed());
    let next = world.next_set(&[db()], &["Workload/web"]);
    let request = pb::ApplyRequest {
        request_id: String::new(),
        seal: None,
        dry_run: true,
        ..world.change(&[db()], &["Workload/web"])
    };
    let answer = apply(&world, request).await.unwrap();
    assert_eq!(
        (answer.epoch, answer.root),
        (2, verger_wire::digest_bytes(&next.root()))
    );
    assert_eq!(answer.revision, before.revision());
    let request = pb::DeleteRequest {
        expected_epoch: 1,
        key: body(&workload("web", "a", 1)).key,
        dry_run: true,
        ..Default::default()
    };
    let answer = world.ada().policy().delete(request).await.unwrap().into_inner();
    assert_eq!(answer.epoch, 2);
    assert_eq!((world.log.state(), world.log.proposed()), (before, proposed));
}

#[tokio::test(start_paused = true)]
async fn before_the_founding_nothing_is_applied_or_rehearsed() {
    let world = World::new();
    for dry_run in [false, true] {
        let request = pb::ApplyRequest {
            request_id: world.request_id(),
            upserts: vec![body(&db())],
            dry_run,
            ..Default::default()
        };
        refused(
            apply(&world, request).await,
            Code::FailedPrecondition,
            "NOT_FOUNDED",
        );
        assert!(world.log.state().set().is_empty());
    }
}

/// The sealed statement on the set that `request` makes, altered, under a key.
fn restated(world: &World, key: &SealingKey, alter: impl Fn(&mut SetStatement)) -> Option<pb::Envelope> {
    let trust_root = world.log.state().cluster().unwrap().trust_root.clone();
    let next = world.next_set(&[db()], &[]);
    let count = next.len() as u64;
    let end = start() + jiff::SignedDuration::from_hours(1);
    let mut statement = SetStatement::new(&trust_root, next.epoch(), next.root(), count, end);
    alter(&mut statement);
    Some(pb::Envelope {
        json: statement.seal(&[key]).to_json().into(),
    })
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sealed_as_it_is_offered_is_refused_with_the_reason() {
    type Alteration = fn(&World, &mut pb::ApplyRequest);
    let cases: [(&str, Alteration); 14] = [
        ("envelope", |_, request| request.seal = None),
        ("envelope", |_, request| {
            request.seal = Some(pb::Envelope {
                json: bytes::Bytes::from_static(b"{}"),
            });
        }),
        ("wrong-key", |world, request| {
            request.seal = restated(world, &SealingKey::from_seed([9; 32]), |_| {});
        }),
        ("altered", |_, request| {
            let seal = request.seal.as_mut().unwrap();
            let text = String::from_utf8(seal.json.to_vec()).unwrap();
            // One character of the payload, past its first words.
            let at = text.find("payload\":\"").unwrap() + 40;
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            seal.json = format!("{}{other}{}", &text[..at], &text[at + 1..]).into();
        }),
        ("root-mismatch", |_, request| {
            // Another body than the sealed one, under the same name.
            request.upserts = vec![body(&workload("db", "a", 2))];
        }),
        ("root-mismatch", |world, request| {
            request.seal = restated(world, &world.key, |statement| {
                statement.root = verger_policy::digest::Digest::of(b"another set");
            });
        }),
        ("root-mismatch", |_, request| {
            // One left out, another in its place.
            request.upserts = vec![body(&workload("stowaway", "a", 1))];
        }),
        ("entry-left-out", |_, request| request.upserts.clear()),
        ("entry-added", |_, request| {
            request.upserts.push(body(&workload("stowaway", "a", 1)));
        }),
        ("entry-left-out", |world, request| {
            request.seal = restated(world, &world.key, |statement| statement.entry_count += 1);
        }),
        // The set that is made has the epoch that was sealed, and its objects are of another.
        ("root-mismatch", |world, request| {
            request.seal = restated(world, &world.key, |statement| statement.epoch += 1);
        }),
        ("epoch-mismatch", |world, request| {
            request.seal = restated(world, &world.key, |statement| statement.epoch -= 1);
        }),
        ("epoch-mismatch", |world, request| {
            let far = verger_controller_state::limits::EPOCHS_LEFT_OUT + 1;
            request.seal = restated(world, &world.key, |statement| statement.epoch += far);
        }),
        ("expired", |world, request| {
            request.seal = restated(world, &world.key, |statement| statement.not_after = start());
        }),
    ];
    let world = world().await;
    let before = world.log.state().set().clone();
    for (number, (word, alter)) in cases.into_iter().enumerate() {
        let mut request = world.change(&[db()], &[]);
        alter(&world, &mut request);
        let status = refused(
            apply(&world, request).await,
            Code::PermissionDenied,
            "SEAL_REFUSED",
        );
        let said = said(&status);
        assert_eq!(
            said.get("refusal").map(String::as_str),
            Some(word),
            "case {number}: {status:?}"
        );
        assert_eq!(*world.log.state().set(), before, "case {number}");
    }
    // The same change, as it was sealed.
    apply(&world, world.change(&[db()], &[])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_seal_over_a_deletion_lets_nothing_else_be_deleted() {
    let world = world().await;
    let before = world.log.state().set().clone();
    let pb::ApplyRequest { seal, .. } = world.change(&[], &["Workload/web"]);
    let delete = |object: &PolicyObject| pb::DeleteRequest {
        request_id: world.request_id(),
        expected_epoch: 1,
        key: body(object).key,
        seal: seal.clone(),
        dry_run: false,
    };
    let (wrong, right) = (delete(&host("h1", "a")), delete(&workload("web", "a", 1)));
    let answer = world.ada().policy().delete(wrong).await;
    refused(answer, Code::PermissionDenied, "SEAL_REFUSED");
    assert_eq!(*world.log.state().set(), before);
    world.ada().policy().delete(right).await.unwrap();
    assert_eq!(world.log.state().set().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_name_beside_a_body_decides_nothing() {
    let world = world().await;
    let mut request = world.change(&[db()], &[]);
    request.upserts[0].key = body(&workload("web", "a", 1)).key;
    apply(&world, request).await.unwrap();
    let state = world.log.state();
    let names: Vec<_> = state.set().entries().map(|entry| entry.key.to_string()).collect();
    assert_eq!(names, ["Host/h1", "Workload/db", "Workload/web"]);
}
