//! The applied state: batches in one piece, rebuilt rather than trusted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use verger_controller_store::{
    AppliedMark, LogId, MAX_ROW_BYTES, Row, RowOp, SledState, StateDb, StoreError,
};

fn mark(index: u64) -> AppliedMark {
    AppliedMark {
        last: LogId { index, term: 1 },
        membership: Bytes::from(format!("members at {index}")),
    }
}

fn put(tree: &str, key: &str, value: &str) -> RowOp {
    RowOp {
        tree: tree.into(),
        key: key.to_owned().into(),
        value: Some(value.to_owned().into()),
    }
}

fn delete(tree: &str, key: &str) -> RowOp {
    RowOp {
        tree: tree.into(),
        key: key.to_owned().into(),
        value: None,
    }
}

fn row(tree: &str, key: &str, value: &str) -> Row {
    Row {
        tree: tree.into(),
        key: key.to_owned().into(),
        value: value.to_owned().into(),
    }
}

fn all(state: &dyn StateDb) -> (Vec<Row>, Option<AppliedMark>) {
    let mut rows = Vec::new();
    let mark = state
        .visit_all(&mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    (rows, mark)
}

fn scan(state: &dyn StateDb, tree: &str, prefix: &str, at_most: usize) -> Vec<String> {
    let mut keys = Vec::new();
    state
        .scan_prefix(tree, prefix.as_bytes(), &mut |row| {
            keys.push(String::from_utf8(row.key.to_vec()).unwrap());
            Ok(keys.len() < at_most)
        })
        .unwrap();
    keys
}

#[test]
fn rows_and_mark_come_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    assert_eq!(all(&state), (vec![], None));
    state
        .apply_batch(
            &[
                put("hosts", "a", "1"),
                put("policies", "p", "2"),
                put("hosts", "b", "3"),
            ],
            &mark(4),
        )
        .unwrap();
    state
        .apply_batch(
            &[
                put("hosts", "a", "other"),
                delete("hosts", "b"),
                delete("hosts", "never"),
            ],
            &mark(5),
        )
        .unwrap();
    state.apply_batch(&[], &mark(6)).unwrap();
    let want = (
        vec![row("hosts", "a", "other"), row("policies", "p", "2")],
        Some(mark(6)),
    );
    assert_eq!(all(&state), want);
    state.flush().unwrap();
    drop(state);
    let state = SledState::open(dir.path()).unwrap();
    assert_eq!(all(&state), want);
    assert_eq!(state.get("hosts", b"a").unwrap().unwrap(), "other");
    assert_eq!(state.get("hosts", b"b").unwrap(), None);
    assert_eq!(state.get("policies", b"a").unwrap(), None);
}

#[test]
fn the_last_change_of_a_batch_wins() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    state
        .apply_batch(
            &[
                put("t", "k", "1"),
                delete("t", "k"),
                put("t", "k", "2"),
                put("t", "x", "3"),
                delete("t", "x"),
            ],
            &mark(1),
        )
        .unwrap();
    drop(state);
    assert_eq!(all(&SledState::open(dir.path()).unwrap()).0, [row("t", "k", "2")]);
}

#[test]
fn the_mark_only_moves_forward() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    state.apply_batch(&[put("t", "k", "1")], &mark(7)).unwrap();
    for index in [6, 7] {
        let answer = state.apply_batch(&[put("t", "k", "again")], &mark(index));
        assert!(matches!(answer, Err(StoreError::Refused { .. })));
    }
    assert_eq!(all(&state), (vec![row("t", "k", "1")], Some(mark(7))));
}

#[test]
fn a_scan_stays_in_its_tree_and_stops_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    let ops: Vec<_> = ["aa", "ab", "b", "ac"]
        .iter()
        .map(|key| put("t", key, "v"))
        .chain([put("ta", "a", "v"), put("s", "a", "v")])
        .collect();
    state.apply_batch(&ops, &mark(1)).unwrap();
    assert_eq!(scan(&state, "t", "a", 9), ["aa", "ab", "ac"]);
    assert_eq!(scan(&state, "t", "", 9), ["aa", "ab", "ac", "b"]);
    assert_eq!(scan(&state, "t", "a", 2), ["aa", "ab"]);
    assert_eq!(scan(&state, "t", "zz", 9), [""; 0]);
}

