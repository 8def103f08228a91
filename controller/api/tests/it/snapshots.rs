//! A snapshot is given to whoever may administer, is on record first, and ends with the right to it.

use bytes::Bytes;
use tonic::Code;
use verger_controller_api::ports::{NotSaved, Unavailable};
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
