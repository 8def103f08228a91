//! The conformance suite over both states, random operations, and whether the suite can fail.

use std::collections::BTreeSet;

use proptest::prelude::*;
use verger_controller_store::conformance::state::{
    Change, StateOp, StateRig, cases, changes, check_all, check_ops, mark,
};
use verger_controller_store::{MemoryState, StateDb};

use crate::planted_state::{Defect, PlantedRig};
use crate::rigs::{BehindRig, MemoryStateRig, SledRig};

#[test]
fn sled_conforms() {
    check_all(&mut || Box::new(SledRig::new())).unwrap();
}

#[test]
fn memory_conforms() {
    check_all(&mut || Box::new(MemoryStateRig::default())).unwrap();
}

#[test]
fn sled_conforms_behind_memory() {
    check_all(&mut || Box::new(BehindRig(SledRig::new()))).unwrap();
}

#[test]
fn memory_conforms_behind_memory() {
    check_all(&mut || Box::new(BehindRig(MemoryStateRig::default()))).unwrap();
}

#[test]
fn a_planted_defect_fails_the_case_that_names_it() {
    for (defect, case) in Defect::ALL {
        let failure = check_all(&mut || Box::new(PlantedRig::new(*defect)))
            .expect_err(&format!("{defect:?} was not caught"));
        assert_eq!(failure.case, *case, "{defect:?}: {failure}");
        assert!(failure.to_string().starts_with(case), "{failure}");
    }
}

#[test]
fn every_case_catches_a_planted_defect() {
    let caught: BTreeSet<_> = Defect::ALL.iter().map(|(_, case)| *case).collect();
    assert_eq!(caught, cases().collect());
}

#[test]
fn a_torn_batch_is_caught_by_the_model_too() {
    let batch = |key| StateOp::Apply {
        changes: (0..4)
            .map(|tree| Change {
                tree,
                key,
                size: Some(9),
            })
            .collect(),
        ahead: 0,
    };
    let mut rig = PlantedRig::new(Defect::TearsABatch);
    let failure = check_ops(&mut rig, &[batch(1), StateOp::Flush, batch(2), StateOp::Crash]).unwrap_err();
    assert!(failure.what.starts_with("step 3"), "{failure}");
}

#[test]
fn a_crash_of_the_fake_keeps_as_many_batches_as_it_is_told() {
    let state = MemoryState::new();
    for index in 1..=5 {
        state.apply_batch(&changes(index), &mark(index)).unwrap();
        if index == 2 {
            state.flush().unwrap();
        }
    }
    assert_eq!(state.unflushed(), 3);
    for (kept, at) in [(0, 2), (1, 3), (3, 5), (9, 5)] {
        assert_eq!(state.crash(kept).applied().unwrap(), Some(mark(at)));
    }
    assert_eq!(state.applied().unwrap(), Some(mark(5)), "it goes on by itself");
}

#[test]
fn the_fake_writes_back_by_itself_what_is_never_flushed() {
    let state = MemoryState::new();
    for index in 1..=3000 {
        state.apply_batch(&[], &mark(index)).unwrap();
    }
    assert_eq!(state.unflushed(), 1024);
    assert_eq!(state.crash(0).applied().unwrap(), Some(mark(3000 - 1024)));
}

fn change() -> impl Strategy<Value = Change> {
    (0..4_u8, 0..40_u8, prop::option::weighted(0.7, 0..600_u16)).prop_map(|(tree, key, size)| Change {
        tree,
        key,
        size,
    })
}

fn some() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 0..12)
}

fn op() -> impl Strategy<Value = StateOp> {
    prop_oneof![
        8 => (some(), 0..4_u8).prop_map(|(changes, ahead)| StateOp::Apply { changes, ahead }),
        1 => any::<u8>().prop_map(StateOp::Stale),
        1 => change().prop_map(StateOp::TooLarge),
        2 => (0..4_u8, 0..40_u8, 0..9_u8).prop_map(|(tree, prefix, most)| StateOp::Scan { tree, prefix, most }),
        1 => (some(), any::<u8>()).prop_map(|(changes, index)| StateOp::Replace { changes, index }),
        1 => some().prop_map(StateOp::FailedReplace),
        1 => Just(StateOp::Flush),
        1 => Just(StateOp::Restart),
        2 => Just(StateOp::Crash),
    ]
}

fn agrees(rig: &mut dyn StateRig, ops: &[StateOp]) -> Result<(), TestCaseError> {
    check_ops(rig, ops).map_err(|failure| TestCaseError::fail(failure.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sled_agrees_with_a_map(ops in prop::collection::vec(op(), 1..40)) {
        agrees(&mut SledRig::new(), &ops)?;
    }

    #[test]
    fn sled_agrees_with_a_map_behind_memory(ops in prop::collection::vec(op(), 1..40)) {
        agrees(&mut BehindRig(SledRig::new()), &ops)?;
    }

    #[test]
    fn memory_agrees_with_a_map_behind_memory(ops in prop::collection::vec(op(), 1..120)) {
        agrees(&mut BehindRig(MemoryStateRig::default()), &ops)?;
    }

    #[test]
    fn memory_agrees_with_a_map(ops in prop::collection::vec(op(), 1..120)) {
        agrees(&mut MemoryStateRig::default(), &ops)?;
    }
}
