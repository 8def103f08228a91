//! How long to wait before trying again: exponential, with full jitter.

/// Delays that grow with each failure. Full jitter (a uniform draw from zero to the bound) keeps a fleet that lost
/// its controller at one moment from coming back at one moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    base_ms: u64,
    cap_ms: u64,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// Starts with no failures; `seed` makes the draws.
    pub const fn new(base_ms: u64, cap_ms: u64, seed: u64) -> Self {
        Self {
            base_ms,
            cap_ms,
            failures: 0,
            random: seed,
        }
    }

    /// The delay before the next attempt, milliseconds; counts a failure.
    pub fn after_failure(&mut self) -> u64 {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let bound = self.base_ms.saturating_mul(factor).min(self.cap_ms);
        self.failures = self.failures.saturating_add(1);
        self.draw(bound)
    }

    /// Forgets the failures.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// A number from zero to `bound`, both included (SplitMix64).
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        bound.checked_add(1).map_or(mixed, |range| mixed % range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_start_again() {
        let longest = |failures: usize| {
            let draws = (0..200).map(|seed| {
                let mut backoff = Backoff::new(500, 60_000, seed);
                (0..=failures)
                    .map(|_| backoff.after_failure())
                    .last()
                    .unwrap_or(0)
            });
            draws.max().unwrap_or(0)
        };
        assert!((400..=500).contains(&longest(0)));
        assert!((1_600..=2_000).contains(&longest(2)));
        for failures in [10, 63, 64, 200] {
            assert!((50_000..=60_000).contains(&longest(failures)), "{failures}");
        }
        let mut backoff = Backoff::new(500, 60_000, 7);
        for _ in 0..9 {
            backoff.after_failure();
        }
        backoff.succeeded();
        assert!(backoff.after_failure() <= 500);
    }

    #[test]
    fn agents_with_other_seeds_come_back_at_other_times() {
        let delays: std::collections::BTreeSet<u64> = (0..100)
            .map(|seed| Backoff::new(10_000, 60_000, seed).after_failure())
            .collect();
        assert!(delays.len() > 90, "{}", delays.len());
    }
}
