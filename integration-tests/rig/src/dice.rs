//! Random choices that can be repeated: the seed is printed, and can be given.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A series of choices (SplitMix64, <https://doi.org/10.1145/2714064.2660195>). Not for secrets.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The series of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed from the system.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn seed() -> Result<u64> {
        let mut bytes = [0; 8];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .context("reading /dev/urandom; give --seed instead")?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 below 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.roll() % if bound == 0 { 1 } else { bound }
    }

    /// One of these, each as likely as the next. None of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(usize::try_from(self.below(of.len() as u64)).ok()?)
    }

    /// From 1 to about `2^powers`, each power of two as likely as the next: the early life of a store counts too.
    pub const fn spread(&mut self, powers: u32) -> u64 {
        let bound = 1_u64 << (self.roll() % (powers as u64 + 1));
        1 + self.roll() % bound
    }

    /// Shorter than `most`, in microseconds' steps.
    pub fn pause(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.roll() % micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_choices_and_another_makes_others() {
        let choices = |seed| {
            let mut dice = Dice::new(seed);
            [dice.roll(), dice.spread(10), dice.roll()]
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn choices_reach_both_ends_and_stay_within() {
        let mut dice = Dice::new(1);
        let spread: Vec<u64> = (0..2000).map(|_| dice.spread(9)).collect();
        assert!(spread.iter().all(|number| (1..=512).contains(number)));
        assert!(spread.contains(&1) && spread.iter().any(|number| *number > 400));
        assert!((0..2000).all(|_| dice.below(3) < 3) && dice.below(0) == 0 && dice.pick::<u8>(&[]).is_none());
        assert!((0..2000).all(|_| dice.pause(Duration::from_millis(3)) < Duration::from_millis(3)));
    }
}
