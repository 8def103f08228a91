//! The clocks of one run: both of them, from one beginning.

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};
use verger_agent_core::session::Now;

/// Counts from when the run began, and through times when the host was suspended (`CLOCK_BOOTTIME`, `clock_gettime(2)`): what was
/// fresh before is not fresh after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: u64,
}

impl Clock {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self { began: millis() }
    }

    /// What both say now.
    pub(crate) fn now(self) -> Now {
        Now {
            millis: millis().saturating_sub(self.began),
            wall: Timestamp::now(),
        }
    }
}

fn millis() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (tv_sec.unsigned_abs(), tv_nsec.unsigned_abs());
    seconds * 1_000 + nanos / 1_000_000
}
