//! A sequence of operations, compared with a map after every step.

use std::sync::Arc;

use super::{Image, StateRig, delete, look, mark, put, row, stands};
use crate::StoreError;
use crate::conformance::{Broken, ConformanceFailure, Outcome, holds, same};
use crate::state_db::{AppliedMark, MAX_ROW_BYTES, Row, RowOp, StateDb};

/// One change; any numbers make sense, and few places make them meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Chooses the tree.
    pub tree: u8,
    /// Chooses the key.
    pub key: u8,
    /// How many bytes are stored; `None` deletes.
    pub size: Option<u16>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateOp {
    /// Applies a batch, its mark `ahead` records and one more behind the present one.
    Apply {
        /// The changes, in order.
        changes: Vec<Change>,
        /// How many records are left out.
        ahead: u8,
    },
    /// Applies a batch so many records before the next, which must be refused.
    Stale(u8),
    /// Applies a batch that ends with a value over the limit, which must be refused.
    TooLarge(Change),
    /// Scans a tree by a prefix, for so many rows.
    Scan {
        /// Chooses the tree.
        tree: u8,
        /// Chooses the prefix.
        prefix: u8,
        /// The rows after which the visitor stops.
        most: u8,
    },
    /// Replaces everything; deletions among the changes take rows of the snapshot out again.
    Replace {
        /// What makes the snapshot's rows.
        changes: Vec<Change>,
        /// The index of its mark.
        index: u8,
    },
    /// Replaces everything by a snapshot that fails after its rows.
    FailedReplace(Vec<Change>),
    /// Makes everything durable.
    Flush,
    /// Stops in order and starts.
    Restart,
    /// Crashes and starts.
    Crash,
}

const TREES: [&str; 4] = ["t", "ta", "u", "aaa"];

impl Change {
    fn op(self, salt: u64) -> RowOp {
        let (tree, key) = (TREES[usize::from(self.tree) % TREES.len()], key(self.key));
        match self.size {
            Some(size) => put(tree, key, vec![salt as u8; size.into()]),
            None => delete(tree, key),
        }
    }
}

/// Up to three bytes; each is a prefix of others.
fn key(number: u8) -> Vec<u8> {
    let mut rest = number % 40;
    let mut key = Vec::new();
    while rest > 0 {
        key.push([0, b'k', 255][usize::from(rest % 3)]);
        rest /= 3;
    }
    key
}

/// A state the log has stood at.
#[derive(Debug, Clone, Default)]
struct Stand {
    mark: Option<AppliedMark>,
    image: Image,
}

/// The stands since the last durable one, which comes first; the last is the present one.
struct Model {
    stands: Vec<Stand>,
}

impl Model {
    fn now(&self) -> &Stand {
        self.stands.last().expect("it starts with one, and keeps one")
    }

    fn index(&self) -> u64 {
        self.now().mark.as_ref().map_or(0, |mark| mark.last.index)
    }

    fn durable(&mut self) {
        self.stands.drain(..self.stands.len() - 1);
    }

    /// Goes back to what a crash left.
    fn crashed(&mut self, found: Option<AppliedMark>) -> Outcome {
        let at = self.stands.iter().position(|stand| stand.mark == found);
        let at = at.ok_or_else(|| {
            Broken(format!(
                "after a crash it stands at {found:?}, where it never stood since the last flush"
            ))
        })?;
        self.stands.truncate(at + 1);
        Ok(())
    }
}

/// Runs the steps over a fresh rig.
pub fn check_ops(rig: &mut dyn StateRig, ops: &[StateOp]) -> Result<(), ConformanceFailure> {
    let mut at = 0;
    steps(rig, ops, &mut at).map_err(|Broken(what)| ConformanceFailure {
        case: "operations agree with the model",
        what: format!("step {at} ({:?}): {what}", ops.get(at)),
    })
}

fn steps(rig: &mut dyn StateRig, ops: &[StateOp], at: &mut usize) -> Outcome {
    let mut state = rig.open()?;
    let mut model = Model {
        stands: vec![Stand::default()],
    };
    for (step, op) in ops.iter().enumerate() {
        *at = step;
        state = apply(rig, state, &mut model, op, step as u64)?;
        let now = model.now();
        stands(&*state, &now.image, now.mark.as_ref())?;
    }
    Ok(())
}

fn apply(
    rig: &mut dyn StateRig,
    state: Arc<dyn StateDb>,
    model: &mut Model,
    op: &StateOp,
    salt: u64,
) -> Result<Arc<dyn StateDb>, Broken> {
    match op {
        StateOp::Apply { changes, ahead } => {
            let ops: Vec<_> = changes.iter().map(|change| change.op(salt)).collect();
            let at = mark(model.index() + 1 + u64::from(*ahead));
            state.apply_batch(&ops, &at)?;
            let mut image = model.now().image.clone();
            image.apply(&ops);
            model.stands.push(Stand {
                mark: Some(at),
                image,
            });
        }
        StateOp::Stale(back) => {
            if let Some(present) = &model.now().mark {
                let at = mark(present.last.index.saturating_sub((*back).into()));
                let answer = state.apply_batch(&[put("t", "stale", "1")], &at);
                holds(
                    "a stale batch must be refused",
                    matches!(answer, Err(StoreError::Refused { .. })),
                )?;
            }
        }
        StateOp::TooLarge(change) => {
            let ops = [change.op(salt), put("t", "large", vec![0; MAX_ROW_BYTES + 1])];
            let answer = state.apply_batch(&ops, &mark(model.index() + 1));
            holds(
                "a value over the limit must be refused",
                matches!(answer, Err(StoreError::TooLarge { .. })),
            )?;
        }
        StateOp::Scan { tree, prefix, most } => scan(&*state, model, *tree, *prefix, (*most).into())?,
        StateOp::Replace { changes, index } => {
            let mut image = Image::default();
            changes.iter().for_each(|change| image.apply(&[change.op(salt)]));
            let at = mark((*index).into());
            state.replace_all(&mut image.rows().into_iter().map(Ok), &at)?;
            model.stands = vec![Stand {
                mark: Some(at),
                image,
            }];
        }
        StateOp::FailedReplace(changes) => {
            let mut image = Image::default();
            changes.iter().for_each(|change| image.apply(&[change.op(salt)]));
            let error = StoreError::Refused {
                what: "the snapshot ended early".to_owned(),
            };
            let mut rows = image.rows().into_iter().map(Ok).chain([Err(error)]);
            holds(
                "a failed snapshot must be told",
                state.replace_all(&mut rows, &mark(1)).is_err(),
            )?;
            model.stands = vec![Stand::default()];
        }
        StateOp::Flush => {
            state.flush()?;
            model.durable();
        }
        StateOp::Restart => {
            model.durable();
            return Ok(rig.restart(state)?);
        }
        StateOp::Crash => {
            let state = rig.crash(state)?;
            model.crashed(look(&*state)?.1)?;
            return Ok(state);
        }
    }
    Ok(state)
}

fn scan(state: &dyn StateDb, model: &Model, tree: u8, prefix: u8, most: usize) -> Outcome {
    let (tree, prefix) = (TREES[usize::from(tree) % TREES.len()], key(prefix));
    let all = model.now().image.rows();
    let inside = all
        .into_iter()
        .filter(|row| row.tree == tree && row.key.starts_with(&prefix));
    let want: Vec<Row> = inside.take(most.max(1)).collect();
    let mut found = Vec::new();
    state.scan_prefix(tree, &prefix, &mut |Row { tree, key, value }| {
        found.push(row(&tree, key, value));
        Ok(found.len() < most)
    })?;
    same("the rows scanned", found, want)
}
