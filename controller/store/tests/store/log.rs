//! The conformance suite over all logs, random operations, and whether the suite can fail.

use proptest::prelude::*;
use verger_controller_store::conformance::log::{LogOp, LogRig, check_all, check_ops};
use verger_controller_store::{ChunkedLog, MemoryDisk, RedbLog};

use crate::rigs::{DiskLogRig, MemoryLogRig};

#[test]
fn redb_conforms() {
    let cases = check_all(&mut || Box::new(DiskLogRig::<RedbLog>::new())).unwrap();
    assert_eq!(cases, 25);
}

#[test]
fn raft_log_conforms() {
    let cases = check_all(&mut || Box::new(DiskLogRig::<ChunkedLog>::new())).unwrap();
    assert_eq!(cases, 25);
}

#[test]
fn memory_conforms() {
    let cases = check_all(&mut || {
        Box::new(MemoryLogRig {
            disk: MemoryDisk::new(),
        })
    })
    .unwrap();
    assert_eq!(cases, 25);
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught() {
    let failure = check_all(&mut || {
        let disk = MemoryDisk::new();
        disk.lie_about_syncs(true);
        Box::new(MemoryLogRig { disk })
    })
    .unwrap_err();
    assert!(failure.to_string().contains("crash"), "{failure}");
}

#[test]
fn a_lying_disk_loses_a_vote_in_the_model_too() {
    let disk = MemoryDisk::new();
    disk.lie_about_syncs(true);
    let mut rig = MemoryLogRig { disk };
    let failure = check_ops(&mut rig, &[LogOp::Vote(3), LogOp::Crash]).unwrap_err();
    assert!(failure.what.starts_with("step 1"), "{failure}");
}

fn op() -> impl Strategy<Value = LogOp> {
    prop_oneof![
        6 => (1..40_u8, 0..3_u8, 0..600_u16).prop_map(|(count, term, size)| LogOp::Append { count, term, size }),
        1 => Just(LogOp::Gap),
        2 => any::<u8>().prop_map(LogOp::Truncate),
        2 => (0..150_u8).prop_map(LogOp::Purge),
        2 => any::<u8>().prop_map(LogOp::Vote),
        2 => any::<(u8, u8, u16)>().prop_map(|(part, count, limit)| LogOp::Read(part, count, limit)),
        1 => Just(LogOp::Restart),
        1 => Just(LogOp::Crash),
    ]
}

fn agrees(rig: &mut dyn LogRig, ops: &[LogOp]) -> Result<(), TestCaseError> {
    check_ops(rig, ops).map_err(|failure| TestCaseError::fail(failure.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redb_agrees_with_a_vector(ops in prop::collection::vec(op(), 1..40)) {
        agrees(&mut DiskLogRig::<RedbLog>::new(), &ops)?;
    }

    #[test]
    fn raft_log_agrees_with_a_vector(ops in prop::collection::vec(op(), 1..40)) {
        agrees(&mut DiskLogRig::<ChunkedLog>::new(), &ops)?;
    }

    #[test]
    fn memory_agrees_with_a_vector(ops in prop::collection::vec(op(), 1..80)) {
        agrees(&mut MemoryLogRig { disk: MemoryDisk::new() }, &ops)?;
    }
}
