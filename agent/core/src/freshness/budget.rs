//! How far members may move time ahead of this host's own clocks by their word alone: [`FURTHEST`] at once, and as much again as that
//! clock goes on. A majority of members that was taken over can make time run twice as fast, and no faster.

use jiff::{SignedDuration, Timestamp};

use super::{FURTHEST, millis};
use crate::session::Now;

/// What a run leaves to the next: without it a restart would give back what was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTime {
    /// The latest time that members said, as far as it was believed.
    pub at: Timestamp,
    /// How far they moved time ahead by their word alone, and that has not come back. Whole seconds.
    pub spent: SignedDuration,
    /// What this host's clock of the day said when that was so.
    pub wall: Timestamp,
}

/// Nothing was spent.
impl From<Timestamp> for KnownTime {
    fn from(at: Timestamp) -> Self {
        Self {
            at,
            spent: SignedDuration::ZERO,
            wall: at,
        }
    }
}

/// What was spent, and when that was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    spent: SignedDuration,
    /// Monotonic milliseconds.
    millis: u64,
}

impl Budget {
    /// Goes on from an earlier run. How long ago that was, only the clock of the day says: one that went back gives nothing back.
    pub(super) fn of(known: Option<KnownTime>, now: Now) -> Self {
        let spent = known.map_or(SignedDuration::ZERO, |known| {
            less(known.spent, now.wall.duration_since(known.wall))
        });
        Self {
            spent,
            millis: now.millis,
        }
    }

    pub(super) fn spent(self, now: Now) -> SignedDuration {
        less(self.spent, millis(now.millis.saturating_sub(self.millis)))
    }

    pub(super) fn left(self, now: Now) -> SignedDuration {
        less(FURTHEST, self.spent(now))
    }

    pub(super) fn spend(&mut self, gained: SignedDuration, now: Now) {
        *self = Self {
            spent: self.spent(now).saturating_add(gained),
            millis: now.millis,
        };
    }
}

fn less(one: SignedDuration, other: SignedDuration) -> SignedDuration {
    one.saturating_sub(other.max(SignedDuration::ZERO))
        .max(SignedDuration::ZERO)
}
