//! Times of the same thing done in two ways, in turn.

use std::time::Duration;

/// Pairs of times.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    direct: Vec<f64>,
    through: Vec<f64>,
}

impl Pairs {
    /// How long it took past what is measured, and through it.
    pub(super) fn add(&mut self, direct: Duration, through: Duration) {
        self.direct.push(direct.as_secs_f64() * 1e3);
        self.through.push(through.as_secs_f64() * 1e3);
    }

    pub(super) fn len(&self) -> usize {
        self.direct.len()
    }

    /// Milliseconds that are added to one pair, at the middle. Of nothing: more than anything.
    pub(super) fn added(&self) -> f64 {
        median(
            self.direct
                .iter()
                .zip(&self.through)
                .map(|(direct, through)| through - direct)
                .collect(),
        )
    }

    /// Throughput that is kept of one pair, at the middle. Of nothing: none.
    pub(super) fn kept(&self) -> f64 {
        let kept = self.direct.iter().zip(&self.through);
        let ratios: Vec<f64> = kept.map(|(direct, through)| direct / through).collect();
        match ratios.is_empty() {
            true => 0.0,
            false => median(ratios),
        }
    }

    /// A line of a table: what, how often, the middle of each way, what is added and what is kept.
    pub(super) fn row(&self, what: &str) -> String {
        format!(
            "| {what} | {} | {:.2} | {:.2} | {:+.2} | {:.2} |\n",
            self.len(),
            median(self.direct.clone()),
            median(self.through.clone()),
            self.added(),
            self.kept()
        )
    }
}

/// The head of the table of such lines.
pub(super) const HEAD: &str =
    "| what | pairs | direct, ms | through, ms | added, ms | throughput kept |\n|---|---|---|---|---|---|\n";

pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]
    use super::*;

    #[test]
    fn pairs_are_compared_one_by_one() {
        let mut pairs = Pairs::default();
        // A slow moment hits both of a pair.
        for (direct, through) in [(10, 12), (100, 103), (20, 22)] {
            pairs.add(Duration::from_millis(direct), Duration::from_millis(through));
        }
        assert_eq!((pairs.len(), pairs.added().round()), (3, 2.0));
        assert!((pairs.kept() - 20.0 / 22.0).abs() < 1e-9);
        assert_eq!(
            (Pairs::default().added(), Pairs::default().kept()),
            (f64::MAX, 0.0)
        );
    }
}