#[test]
fn rows_over_the_limit_are_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    let value = |size| RowOp {
        tree: "t".into(),
        key: "k".into(),
        value: Some(vec![7; size].into()),
    };
    let answer = state.apply_batch(&[put("t", "other", "1"), value(MAX_ROW_BYTES + 1)], &mark(1));
    assert!(matches!(answer, Err(StoreError::TooLarge { what: "a row", .. })));
    let key = RowOp {
        tree: "t".into(),
        key: vec![0; 5000].into(),
        value: None,
    };
    assert!(matches!(
        state.apply_batch(&[key], &mark(1)),
        Err(StoreError::TooLarge { .. })
    ));
    assert!(matches!(
        state.apply_batch(&[put("", "k", "v")], &mark(1)),
        Err(StoreError::Refused { .. })
    ));
    assert_eq!(all(&state), (vec![], None));
    state.apply_batch(&[value(MAX_ROW_BYTES)], &mark(1)).unwrap();
    drop(state);
    let state = SledState::open(dir.path()).unwrap();
    assert_eq!(state.get("t", b"k").unwrap().unwrap().len(), MAX_ROW_BYTES);
}

#[test]
fn a_snapshot_replaces_everything() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    state.apply_batch(&[put("t", "old", "1")], &mark(90)).unwrap();
    // Enough for several batches.
    let value = "v".repeat(10_000);
    let rows: Vec<_> = (0..500)
        .map(|number| row("t", &format!("{number:04}"), &value))
        .collect();
    state
        .replace_all(&mut rows.clone().into_iter().map(Ok), &mark(40))
        .unwrap();
    assert_eq!(all(&state), (rows.clone(), Some(mark(40))));
    state.apply_batch(&[put("t", "new", "1")], &mark(41)).unwrap();
    drop(state);
    let (found, applied) = all(&SledState::open(dir.path()).unwrap());
    assert_eq!((found.len(), applied), (501, Some(mark(41))));
}

#[test]
fn a_failed_replacement_leaves_an_empty_state_without_a_mark() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    state.apply_batch(&[put("t", "old", "1")], &mark(3)).unwrap();
    let torn = StoreError::Refused {
        what: "the snapshot ended early".into(),
    };
    let mut rows = [Ok(row("t", "a", "1")), Err(torn)].into_iter();
    assert!(matches!(
        state.replace_all(&mut rows, &mark(9)),
        Err(StoreError::Refused { .. })
    ));
    assert_eq!(all(&state), (vec![], None));
    state
        .replace_all(&mut [Ok(row("t", "a", "1"))].into_iter(), &mark(9))
        .unwrap();
    drop(state);
    assert_eq!(
        all(&SledState::open(dir.path()).unwrap()),
        (vec![row("t", "a", "1")], Some(mark(9)))
    );
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

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// sled may lose its newest batches silently; what it gives must then be exactly an earlier mark's rows.
#[test]
fn a_damaged_state_is_refused_or_stands_at_one_of_its_marks() {
    let sound = tempfile::tempdir().unwrap();
    let mut history: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    {
        let state = SledState::open(sound.path()).unwrap();
        for index in 1..=150_u64 {
            let ops = [
                put("t", &format!("{}", index % 40), &"x".repeat(index as usize * 3)),
                put("u", &format!("{index}"), "y"),
                delete("u", &format!("{}", index / 2)),
            ];
            state.apply_batch(&ops, &mark(index)).unwrap();
            history.insert(index, all(&state).0);
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
        copy_tree(sound.path(), victim.path());
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
                (rows, None) => assert_eq!(rows, [], "round {round}: rows without a mark"),
                (rows, Some(applied)) => {
                    let index = applied.last.index;
                    assert_eq!(applied, mark(index), "round {round}");
                    assert!(
                        rows == history[&index],
                        "round {round}: not the rows of mark {index}"
                    );
                    earlier += u32::from(index < 150);
                }
            },
            Err(error) => {
                assert!(error.is_damage(), "round {round}: {error}");
                assert!(error.to_string().contains("rebuilt"), "{error}");
                refused += 1;
            }
        }
        SledState::discard(victim.path()).unwrap();
        assert_eq!(all(&SledState::open(victim.path()).unwrap()), (vec![], None));
    }
    assert!(
        refused + earlier > 5,
        "the damage missed everything: {refused} refused, {earlier} earlier"
    );
}
