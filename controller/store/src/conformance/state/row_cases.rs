//! Cases over rows, batches and the mark.

use bytes::Bytes;

use super::{Case, Image, StateRig, changes, delete, look, mark, put, row, stands, stands_empty};
use crate::StoreError;
use crate::conformance::{Outcome, holds, same};
use crate::log_db::LogId;
use crate::state_db::{AppliedMark, MAX_KEY_BYTES, MAX_ROW_BYTES, MAX_TREE_BYTES};

pub(super) const CASES: &[(&str, Case)] = &[
    ("a_fresh_state_is_empty_and_without_a_mark", fresh_is_empty),
    ("the_mark_keeps_its_term_and_membership", whole_mark),
    ("rows_read_back_under_their_tree_and_key", reads_back),
    ("a_deleted_row_is_gone", delete_removes),
    ("the_last_change_of_a_batch_wins", last_wins),
    ("an_empty_batch_moves_the_mark", empty_batch),
    ("the_mark_only_moves_forward", forward_only),
    ("rows_at_the_limit_are_kept", at_the_limit),
    ("what_is_over_a_limit_is_refused", over_the_limit),
    ("a_refused_batch_changes_nothing", all_or_nothing),
    ("a_restart_changes_nothing", restart),
];

fn fresh_is_empty(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    stands_empty(&*state)?;
    same("a row", state.get("t", b"k")?, None)?;
    let state = rig.restart(state)?;
    stands_empty(&*state)
}

fn reads_back(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    let ops = [
        put("t", "k", "1"),
        put("u", "k", "2"),
        put("t", "", "no key"),
        put("t", "empty", ""),
        put("t", [0, 255], [255, 0]),
        put("tk", "", "3"),
    ];
    state.apply_batch(&ops, &mark(1))?;
    state.apply_batch(&[put("t", "k", "other")], &mark(2))?;
    for (tree, key, want) in [
        ("t", &b"k"[..], Some(&b"other"[..])),
        ("u", b"k", Some(b"2")),
        ("t", b"", Some(b"no key")),
        ("t", b"empty", Some(b"")),
        ("t", &[0, 255], Some(&[255, 0])),
        ("tk", b"", Some(b"3")),
        ("u", b"", None),
        ("v", b"k", None),
    ] {
        let what = format!("row {} of {tree}", key.escape_ascii());
        same(&what, state.get(tree, key)?.as_deref(), want)?;
    }
    same("rows", look(&*state)?.0.rows().len(), ops.len())
}

fn delete_removes(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    state.apply_batch(&[put("t", "a", "1"), put("t", "b", "2")], &mark(1))?;
    state.apply_batch(&[delete("t", "a"), delete("t", "never")], &mark(2))?;
    same("the row", state.get("t", b"a")?, None)?;
    stands(&*state, &Image::of(&[row("t", "b", "2")]), Some(&mark(2)))?;
    let state = rig.restart(state)?;
    state.apply_batch(&[put("t", "a", "again")], &mark(3))?;
    same(
        "the new row",
        state.get("t", b"a")?.as_deref(),
        Some(&b"again"[..]),
    )
}

fn last_wins(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    let ops = [
        put("t", "k", "1"),
        delete("t", "k"),
        put("t", "k", "2"),
        put("t", "x", "3"),
        delete("t", "x"),
    ];
    state.apply_batch(&ops, &mark(1))?;
    let want = Image::of(&[row("t", "k", "2")]);
    stands(&*state, &want, Some(&mark(1)))?;
    stands(&*rig.restart(state)?, &want, Some(&mark(1)))
}

fn empty_batch(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    state.apply_batch(&[], &mark(3))?;
    stands(&*state, &Image::default(), Some(&mark(3)))?;
    let state = rig.restart(state)?;
    state.apply_batch(&[put("t", "k", "1")], &mark(4))?;
    state.apply_batch(&[], &mark(9))?;
    stands(
        &*rig.restart(state)?,
        &Image::of(&[row("t", "k", "1")]),
        Some(&mark(9)),
    )
}

