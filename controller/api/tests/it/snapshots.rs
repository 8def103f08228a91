//! A snapshot is given to whoever may administer, is on record first, and ends with the right to it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tonic::Code;
use verger_controller_api::ports::{NotSaved, SNAPSHOT_PIECE, Unavailable};
use verger_controller_state::{Action, SnapshotPlace};
use verger_policy::digest::Digest;
use verger_proto::cluster::v1 as pb;

use crate::world::{World, reason, soon};

fn request(world: &World) -> pb::SaveSnapshotRequest {
    pb::SaveSnapshotRequest {
        request_id: world.request_id(),
    }
}

fn is_saved(command: &verger_controller_state::Command) -> bool {
    command.action == Action::SaveSnapshot
}

#[tokio::test(start_paused = true)]
async fn all_its_bytes_are_given_in_order_after_that_is_on_record() {
    let world = World::founded();
    let pieces: Vec<Bytes> = (0..200_u32)
        .map(|number| number.to_le_bytes().to_vec().into())
        .collect();
    *world.members.pieces.lock().unwrap() = pieces.iter().cloned().map(Ok).collect();
    let answer = world.ada().members().save_snapshot(request(&world)).await;
    let mut stream = answer.unwrap().into_inner();
    assert!(world.log.proposed().iter().any(is_saved), "before any of it");
    let (mut bytes, mut sizes) = (Vec::new(), Vec::new());
    while let Some(pb::SaveSnapshotResponse { data, size }) = soon(stream.message()).await.unwrap() {
        bytes.extend(data);
        sizes.push(size);
    }
    assert_eq!(bytes, pieces.concat());
    assert_eq!((sizes[0], sizes[1..].iter().max()), (800, Some(&0)));
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_said_and_ends_it() {
    let world = World::founded();
    let save = || async { world.ada().members().save_snapshot(request(&world)).await };
    for (error, code, wanted) in [
        (
            NotSaved::Busy("another".to_owned()),
            Code::ResourceExhausted,
            "SNAPSHOT_BUSY",
        ),
        (
            NotSaved::Unavailable(Unavailable::Failed("the disk is full".to_owned())),
            Code::Unavailable,
            "CANNOT_WRITE",
        ),
    ] {
        *world.members.not_saved.lock().unwrap() = Some(error);
        let status = save().await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, wanted));
    }
    *world.members.not_saved.lock().unwrap() = None;
    let broken = Unavailable::Failed("the file cannot be read".to_owned());
    *world.members.pieces.lock().unwrap() = vec![Ok(Bytes::from_static(b"some")), Err(broken)];
    let mut stream = save().await.unwrap().into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_login_of_who_asked() {
    let world = World::founded();
    *world.members.pieces.lock().unwrap() = vec![Ok(Bytes::from_static(b"piece")); 1_000];
    let answer = world.ada().members().save_snapshot(request(&world)).await;
    let mut stream = answer.unwrap().into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
    world.run(Action::RevokeLogin {
        person: "ada".to_owned(),
        reason: "left".to_owned(),
    });
    let mut given = 1;
    let status = loop {
        match soon(stream.message()).await {
            Ok(Some(_)) => given += 1,
            Ok(None) => panic!("all of it was given"),
            Err(status) => break status,
        }
    };
    assert!(given < 1_000, "{given}");
    assert!(
        matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated),
        "{status:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_snapshot_is_on_record_also_under_an_id_that_was_used() {
    let world = World::founded();
    let rows = || world.log.state().audit_head().written;
    let (before, request) = (rows(), request(&world));
    for given in 1..=3 {
        let answer = world.ada().members().save_snapshot(request.clone()).await;
        assert!(
            soon(answer.unwrap().into_inner().message())
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(rows(), before + given);
    }
    let without = pb::SaveSnapshotRequest {
        request_id: String::new(),
    };
    let refused = world.ada().members().save_snapshot(without).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// Pieces that are more than what connections hold on the way to a reader that takes nothing.
fn much() -> Vec<Result<Bytes, Unavailable>> {
    vec![Ok(Bytes::from(vec![7; SNAPSHOT_PIECE])); 200]
}

/// What comes of a stream from here on: how many pieces, and how it ends.
async fn rest(mut stream: tonic::Streaming<pb::SaveSnapshotResponse>) -> (usize, Result<(), tonic::Status>) {
    let mut given = 0;
    loop {
        match soon(stream.message()).await {
            Ok(Some(_)) => given += 1,
            Ok(None) => return (given, Ok(())),
            Err(status) => return (given, Err(status)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_for_two_minutes_is_cut_and_the_file_is_let_go() {
    let world = World::founded();
    *world.members.pieces.lock().unwrap() = much();
    let answer = world.ada().members().save_snapshot(request(&world)).await;
    let stream = answer.unwrap().into_inner();
    let held = || world.members.reading.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(115)).await;
    assert_eq!(held(), 1, "it may be slow");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(held(), 0);
    let (given, end) = rest(stream).await;
    assert!((1..200).contains(&given), "{given}");
    let status = end.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::DeadlineExceeded, "SNAPSHOT_NOT_TAKEN")
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_revoked_lets_the_file_go_also_while_nothing_is_taken() {
    let world = World::founded();
    *world.members.pieces.lock().unwrap() = much();
    let answer = world.ada().members().save_snapshot(request(&world)).await;
    let stream = answer.unwrap().into_inner();
    let held = || world.members.reading.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(held(), 1);
    world.run(Action::RevokeLogin {
        person: "ada".to_owned(),
        reason: "left".to_owned(),
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(held(), 0);
    let status = rest(stream).await.1.unwrap_err();
    assert_eq!(reason(&status), "LOGIN_REVOKED", "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn how_far_agents_are_and_from_what_it_was_restored_is_shown() {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    let standing = || async {
        let request = pb::ListMembersRequest { stale_ok: false };
        let answer = world.ada().members().list_members(request).await;
        answer.unwrap().into_inner()
    };
    assert_eq!(standing().await.highest_ledger_epoch, 0);
    for (agent, epoch) in [("h1", 7), ("h2", 9), ("unknown", 99)] {
        world
            .fleet
            .note(&agent.parse().unwrap(), jiff::Timestamp::UNIX_EPOCH, |seen| {
                seen.sessions = 1;
                seen.ledger = Some((epoch, Digest::of(b"root")));
            });
    }
    let shown = standing().await;
    assert_eq!(
        (shown.epoch, shown.highest_ledger_epoch),
        (0, 9),
        "of hosts that are known"
    );
    assert_eq!(shown.restored, None);
    world.run(Action::Restore {
        from: SnapshotPlace {
            digest: Digest::of(b"snapshot"),
            index: 7,
            term: 1,
        },
        members: Vec::new(),
    });
    let restored = standing().await.restored.unwrap();
    assert_eq!(restored.index, 7);
    assert_eq!(restored.digest, Digest::of(b"snapshot").as_bytes().to_vec());
    let watch = verger_proto::policy::v1::WatchRequest { after_revision: 1 };
    let mut stream = world.ada().policy().watch(watch).await.unwrap().into_inner();
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(reason(&status), "RESUME_TOKEN_EXPIRED");
}
