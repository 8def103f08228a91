//! Waiting times between attempts: exponential, with full jitter, so that agents that lost one daemon or one
//! machine at the same moment do not come back in step.

use std::time::Duration;

/// The first wait is at most this.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer: an agent should see a daemon within seconds of its start.
const LONGEST: Duration = Duration::from_secs(5);

/// Waiting times.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub(super) fn next_wait(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.attempts.min(10)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        // Without randomness the longest wait is the polite one.
        let fraction = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        ceiling.mul_f64(fraction)
    }

    /// Starts anew, after something worked.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_growing_ceiling() {
        let mut backoff = Backoff::default();
        for attempt in 0..40 {
            assert!(backoff.next_wait() <= FIRST * (1 << attempt.min(10)));
        }
        assert!(backoff.next_wait() <= LONGEST);
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
