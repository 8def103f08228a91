//! What a target says of its inputs, and whether that is enough.

use super::{LEAST_FRAMED, MOST_MEMORY};

/// What the lines of generators begin with.
pub(super) const MARK: &str = "fuzz-counts ";

/// Inputs below which a share says nothing.
const FEWEST: u64 = 50;

/// Of one run of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// The inputs of the generator that made the most.
    pub(super) made: u64,
    /// Of each generator whose inputs have a framing: made, and passed it.
    framed: Vec<(u64, u64)>,
    pub(super) peak_kib: u64,
}

/// Reads the lines that generators print. None where there is none, or one that is not understood.
pub(super) fn read(told: &str) -> Option<Counts> {
    let mut counts = Counts {
        made: 0,
        framed: Vec::new(),
        peak_kib: 0,
    };
    // The test's name may stand before the first on its line.
    for (_, line) in told.lines().filter_map(|line| line.split_once(MARK)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["made", made, "framed", framed, "peak-kib", peak, ..] = words[..] else {
            return None;
        };
        let made: u64 = made.parse().ok()?;
        if framed != "-" {
            counts.framed.push((made, framed.parse().ok()?));
        }
        counts.made = counts.made.max(made);
        counts.peak_kib = counts.peak_kib.max(peak.parse().ok()?);
    }
    (counts.made > 0).then_some(counts)
}

impl Counts {
    /// The share of inputs that pass the framing, of the generator of which the fewest do, in percent. None where there is no
    /// framing, or where too few were made.
    pub(super) fn share(&self) -> Option<u64> {
        if self.made < FEWEST {
            return None;
        }
        let shares = self
            .framed
            .iter()
            .map(|(made, framed)| framed * 100 / made.max(&1));
        shares.min()
    }

    /// Whether there is a framing, and too few inputs to say how many pass it.
    pub(super) fn is_too_few(&self) -> bool {
        self.made < FEWEST && !self.framed.is_empty()
    }

    /// How many times the memory of idle it took.
    pub(super) fn memory(&self, idle: &Self) -> f64 {
        self.peak_kib as f64 / idle.peak_kib.max(1) as f64
    }

    /// What falls short.
    pub(super) fn wrong(&self, idle: &Self) -> Option<String> {
        let mut wrong = Vec::new();
        if let Some(share) = self.share().filter(|share| *share < LEAST_FRAMED) {
            wrong.push(format!(
                "{share} % of the inputs of a generator pass the framing, and {LEAST_FRAMED} % are to"
            ));
        }
        if self.peak_kib >= MOST_MEMORY * idle.peak_kib {
            wrong.push(format!(
                "it took {} KiB, and {} KiB idle",
                self.peak_kib, idle.peak_kib
            ));
        }
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_worst_generator_counts() {
        let told = "test a::fuzz::b ... \nfuzz-counts made 100 framed 90 peak-kib 900\n\nfuzz-counts made 100 framed 30 peak-kib 1000\nfuzz-counts made 7 framed - peak-kib 10\nok\n";
        let counts = read(told).unwrap();
        assert_eq!(
            (counts.made, counts.share(), counts.peak_kib),
            (100, Some(30), 1000)
        );
        let idle = |peak_kib| Counts {
            peak_kib,
            ..counts.clone()
        };
        assert_eq!(counts.wrong(&idle(501)), None);
        assert!(counts.wrong(&idle(500)).unwrap().contains("1000 KiB"));
        let few = read("fuzz-counts made 100 framed 19 peak-kib 1").unwrap();
        assert!(few.wrong(&idle(500)).unwrap().contains("19 %"));
    }

    #[test]
    fn what_has_no_framing_is_not_held_to_one_and_silence_is_no_count() {
        let counts = read("fuzz-counts made 500 framed - peak-kib 1").unwrap();
        assert_eq!((counts.share(), counts.wrong(&counts).is_some()), (None, false));
        let few = read("fuzz-counts made 49 framed 0 peak-kib 1").unwrap();
        assert_eq!((few.share(), few.is_too_few()), (None, true));
        assert_eq!(read("test a ... ok"), None);
        assert_eq!(read("fuzz-counts made many"), None);
    }
}
