//! Durations and their quantiles.

use std::fmt;
use std::time::Duration;

/// Durations of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures(Vec<Duration>);

impl Figures {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// The duration that so many of a hundred do not exceed (nearest rank). Of nothing: the longest there is, so that
    /// what was not measured never holds.
    pub(super) fn quantile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p95, most] = [50, 95, 100].map(|percent| self.quantile(percent).as_millis());
        write!(
            f,
            "n {}, p50 {median} ms, p95 {p95} ms, max {most} ms",
            self.0.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Figures {
        Figures(millis.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let figures = of((1..=200).rev());
        assert_eq!(figures.quantile(50), Duration::from_millis(100));
        assert_eq!(figures.quantile(95), Duration::from_millis(190));
        assert_eq!(figures.quantile(100), Duration::from_millis(200));
        assert_eq!(of([7]).quantile(95), Duration::from_millis(7));
        assert_eq!(figures.to_string(), "n 200, p50 100 ms, p95 190 ms, max 200 ms");
    }

    #[test]
    fn nothing_measured_is_never_fast_enough() {
        assert_eq!(Figures::default().quantile(95), Duration::MAX);
    }
}
