//! What every [`LogDb`] keeps.

mod cases;
mod model;
mod writer_cases;

use std::sync::Arc;

use bytes::Bytes;

pub use self::model::{LogOp, check_ops};
use super::{ConformanceFailure, Outcome};
use crate::StoreError;
use crate::log_db::{LogDb, LogRecord};

/// One log that can be stopped and started again.
pub trait LogRig {
    /// Opens the log, which is empty the first time.
    fn open(&mut self) -> Result<Arc<dyn LogDb>, StoreError>;

    /// Stops the log in order and opens it again. `log` is the only handle.
    fn restart(&mut self, log: Arc<dyn LogDb>) -> Result<Arc<dyn LogDb>, StoreError> {
        drop(log);
        self.open()
    }

    /// Stops the log as a crash does, losing whatever the implementation had not made durable, and opens it
    /// again.
    fn crash(&mut self, log: Arc<dyn LogDb>) -> Result<Arc<dyn LogDb>, StoreError>;
}

type Case = fn(&mut dyn LogRig) -> Outcome;

/// Runs every case, each over a rig of its own, and gives their number.
pub fn check_all(fresh: &mut dyn FnMut() -> Box<dyn LogRig>) -> Result<usize, ConformanceFailure> {
    let cases = || cases::CASES.iter().chain(writer_cases::CASES);
    for (case, run) in cases() {
        run(&mut *fresh()).map_err(|broken| broken.of(case))?;
    }
    Ok(cases().count())
}

/// Makes the record of an index, its payload told by index and term.
pub(crate) fn record(index: u64, term: u64) -> LogRecord {
    sized(index, term, 24)
}

pub(crate) fn sized(index: u64, term: u64, size: usize) -> LogRecord {
    let seed = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ term.wrapping_mul(0xD1B5_4A32_D192_ED03);
    let payload: Bytes = (0..size as u64)
        .map(|at| (seed.rotate_left((at % 64) as u32) ^ at) as u8)
        .collect();
    LogRecord { index, term, payload }
}

pub(crate) fn records(indices: std::ops::RangeInclusive<u64>, term: u64) -> Vec<LogRecord> {
    indices.map(|index| record(index, term)).collect()
}

fn everything(log: &dyn LogDb) -> Result<Vec<LogRecord>, StoreError> {
    log.read_range(0..u64::MAX, usize::MAX)
}
