//! Cases over loading a snapshot: all of it or nothing, and nothing of what was before.

use std::sync::Arc;

use super::{Case, Image, StateRig, changes, mark, put, row, stands, stands_empty};
use crate::StoreError;
use crate::conformance::{Outcome, holds, same};
use crate::state_db::{AppliedMark, MAX_ROW_BYTES, Row, StateDb};

pub(super) const CASES: &[(&str, Case)] = &[
    ("a_replacement_leaves_only_its_rows", only_its_rows),
    ("a_replacement_may_take_the_mark_back", mark_back),
    ("a_large_replacement_is_whole", large),
    ("a_replacement_by_nothing_leaves_a_mark", by_nothing),
    ("a_replacement_is_durable_on_return", durable),
    ("a_failed_replacement_leaves_nothing", failed),
    ("a_row_over_the_limit_fails_a_replacement", over_the_limit),
    ("a_crash_during_a_replacement_leaves_nothing", crash_during),
    (
        "a_crash_after_a_failed_replacement_brings_nothing_back",
        crash_after_failure,
    ),
];

fn replace(state: &dyn StateDb, rows: Vec<Row>, at: &AppliedMark) -> Result<(), StoreError> {
    state.replace_all(&mut rows.into_iter().map(Ok), at)
}

/// A state that has lived, all of it durable.
fn lived(rig: &mut dyn StateRig) -> Result<Arc<dyn StateDb>, StoreError> {
    let state = rig.open()?;
    for index in 1..=30 {
        state.apply_batch(&changes(index), &mark(index))?;
    }
    state.flush()?;
    Ok(state)
}

fn only_its_rows(rig: &mut dyn StateRig) -> Outcome {
    let state = lived(rig)?;
    let rows = vec![row("hosts", "new", "1"), row("t", "k", "2")];
    replace(&*state, rows.clone(), &mark(50))?;
    stands(&*state, &Image::of(&rows), Some(&mark(50)))?;
    let state = rig.restart(state)?;
    stands(&*state, &Image::of(&rows), Some(&mark(50)))?;
    same("a row of before", state.get("hosts", b"00000001")?, None)
}

fn mark_back(rig: &mut dyn StateRig) -> Outcome {
    let state = lived(rig)?;
    replace(&*state, Image::at(12).rows(), &mark(12))?;
    stands(&*state, &Image::at(12), Some(&mark(12)))?;
    holds(
        "record 12 must be refused after it",
        state.apply_batch(&[], &mark(12)).is_err(),
    )?;
    for index in 13..=40 {
        state.apply_batch(&changes(index), &mark(index))?;
    }
    let state = rig.restart(state)?;
    stands(&*state, &Image::at(40), Some(&mark(40)))
}

fn large(rig: &mut dyn StateRig) -> Outcome {
    let state = lived(rig)?;
    let rows: Vec<_> = (0..500)
        .map(|number| row("t", format!("{number:04}"), vec![number as u8; 9000]))
        .collect();
    replace(&*state, rows.clone(), &mark(40))?;
    stands(&*state, &Image::of(&rows), Some(&mark(40)))?;
    let state = rig.restart(state)?;
    stands(&*state, &Image::of(&rows), Some(&mark(40)))
}

fn by_nothing(rig: &mut dyn StateRig) -> Outcome {
    let state = lived(rig)?;
    replace(&*state, vec![], &mark(70))?;
    stands(&*state, &Image::default(), Some(&mark(70)))?;
    let state = rig.restart(state)?;
    stands(&*state, &Image::default(), Some(&mark(70)))
}

fn durable(rig: &mut dyn StateRig) -> Outcome {
    let mut state = lived(rig)?;
    for index in [35, 20, 60] {
        replace(&*state, Image::at(index).rows(), &mark(index))?;
        state = rig.crash(state)?;
        stands(&*state, &Image::at(index), Some(&mark(index)))?;
    }
    Ok(())
}

fn ended_early() -> StoreError {
    StoreError::Refused {
        what: "the snapshot ended early".to_owned(),
    }
}

fn failed(rig: &mut dyn StateRig) -> Outcome {
    let state = lived(rig)?;
    let mut rows = [Ok(row("t", "a", "1")), Err(ended_early()), Ok(row("t", "b", "2"))].into_iter();
    let answer = state.replace_all(&mut rows, &mark(50));
    let told = answer.is_err_and(|error| error.to_string().contains("ended early"));
    holds("the failure of a row must be handed on", told)?;
    stands_empty(&*state)?;
    let state = rig.restart(state)?;
    stands_empty(&*state)?;
    state.apply_batch(&[put("t", "k", "1")], &mark(1))?;
    replace(&*state, Image::at(9).rows(), &mark(9))?;
    stands(&*state, &Image::at(9), Some(&mark(9)))
}

fn over_the_limit(rig: &mut dyn StateRig) -> Outcome {
    let state = lived(rig)?;
    let rows = vec![row("t", "a", "1"), row("t", "b", vec![0; MAX_ROW_BYTES + 1])];
    let answer = replace(&*state, rows, &mark(50));
    let refused = matches!(answer, Err(StoreError::TooLarge { .. }));
    holds("a row over the limit must be refused as too large", refused)?;
    stands_empty(&*state)
}

fn crash_during(rig: &mut dyn StateRig) -> Outcome {
    let rows = Image::at(30).rows();
    let mut state = rig.open()?;
    for at in [0, 1, rows.len() / 2, rows.len()] {
        state.apply_batch(&changes(1), &mark(1))?;
        state.flush()?;
        let mut cut = Ok(());
        let mut given = 0;
        let mut feed = rows.iter().cloned().map(Ok);
        let mut cutting = std::iter::from_fn(|| {
            if given == at {
                cut = rig.cut();
            }
            given += 1;
            feed.next()
        });
        state.replace_all(&mut cutting, &mark(50))?;
        cut?;
        state = rig.reopen(state)?;
        stands_empty(&*state)?;
    }
    Ok(())
}

fn crash_after_failure(rig: &mut dyn StateRig) -> Outcome {
    let state = lived(rig)?;
    let mut rows = [Ok(row("t", "a", "1")), Err(ended_early())].into_iter();
    holds("it must fail", state.replace_all(&mut rows, &mark(50)).is_err())?;
    let state = rig.crash(state)?;
    stands_empty(&*state)
}
