//! Waiting between attempts: exponential, with full jitter, so that ten thousand agents do not return at once.

use std::time::Duration;

/// The state of one series of attempts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    attempt: u32,
}

impl Backoff {
    /// The first wait is below `first`, and none is over `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, attempt: 0 }
    }

    /// The next wait: evenly spread below a bound that doubles. `random` is any random number.
    pub fn next(&mut self, random: u64) -> Duration {
        let bound = self.first.saturating_mul(1_u32 << self.attempt.min(20)).min(self.most);
        self.attempt = self.attempt.saturating_add(1);
        let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(random % (millis + 1))
    }

    /// Begins again, after a success.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let highest: Vec<Duration> = (0..12).map(|_| backoff.next(u64::MAX / 2)).collect();
        assert!(highest.iter().all(|wait| *wait <= Duration::from_secs(30)));
        assert!(backoff.next(30_000) == Duration::from_secs(30));
        backoff.reset();
        assert!(backoff.next(100) <= Duration::from_millis(100));
    }
}
