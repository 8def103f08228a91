use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use verger_agent_core::store::conformance::{set, transition};
use verger_agent_core::store::{
    LedgerDelta, LedgerStore as _, Round, SetDelta, SetHead, SpoolStore as _, StoreError,
};
use verger_agent_store::{MAX_BODY, Options};

use crate::bench::{Place, open};

fn round(number: u64) -> Round {
    Round {
        transitions: vec![transition(number)],
        ..Round::default()
    }
}

#[test]
fn a_disk_without_room_refuses_writes_and_goes_on_reading() {
    let place = Place::new(1 << 20);
    let (_ledger, spool) = place.open();
    spool.commit_round(&round(1)).unwrap();
    drop((_ledger, spool));
    let hungry = Options {
        reserve_bytes: u64::MAX / 2,
        ..Options::default()
    };
    let (ledger, spool) = open(&place.path(), &hungry).unwrap();
    for _ in 0..2 {
        assert!(matches!(
            spool.commit_round(&round(2)),
            Err(StoreError::Full { .. })
        ));
        let delta = LedgerDelta {
            set: Some(set(1, &[1])),
            ..LedgerDelta::default()
        };
        assert!(matches!(ledger.commit(&delta), Err(StoreError::Full { .. })));
        assert_eq!(spool.pending(1, 10, 1 << 20).unwrap().len(), 1);
        assert_eq!(ledger.load().unwrap().set, None);
    }
    drop((ledger, spool));
    let (_ledger, spool) = place.open();
    assert_eq!(spool.commit_round(&round(2)).unwrap(), 2);
}

#[test]
fn what_is_too_large_is_refused_by_name_and_nothing_is_written() {
    let place = Place::new(1 << 30);
    let (ledger, spool) = place.open();
    let mut big = transition(1);
    big.check.actual = Some("x".repeat(300 * 1024));
    let refused = spool.commit_round(&Round {
        transitions: vec![transition(1), big],
        ..Round::default()
    });
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(spool.usage().unwrap().next_sequence, 1);
    let delta = set(1, &[1]);
    let head = SetHead {
        seal: vec![b'x'; MAX_BODY + 1],
        ..delta.head.clone()
    };
    let refused = ledger.commit(&LedgerDelta {
        set: Some(SetDelta { head, ..delta }),
        ..LedgerDelta::default()
    });
    assert!(
        matches!(&refused, Err(StoreError::TooLarge { what, .. }) if what == "the seal"),
        "{refused:?}"
    );
    assert_eq!(ledger.load().unwrap().set, None);
}

#[test]
fn a_second_opener_is_told_that_it_is_busy() {
    let place = Place::new(1 << 20);
    let held = place.open();
    assert!(matches!(
        open(&place.path(), &Options::default()),
        Err(StoreError::Busy { .. })
    ));
    drop(held);
    place.open();
}

#[test]
fn the_folder_is_for_its_owner_alone() {
    let place = Place::new(1 << 20);
    place.open();
    assert_eq!(
        fs::metadata(place.path()).unwrap().permissions().mode() & 0o777,
        0o700
    );
}
