//! Applies batches of 1 to 4 records as a member does, makes them durable after one batch or hundreds, and now and
//! then replaces everything by a later snapshot. Every other time by itself, which has the engine write each batch, and else behind what
//! members put in front of it.

use std::sync::Arc;

use verger_controller_store::conformance::state::{Image, changes, mark};
use verger_controller_store::{Reached, SledState, StateDb, WriteBehind};

use crate::{Failure, Wish, say};

/// So many batches come between two flushes at most, as a power of two, each as likely as the next: the engine gives
/// space back and takes it again in between.
const BATCHES_POWERS: u64 = 9;
/// Every so many times, a snapshot comes instead of a flush.
const REPLACE_EVERY: u64 = 24;
/// A snapshot is so many records ahead.
const AHEAD: u64 = 20;

pub(crate) fn write(
    Wish {
        dir,
        barrier,
        mut dice,
        ..
    }: Wish,
) -> Result<(), Failure> {
    let sled = if barrier {
        SledState::open(&dir)?
    } else {
        SledState::open_without_barrier(&dir)?
    };
    let mut state: Arc<dyn StateDb> = Arc::new(sled);
    if dice.roll(2) == 0 {
        state = Arc::new(WriteBehind::start(state, Reached::everything())?);
    }
    let mut at = state.applied()?.map_or(0, |mark| mark.last.index);
    let mut image = Image::at(at);
    loop {
        let bound = 1 << dice.roll(BATCHES_POWERS + 1);
        for _ in 0..=dice.roll(bound) {
            let last = at + 1 + dice.roll(4);
            let ops: Vec<_> = (at + 1..=last).flat_map(changes).collect();
            say("begin", last)?;
            state.apply_batch(&ops, &mark(last))?;
            image.apply(&ops);
            at = last;
        }
        if dice.roll(REPLACE_EVERY) == 0 {
            (at + 1..=at + AHEAD).for_each(|index| image.apply(&changes(index)));
            at += AHEAD;
            say("replace", at)?;
            state.replace_all(&mut image.rows().into_iter().map(Ok), &mark(at))?;
        } else {
            state.flush()?;
        }
        say("ack", at)?;
    }
}
