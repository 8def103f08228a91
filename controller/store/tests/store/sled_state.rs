//! What only sled's state has: a lock, files that can be damaged, and a way to throw them away.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use verger_controller_store::conformance::state::{Image, changes, mark};
use verger_controller_store::{AppliedMark, SledState, StateDb, StoreError};

use crate::rigs::copy_files;

fn all(state: &dyn StateDb) -> (Image, Option<AppliedMark>) {
    let mut rows = Vec::new();
    let mark = state
        .visit_all(&mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    (Image::of(&rows), mark)
}

fn empty() -> (Image, Option<AppliedMark>) {
    (Image::default(), None)
}

#[test]
fn a_state_dropped_without_a_flush_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    for index in 1..=9 {
        state.apply_batch(&changes(index), &mark(index)).unwrap();
    }
    drop(state);
    let state = SledState::open(dir.path()).unwrap();
    assert_eq!(all(&state), (Image::at(9), Some(mark(9))));
}

#[test]
fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _state = SledState::open(dir.path()).unwrap();
    assert!(matches!(
        SledState::open(dir.path()),
        Err(StoreError::InUse { .. })
    ));
}

#[test]
fn a_discarded_state_starts_again_and_discarding_none_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    SledState::discard(dir.path()).unwrap();
    let state = SledState::open(dir.path()).unwrap();
    state.apply_batch(&changes(1), &mark(1)).unwrap();
    drop(state);
    SledState::discard(dir.path()).unwrap();
    assert_eq!(all(&SledState::open(dir.path()).unwrap()), empty());
}

/// sled may lose its newest batches silently; what it gives must then be exactly an earlier mark's rows.
#[test]
fn a_damaged_state_is_refused_or_stands_at_one_of_its_marks() {
    const LAST: u64 = 150;
    let sound = tempfile::tempdir().unwrap();
    let mut history: BTreeMap<u64, Image> = BTreeMap::new();
    {
        let state = SledState::open(sound.path()).unwrap();
        let mut image = Image::default();
        for index in 1..=LAST {
            state.apply_batch(&changes(index), &mark(index)).unwrap();
            image.apply(&changes(index));
            history.insert(index, image.clone());
        }
        state.flush().unwrap();
    }
    let blocks = Path::new("state.sled").join("db");
    let length = fs::metadata(sound.path().join(&blocks)).unwrap().len();
    let mut seed = 0x5EED_0004_u64;
    let (mut refused, mut earlier) = (0, 0);
    for round in 0..60_u64 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = ((seed >> 20) % length.min(120_000)) as usize;
        let victim = tempfile::tempdir().unwrap();
        copy_files(sound.path(), victim.path());
        let file = victim.path().join(&blocks);
        let mut bytes = fs::read(&file).unwrap();
        if round % 4 == 0 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << (round % 8)
        }
        fs::write(&file, bytes).unwrap();
        match SledState::open(victim.path()) {
            Ok(state) => match all(&state) {
                (rows, None) => assert_eq!(rows, Image::default(), "round {round}: rows without a mark"),
                (rows, Some(applied)) => {
                    let index = applied.last.index;
                    assert_eq!(applied, mark(index), "round {round}");
                    assert!(
                        rows == history[&index],
                        "round {round}: not the rows of mark {index}"
                    );
                    earlier += u32::from(index < LAST);
                }
            },
            Err(error) => {
                assert!(error.is_damage(), "round {round}: {error}");
                assert!(error.to_string().contains("rebuilt"), "{error}");
                refused += 1;
            }
        }
        SledState::discard(victim.path()).unwrap();
        assert_eq!(all(&SledState::open(victim.path()).unwrap()), empty());
    }
    assert!(
        refused + earlier > 5,
        "the damage missed everything: {refused} refused, {earlier} earlier"
    );
}
