//! A sequence of operations, compared with a vector after every step.

use std::sync::Arc;

use super::{LogRig, everything, sized};
use crate::StoreError;
use crate::conformance::{Broken, ConformanceFailure, Outcome, same};
use crate::log_db::{LogDb, LogId, LogRecord};

/// One step. Numbers are relative to the present log, so that every sequence makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOp {
    /// Appends `count` records of `size` bytes, the term raised by `term`.
    Append {
        /// How many records.
        count: u8,
        /// How much the term rises.
        term: u8,
        /// The size of each payload.
        size: u16,
    },
    /// Appends a record that leaves a gap, which must be refused.
    Gap,
    /// Keeps this many 256ths of the records.
    Truncate(u8),
    /// Purges this many 128ths of the records; more than 128 reach behind the end.
    Purge(u8),
    /// Votes.
    Vote(u8),
    /// Reads a part: the start in 256ths, a number of records and a limit of bytes.
    Read(u8, u8, u16),
    /// Stops in order and starts.
    Restart,
    /// Crashes and starts.
    Crash,
}

#[derive(Default)]
struct Model {
    records: Vec<LogRecord>,
    purged: Option<LogId>,
    vote: Option<Vec<u8>>,
    term: u64,
}

impl Model {
    fn next_index(&self) -> u64 {
        self.records
            .last()
            .map(LogRecord::id)
            .or(self.purged)
            .map_or(0, |id| id.index + 1)
    }

    fn part(&self, of: u64, parts: u64) -> usize {
        (self.records.len() as u64 * of / parts) as usize
    }
}

/// Runs the steps over a fresh rig.
pub fn check_ops(rig: &mut dyn LogRig, ops: &[LogOp]) -> Result<(), ConformanceFailure> {
    let mut at = 0;
    steps(rig, ops, &mut at).map_err(|Broken(what)| ConformanceFailure {
        case: "operations agree with the model",
        what: format!("step {at} ({:?}): {what}", ops.get(at)),
    })
}

fn steps(rig: &mut dyn LogRig, ops: &[LogOp], at: &mut usize) -> Outcome {
    let mut log = rig.open()?;
    let mut model = Model::default();
    for (step, op) in ops.iter().enumerate() {
        *at = step;
        log = apply(rig, log, &mut model, *op)?;
        same("records", everything(&*log)?, model.records.clone())?;
        same("last", log.last()?, model.records.last().map(LogRecord::id))?;
        same("purged", log.last_purged()?, model.purged)?;
        same("vote", log.vote()?.map(|vote| vote.to_vec()), model.vote.clone())?;
    }
    same(
        "checked records",
        log.check()?.records,
        model.records.len() as u64,
    )
}

fn apply(
    rig: &mut dyn LogRig,
    log: Arc<dyn LogDb>,
    model: &mut Model,
    op: LogOp,
) -> Result<Arc<dyn LogDb>, Broken> {
    match op {
        LogOp::Append { count, term, size } => {
            model.term += u64::from(term);
            let first = model.next_index();
            let fresh: Vec<_> = (first..first + u64::from(count))
                .map(|index| sized(index, model.term, size.into()))
                .collect();
            log.append(&fresh)?;
            model.records.extend(fresh);
        }
        LogOp::Gap => {
            if model.next_index() > 0 {
                match log.append(&[sized(model.next_index() + 1, model.term, 1)]) {
                    Err(StoreError::OutOfOrder { .. }) => {}
                    other => return Err(Broken(format!("a gap was answered {other:?}"))),
                }
            }
        }
        LogOp::Truncate(part) => {
            let kept = model.part(part.into(), 256);
            let keep = match kept {
                0 => None,
                kept => Some(model.records[kept - 1].index),
            };
            log.truncate_after(keep)?;
            model.records.truncate(kept);
        }
        LogOp::Purge(part) => {
            let upto = match model.part(part.into(), 128) {
                0 => return Ok(log),
                count if count <= model.records.len() => model.records[count - 1].id(),
                beyond => LogId {
                    index: model.next_index() + beyond as u64,
                    term: model.term,
                },
            };
            log.purge_to(upto)?;
            model.records.retain(|record| record.index > upto.index);
            model.purged = Some(upto);
        }
        LogOp::Vote(vote) => {
            let vote = vec![vote; usize::from(vote % 40)];
            log.save_vote(&vote)?;
            model.vote = Some(vote);
        }
        LogOp::Read(part, count, limit) => {
            let start = model.part(part.into(), 256);
            let first = model.records.get(start).map_or(0, |record| record.index);
            let mut bytes = 0;
            let want: Vec<_> = model.records[start..]
                .iter()
                .take(count.into())
                .enumerate()
                .take_while(|(position, record)| {
                    bytes += record.payload.len();
                    *position == 0 || bytes <= usize::from(limit)
                })
                .map(|(_, record)| record.clone())
                .collect();
            same(
                "a part",
                log.read_range(first..first + u64::from(count), limit.into())?,
                want,
            )?;
        }
        LogOp::Restart => return Ok(rig.restart(log)?),
        LogOp::Crash => return Ok(rig.crash(log)?),
    }
    Ok(log)
}
