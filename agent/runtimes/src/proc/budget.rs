//! How many threads are read of one instance in one look: pure.
//!
//! A process has at most some thousand threads that are read, and an instance at most some ten thousand processes. Both
//! together would be hours of reading, which an instance could put on the agent at will.

use std::collections::BTreeMap;

/// Reading a thread takes some 50 µs. An instance with more is not shown at all: the rest could hide behind those that were
/// read.
pub(super) const MOST_THREADS_OF_ONE: usize = 16_384;

/// The threads read so far, by the place of the instance.
#[derive(Debug, Default)]
pub(super) struct Budget(BTreeMap<usize, usize>);

impl Budget {
    /// Begins another look.
    pub(super) fn renew(&mut self) {
        self.0.clear();
    }

    /// Whether so many threads more may be read of a process of these instances; then they count for each. Once there were
    /// too many of one, no more are read of it.
    pub(super) fn take(&mut self, places: impl IntoIterator<Item = usize>, threads: usize) -> bool {
        let mut within = true;
        for place in places {
            let read = self.0.entry(place).or_default();
            *read = read.saturating_add(threads);
            within &= *read <= MOST_THREADS_OF_ONE;
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_one_instance_is_bounded_however_it_is_spread() {
        for threads in [1, 100, 8_191, 8_192, MOST_THREADS_OF_ONE, MOST_THREADS_OF_ONE + 1] {
            let mut budget = Budget::default();
            let read: usize = (0..100_000)
                .filter(|_| budget.take([7], threads))
                .map(|_| threads)
                .sum();
            assert!(
                read <= MOST_THREADS_OF_ONE && read + threads > MOST_THREADS_OF_ONE,
                "{read} of {threads} each"
            );
            assert!(!budget.take([7], 1), "it is spent");
            assert!(budget.take([8], 1), "another one is not concerned");
            budget.renew();
            assert!(budget.take([7], 1));
        }
    }

    #[test]
    fn what_is_of_two_instances_counts_for_both() {
        let mut budget = Budget::default();
        assert!(budget.take([1, 2], MOST_THREADS_OF_ONE));
        assert!(!budget.take([2], 1));
        assert!(!budget.take([3, 1], 1));
    }
}
