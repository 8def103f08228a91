//! Cases over visits: which rows, in which order, and at which mark.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::{Case, Image, StateRig, changes, mark, put, stands};
use crate::StoreError;
use crate::conformance::{Broken, Outcome, holds, same};
use crate::state_db::{Row, RowOp, StateDb};

pub(super) const CASES: &[(&str, Case)] = &[
    ("a_scan_keeps_to_its_tree", scan_tree),
    ("a_scan_keeps_to_its_prefix", scan_prefix),
    ("a_scan_goes_by_key", scan_order),
    ("a_scan_stops_when_told", scan_stops),
    ("a_visit_goes_tree_by_tree_and_by_key", visit_order),
    ("a_visitors_error_is_handed_on", visitor_fails),
    ("a_visit_holds_up_no_writer", writes_go_on),
    ("a_visit_beside_a_writer_sees_one_mark", one_mark),
];

/// The keys of a scan.
fn scan(state: &dyn StateDb, tree: &str, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Broken> {
    let mut keys = Vec::new();
    let mut strange = None;
    state.scan_prefix(tree, prefix, &mut |row| {
        if row.value != format!("{tree} {}", row.key.escape_ascii()) {
            strange = Some(row.clone());
        }
        keys.push(row.key.to_vec());
        Ok(true)
    })?;
    match strange {
        None => Ok(keys),
        Some(Row { tree, key, .. }) => Err(Broken(format!(
            "row {} of {tree} has another value",
            key.escape_ascii()
        ))),
    }
}

/// Fills trees with the same keys, each value telling its tree and key.
fn filled(rig: &mut dyn StateRig, trees: &[&str], keys: &[&[u8]]) -> Result<Arc<dyn StateDb>, StoreError> {
    let state = rig.open()?;
    let all = trees
        .iter()
        .flat_map(|tree| keys.iter().map(move |key| (*tree, *key)));
    let ops: Vec<_> = all
        .map(|(tree, key)| put(tree, key, format!("{tree} {}", key.escape_ascii())))
        .collect();
    state.apply_batch(&ops, &mark(1))?;
    Ok(state)
}

fn scan_tree(rig: &mut dyn StateRig) -> Outcome {
    let state = filled(rig, &["t", "ta", "s", "u"], &[b"", b"a", b"aa"])?;
    for tree in ["t", "ta", "u"] {
        let found = scan(&*state, tree, b"")?;
        same(tree, found, vec![b"".to_vec(), b"a".to_vec(), b"aa".to_vec()])?;
    }
    same("a tree that is not there", scan(&*state, "v", b"")?, vec![])
}

fn scan_prefix(rig: &mut dyn StateRig) -> Outcome {
    let keys: [&[u8]; 8] = [
        b"a",
        b"aa",
        b"ab",
        b"abc",
        b"b",
        b"\xff",
        b"\xff\xff",
        b"\xff\xff\x00",
    ];
    let state = filled(rig, &["t", "u"], &keys)?;
    for prefix in [
        &b"a"[..],
        b"ab",
        b"abc",
        b"abcd",
        b"b",
        b"c",
        b"\xff",
        b"\xff\xff",
        b"\xff\xff\xff",
    ] {
        let want = keys
            .iter()
            .filter(|key| key.starts_with(prefix))
            .map(|key| key.to_vec())
            .collect();
        same(
            &format!("prefix {}", prefix.escape_ascii()),
            scan(&*state, "t", prefix)?,
            want,
        )?;
    }
    Ok(())
}

fn scan_order(rig: &mut dyn StateRig) -> Outcome {
    let mut keys: Vec<Vec<u8>> = (0..=255_u8).rev().map(|byte| vec![byte]).collect();
    keys.extend([vec![7, 0], vec![7, 255], vec![128, 1], vec![]]);
    let given: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let state = filled(rig, &["t"], &given)?;
    keys.sort_unstable();
    same("keys", scan(&*state, "t", b"")?, keys)
}

fn scan_stops(rig: &mut dyn StateRig) -> Outcome {
    let state = filled(rig, &["t"], &[b"a", b"ab", b"ac", b"b"])?;
    for most in 1..=5 {
        let mut seen = 0;
        state.scan_prefix("t", b"a", &mut |_| {
            seen += 1;
            Ok(seen < most)
        })?;
        same(&format!("rows visited of {most}"), seen, most.min(3))?;
    }
    Ok(())
}

fn visit_order(rig: &mut dyn StateRig) -> Outcome {
    let keys: [&[u8]; 4] = [b"", b"\0", b"k", b"\xff"];
    let state = filled(rig, &["ab", "b", "aa", "c", "abc", "B"], &keys)?;
    let mut found = Vec::new();
    state.visit_all(&mut |row| {
        found.push((row.tree, row.key.to_vec()));
        Ok(())
    })?;
    let trees = ["B", "b", "c", "aa", "ab", "abc"];
    let want = trees
        .iter()
        .flat_map(|tree| keys.iter().map(|key| ((*tree).to_owned(), key.to_vec())));
    same("rows", found, want.collect())
}

fn visitor_fails(rig: &mut dyn StateRig) -> Outcome {
    let state = filled(rig, &["t"], &[b"a", b"b", b"c"])?;
    let own = || StoreError::Refused {
        what: "the visitor's own".to_owned(),
    };
    let mut seen = 0;
    let mut scanned = |row: Row| {
        seen += 1;
        if row.key == "b" { Err(own()) } else { Ok(true) }
    };
    let answer = state.scan_prefix("t", b"", &mut scanned);
    holds("a scan must end with its visitor's error", told(answer))?;
    same("rows scanned", seen, 2)?;
    let mut seen = 0;
    let mut visited = |row: Row| {
        seen += 1;
        if row.key == "b" { Err(own()) } else { Ok(()) }
    };
    let answer = state.visit_all(&mut visited).map(drop);
    holds("a visit must end with its visitor's error", told(answer))?;
    same("rows visited", seen, 2)?;
    Ok(state.apply_batch(&[], &mark(2))?)
}

fn told(answer: Result<(), StoreError>) -> bool {
    answer.is_err_and(|error| error.to_string().contains("the visitor's own"))
}

fn one_mark(rig: &mut dyn StateRig) -> Outcome {
    const LAST: u64 = 300;
    const EACH: u64 = 10;
    let mut images = vec![Image::default()];
    for index in 1..=LAST {
        let mut image = images[images.len() - 1].clone();
        image.apply(&changes(index));
        images.push(image);
    }
    let state = rig.open()?;
    // The writer waits now and then for a visit to end, so that visits and writes overlap on every machine.
    let (visits, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let write = || {
        (1..=LAST).try_for_each(|index| {
            while visits.load(Ordering::SeqCst) < index / EACH && !over.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            state.apply_batch(&changes(index), &mark(index))
        })
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(write);
        let mut visited = Ok(());
        while visited.is_ok() && !writer.is_finished() {
            visited = consistent(&*state, &images);
            visits.fetch_add(1, Ordering::SeqCst);
        }
        over.store(true, Ordering::SeqCst);
        let written = writer.join();
        written.map_err(|_| Broken("the writer panicked".to_owned()))??;
        visited
    })?;
    stands(&*state, &images[LAST as usize], Some(&mark(LAST)))
}

/// More rows than anybody takes at a time, and every kind of change of them in the middle of a visit: it is not held up, and not seen.
fn writes_go_on(rig: &mut dyn StateRig) -> Outcome {
    const ROWS: u64 = 1_500;
    let key = |number: u64| Bytes::from(format!("{number:06}"));
    let op = |number: u64, value: Option<&'static str>| RowOp {
        tree: "t".to_owned(),
        key: key(number),
        value: value.map(|value| Bytes::from_static(value.as_bytes())),
    };
    let state = rig.open()?;
    let all: Vec<_> = (0..ROWS).map(|number| op(number * 2, Some("old"))).collect();
    state.apply_batch(&all, &mark(1))?;
    let mut seen = Vec::new();
    let mut begun = None;
    let mut index = 1;
    state.visit_at(
        &mut |at| {
            begun = at.cloned();
            Ok(())
        },
        &mut |row| {
            seen.push(row);
            // Before and behind where the visit is, and at its end: changed, taken away, put there.
            let here = seen.len() as u64;
            if here.is_multiple_of(100) {
                index += 1;
                let changes = [
                    op(here, Some("new")),
                    op(2 * (ROWS - here), Some("new")),
                    op(2 * (ROWS - here) + 2, None),
                    op(2 * (ROWS - here) + 1, Some("put")),
                    op(2 * ROWS + here, Some("put")),
                    op(2 * ROWS - 2, None),
                ];
                state.apply_batch(&changes, &mark(index))?;
                // Twice: what was there first counts.
                index += 1;
                state.apply_batch(&[op(2 * (ROWS - here), None)], &mark(index))?;
            }
            Ok(())
        },
    )?;
    same("the mark", begun, Some(mark(1)))?;
    let found: Vec<_> = seen.into_iter().map(|row| (row.key, row.value)).collect();
    let want: Vec<_> = (0..ROWS)
        .map(|number| (key(number * 2), Bytes::from_static(b"old")))
        .collect();
    same("rows", found.len(), want.len())?;
    holds("the rows must be those of the mark", found == want)?;
    // Who comes later sees what was changed.
    same(
        "the mark after it",
        state.visit_all(&mut |_| Ok(()))?,
        Some(mark(index)),
    )
}

/// Visits once, while others write; the rows must be those of the mark.
fn consistent(state: &dyn StateDb, images: &[Image]) -> Outcome {
    let mut rows = Vec::new();
    let at = state.visit_all(&mut |row| {
        rows.push(row);
        Ok(())
    })?;
    let index = at.map_or(0, |at| at.last.index);
    match Image::of(&rows).difference(&images[index as usize]) {
        None => Ok(()),
        Some(what) => Err(Broken(format!("at {index}, {what}"))),
    }
}
