//! What the API is told of a real member's store.
#![allow(clippy::unwrap_used)]

use verger_controller_state::{Action, InvalidCommand, Refused, limits};
use verger_seal::{ChainCheck, ChainRow, KeptHead};
use verger_wire::audit::AuditEntry;

use super::*;
use crate::init::tests::Place;
use crate::wire_up;

fn denied(attempts: u64) -> Command {
    Command {
        stamp: SystemAmbient.now(),
        actor: "agent/h1".to_owned(),
        request_id: None,
        from: Some("192.0.2.1:40000".to_owned()),
        policies: Vec::new(),
        counted: false,
        action: Action::NoteDenied {
            rpc: "S/M".to_owned(),
            reason: "NOT_A_PERSON".to_owned(),
            attempts,
            since: SystemAmbient.now(),
            about: verger_controller_state::About::default(),
        },
    }
}

/// Every row is in the store, and the chain over what the store says is the state's.
async fn check(raft: &RaftState) -> u64 {
    let (head, places) = raft.0.read(|state| {
        let places: Vec<_> = state.audit_places(0..u64::MAX).collect();
        (state.audit_head(), places)
    });
    let mut keys: Vec<_> = places.iter().map(|place| place.key.clone()).collect();
    keys.push(b"no such row".to_vec());
    let values = raft.values(keys).await.unwrap();
    assert_eq!((values.len(), values.last()), (places.len() + 1, Some(&None)));
    let mut check = ChainCheck::begin(Some(head.chain()));
    let mut attempts = 0;
    for (place, value) in places.iter().zip(values.into_iter().flatten()) {
        let entry = AuditEntry::read(&value).unwrap();
        attempts += entry.attempts;
        let row = ChainRow {
            number: place.number,
            key: &place.key,
            value: &value,
            previous: entry.previous,
        };
        check.take(row).unwrap();
    }
    assert_eq!(
        check.finish(head.chain(), head.dropped).unwrap().kept,
        KeptHead::Met
    );
    attempts
}

#[test]
fn a_command_that_is_too_long_is_answered_whatever_it_asks_and_not_written() {
    let place = Place::new();
    place.init("root.json", &place.path("ada.json")).unwrap();
    place.runtime.block_on(async {
        let raft = RaftState(Arc::new(wire_up::open_stopped(&place.config).await.unwrap()));
        let before = raft.0.read(State::revision);
        let long = |bytes: usize| Command {
            action: Action::Stamp {
                envelope: vec![0; bytes].into(),
            },
            ..denied(1)
        };
        let refused = raft.propose(long(limits::COMMAND_BYTES)).await;
        let Ok(Response::Refused(Refused::Invalid(InvalidCommand::TooLarge(_)))) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(raft.0.read(State::revision), before);
        // One that is nearly as long is written, and refused by what it says.
        let refused = raft.propose(long(limits::COMMAND_BYTES - 1_000)).await;
        assert!(
            matches!(refused, Ok(Response::Refused(Refused::Stamp { .. }))),
            "{refused:?}"
        );
        assert!(raft.0.read(State::revision) > before);
        Arc::try_unwrap(raft.0).ok().unwrap().stop().await;
    });
}

#[test]
fn rows_of_the_audit_are_read_from_the_store() {
    let place = Place::new();
    place.init("root.json", &place.path("ada.json")).unwrap();
    place.runtime.block_on(async {
        let raft = RaftState(Arc::new(wire_up::open_stopped(&place.config).await.unwrap()));
        assert_eq!(check(&raft).await, 0, "the founding, of the member's first run");
        for attempts in 1..=3 {
            assert_eq!(raft.propose(denied(attempts)).await, Ok(Response::DeniedNoted));
        }
        assert_eq!(check(&raft).await, 6);
        Arc::try_unwrap(raft.0).ok().unwrap().stop().await;
    });
}
