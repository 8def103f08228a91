//! Cases over crashes: an earlier mark or none, never between two marks, never before what was made durable.

use super::{Case, Image, StateRig, changes, look, mark, stands};
use crate::conformance::{Broken, Outcome, holds};
use crate::state_db::StateDb;

pub(super) const CASES: &[(&str, Case)] = &[
    ("flushed_batches_survive_a_crash", flushed),
    ("a_crash_never_stands_between_two_marks", between),
    ("a_crash_never_goes_behind_the_last_flush", behind_the_flush),
];

/// Applies the records of a range, one batch each.
fn live(state: &dyn StateDb, records: std::ops::RangeInclusive<u64>) -> Outcome {
    for index in records {
        state.apply_batch(&changes(index), &mark(index))?;
    }
    Ok(())
}

/// Fails unless the rows are exactly those of the mark; gives the mark's index, 0 for none.
fn at_a_mark(state: &dyn StateDb) -> Result<u64, Broken> {
    let (found, at) = look(state)?;
    let index = at.as_ref().map_or(0, |at| at.last.index);
    if at.is_some_and(|at| at != mark(index)) {
        return Err(Broken(format!("the mark of {index} is another")));
    }
    match found.difference(&Image::at(index)) {
        None => Ok(index),
        Some(what) => Err(Broken(format!("it stands between two marks: at {index}, {what}"))),
    }
}

fn flushed(rig: &mut dyn StateRig) -> Outcome {
    let mut state = rig.open()?;
    let mut next = 1;
    for count in [1, 7, 1, 40] {
        live(&*state, next..=next + count - 1)?;
        next += count;
        state.flush()?;
        state = rig.crash(state)?;
        stands(&*state, &Image::at(next - 1), Some(&mark(next - 1)))?;
    }
    Ok(())
}

/// Lives, flushes sometimes and crashes often, each time over rows that are exactly those of a mark; `check` gets
/// the last record flushed, the last applied, and the one the crash left. What a crash took is applied again.
fn many_crashes(rig: &mut dyn StateRig, check: fn(u64, u64, u64) -> Outcome) -> Outcome {
    let mut state = rig.open()?;
    let (mut at, mut durable) = (0, 0);
    for round in 0..16_u64 {
        let last = at + 2 + round % 5;
        live(&*state, at + 1..=at + 2)?;
        if round % 4 == 1 {
            state.flush()?;
            durable = at + 2;
        }
        live(&*state, at + 3..=last)?;
        state = rig.crash(state)?;
        at = at_a_mark(&*state)?;
        check(durable, last, at)?;
    }
    live(&*state, at + 1..=at + 50)?;
    let state = rig.restart(state)?;
    stands(&*state, &Image::at(at + 50), Some(&mark(at + 50)))
}

fn between(rig: &mut dyn StateRig) -> Outcome {
    many_crashes(rig, |_, _, _| Ok(()))
}

fn behind_the_flush(rig: &mut dyn StateRig) -> Outcome {
    many_crashes(rig, |durable, last, at| {
        let what = format!("after a crash it stands at {at}, where {durable} was flushed and {last} applied");
        holds(&what, (durable..=last).contains(&at))
    })
}
