//! The rows of one mark, no earlier than the last one acknowledged, no later than what was begun. While everything
//! was being replaced there may also be nothing.

use std::io::Write;

use verger_controller_store::conformance::state::{Image, mark};
use verger_controller_store::{SledState, StateDb, StoreError};

use crate::{Found, Wish, shown};

pub(crate) fn verify(wish: &Wish) -> Result<Found, StoreError> {
    let state = match SledState::open(&wish.dir) {
        // What a member does: it has to build the rows again, so that it stands at none.
        Err(damage) if damage.is_damage() => {
            let _ = writeln!(std::io::stderr(), "discarded: {damage}");
            SledState::discard(&wish.dir)?;
            SledState::open(&wish.dir)?
        }
        opened => opened?,
    };
    let mut rows = Vec::new();
    let at = state.visit_all(&mut |row| {
        rows.push(row);
        Ok(())
    })?;
    let index = at.as_ref().map(|at| at.last.index);
    let wrong = Image::of(&rows).difference(&Image::at(index.unwrap_or(0)));
    if let Some(wrong) = &wrong {
        // The exit code says that something is wrong.
        let _ = writeln!(std::io::stderr(), "{wrong}");
    }
    let expected = match index {
        None => wish.acked.is_none() || wish.replacing.is_some(),
        Some(index) => {
            let lived = wish.acked <= Some(index) && Some(index) <= wish.begun.max(wish.acked);
            lived || wish.replacing == Some(index)
        }
    };
    Ok(Found {
        line: format!("mark {} rows {}", shown(index), rows.len()),
        sound: expected && wrong.is_none() && at == index.map(mark),
    })
}
