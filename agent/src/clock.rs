//! The clocks of one run: both of them, from one beginning.

use std::time::Instant;

use jiff::Timestamp;
use verger_agent_core::session::Now;

/// Counts from when the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// What both say now.
    pub(crate) fn now(self) -> Now {
        Now {
            millis: u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall: Timestamp::now(),
        }
    }
}
