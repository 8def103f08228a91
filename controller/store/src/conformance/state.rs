//! What every [`StateDb`] keeps.

mod crash_cases;
mod life;
mod model;
mod replace_cases;
mod row_cases;
mod scan_cases;

use std::sync::Arc;

use bytes::Bytes;

pub use self::life::{Image, changes, mark};
pub use self::model::{Change, StateOp, check_ops};
use super::{Broken, ConformanceFailure, Outcome, same};
use crate::StoreError;
use crate::state_db::{AppliedMark, Row, RowOp, StateDb};

/// One state that can be stopped and started again.
pub trait StateRig {
    /// Opens the state, which is empty the first time. What an implementation refuses as damaged is discarded and
    /// opened empty, as a member does.
    fn open(&mut self) -> Result<Arc<dyn StateDb>, StoreError>;

    /// Stops the state in order and opens it again. `state` is the only handle.
    fn restart(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError> {
        state.flush()?;
        drop(state);
        self.open()
    }

    /// Marks this moment as the one of a crash: what the state does from here on is lost. It may be in the midst
    /// of a call.
    fn cut(&mut self) -> Result<(), StoreError>;

    /// Opens what the cut left. `state` is the only handle.
    fn reopen(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError>;

    /// Crashes between two calls, and opens what is left.
    fn crash(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError> {
        self.cut()?;
        self.reopen(state)
    }
}

type Case = fn(&mut dyn StateRig) -> Outcome;

fn all() -> impl Iterator<Item = &'static (&'static str, Case)> {
    let parts = [
        row_cases::CASES,
        scan_cases::CASES,
        replace_cases::CASES,
        crash_cases::CASES,
    ];
    parts.into_iter().flatten()
}

/// Gives the names of the cases, in the order they run.
pub fn cases() -> impl Iterator<Item = &'static str> {
    all().map(|(case, _)| *case)
}

/// Runs every case, each over a rig of its own, up to the first that fails.
pub fn check_all(fresh: &mut dyn FnMut() -> Box<dyn StateRig>) -> Result<(), ConformanceFailure> {
    for (case, run) in all() {
        run(&mut *fresh()).map_err(|broken| broken.of(case))?;
    }
    Ok(())
}

fn put(tree: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> RowOp {
    RowOp {
        tree: tree.to_owned(),
        key: Bytes::copy_from_slice(key.as_ref()),
        value: Some(Bytes::copy_from_slice(value.as_ref())),
    }
}

fn delete(tree: &str, key: impl AsRef<[u8]>) -> RowOp {
    RowOp {
        value: None,
        ..put(tree, key, "")
    }
}

fn row(tree: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Row {
    Row {
        tree: tree.to_owned(),
        key: Bytes::copy_from_slice(key.as_ref()),
        value: Bytes::copy_from_slice(value.as_ref()),
    }
}

/// Reads every row and the mark, and holds against each other what two ways of asking give.
fn look(state: &dyn StateDb) -> Result<(Image, Option<AppliedMark>), Broken> {
    let mut rows = Vec::new();
    let mark = state.visit_all(&mut |row| {
        rows.push(row);
        Ok(())
    })?;
    same("the mark asked for", state.applied()?, mark.clone())?;
    Ok((Image::of(&rows), mark))
}

/// Fails unless the state stands at `mark` with exactly these rows.
fn stands(state: &dyn StateDb, image: &Image, mark: Option<&AppliedMark>) -> Outcome {
    let (found, at) = look(state)?;
    same("the mark", at.as_ref(), mark)?;
    match found.difference(image) {
        None => Ok(()),
        Some(what) => Err(Broken(format!("at {at:?}, {what}"))),
    }
}

/// Fails unless the state is as it was when it was made.
fn stands_empty(state: &dyn StateDb) -> Outcome {
    stands(state, &Image::default(), None)
}