fn whole_mark(rig: &mut dyn StateRig) -> Outcome {
    let mut state = rig.open()?;
    for (index, term, membership) in [(5, 0, &b"members"[..]), (6, 90, b""), (9, u64::MAX, &[0, 255, 0])] {
        let at = AppliedMark {
            last: LogId { index, term },
            membership: Bytes::copy_from_slice(membership),
        };
        state.apply_batch(&[put("t", "k", membership)], &at)?;
        same("the mark", state.applied()?, Some(at.clone()))?;
        state = rig.restart(state)?;
        same("the mark after a restart", state.applied()?, Some(at))?;
    }
    Ok(())
}

fn forward_only(rig: &mut dyn StateRig) -> Outcome {
    let mut state = rig.open()?;
    let want = Image::of(&[row("t", "k", "1")]);
    state.apply_batch(&[put("t", "k", "1")], &mark(7))?;
    for _ in 0..2 {
        for index in [0, 6, 7] {
            let answer = state.apply_batch(&[put("t", "k", "again")], &mark(index));
            let refused = matches!(answer, Err(StoreError::Refused { .. }));
            holds(&format!("record {index} must be refused after 7"), refused)?;
            stands(&*state, &want, Some(&mark(7)))?;
        }
        state = rig.restart(state)?;
    }
    Ok(state.apply_batch(&[], &mark(8))?)
}

fn at_the_limit(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    let ops = [
        put(&"t".repeat(MAX_TREE_BYTES), vec![b'k'; MAX_KEY_BYTES], "1"),
        put("t", "large", vec![7; MAX_ROW_BYTES]),
    ];
    state.apply_batch(&ops, &mark(1))?;
    let mut want = Image::default();
    want.apply(&ops);
    stands(&*state, &want, Some(&mark(1)))?;
    stands(&*rig.restart(state)?, &want, Some(&mark(1)))
}

fn over_the_limit(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    let long = "t".repeat(MAX_TREE_BYTES + 1);
    let key = vec![b'k'; MAX_KEY_BYTES + 1];
    for (what, op) in [
        ("a row", put("t", "k", vec![7; MAX_ROW_BYTES + 1])),
        ("the key of a row", put("t", &key, "1")),
        ("the key of a deleted row", delete("t", &key)),
        ("the name of a tree", put(&long, "k", "1")),
    ] {
        let answer = state.apply_batch(&[op], &mark(1));
        let refused = matches!(answer, Err(StoreError::TooLarge { .. }));
        holds(
            &format!("{what} over the limit must be refused as too large"),
            refused,
        )?;
    }
    let nameless = state.apply_batch(&[put("", "k", "1")], &mark(1));
    let refused = matches!(nameless, Err(StoreError::Refused { .. }));
    holds("a tree without a name must be refused", refused)?;
    holds(
        "a key over the limit must not be read",
        state.get("t", &key).is_err(),
    )?;
    holds(
        "a tree without a name must not be read",
        state.get("", b"k").is_err(),
    )?;
    let scan = state.scan_prefix("", b"", &mut |_| Ok(true));
    holds("a tree without a name must not be scanned", scan.is_err())
}

fn all_or_nothing(rig: &mut dyn StateRig) -> Outcome {
    let state = rig.open()?;
    state.apply_batch(&[put("t", "a", "1"), put("t", "b", "2")], &mark(1))?;
    let want = Image::of(&[row("t", "a", "1"), row("t", "b", "2")]);
    let mixed = [
        put("t", "a", "other"),
        delete("t", "b"),
        put("t", "c", vec![7; MAX_ROW_BYTES + 1]),
        put("t", "d", "3"),
    ];
    holds(
        "the batch must be refused",
        state.apply_batch(&mixed, &mark(2)).is_err(),
    )?;
    stands(&*state, &want, Some(&mark(1)))?;
    let state = rig.restart(state)?;
    stands(&*state, &want, Some(&mark(1)))?;
    Ok(state.apply_batch(&[put("t", "d", "3")], &mark(2))?)
}

fn restart(rig: &mut dyn StateRig) -> Outcome {
    let mut state = rig.open()?;
    for index in 1..=90 {
        state.apply_batch(&changes(index), &mark(index))?;
        if index % 30 == 0 {
            state = rig.restart(state)?;
            stands(&*state, &Image::at(index), Some(&mark(index)))?;
        }
    }
    Ok(())
}
