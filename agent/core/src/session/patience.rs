//! How much a controller may say that leads nowhere.
//!
//! Each message takes a turn. Turns come back with time, and all of them with every set that is written to the ledger: people
//! sealed it, so no controller can make one up. An honest controller says little else than a heartbeat every few seconds.

use super::Timing;

#[derive(Debug)]
pub(super) struct Patience {
    left: u32,
    /// When turns were last counted, milliseconds.
    at: u64,
}

impl Patience {
    pub(super) const fn new(timing: &Timing) -> Self {
        Self {
            left: timing.turns,
            at: 0,
        }
    }

    /// Takes a turn at `now`, milliseconds; says whether there was one.
    pub(super) fn spend(&mut self, now: u64, timing: &Timing) -> bool {
        let back = now.saturating_sub(self.at) / timing.turn_every;
        if back > 0 {
            let all = u64::from(self.left).saturating_add(back);
            self.left = u32::try_from(all).map_or(timing.turns, |all| all.min(timing.turns));
            self.at += back * timing.turn_every;
        }
        let Some(left) = self.left.checked_sub(1) else {
            return false;
        };
        self.left = left;
        true
    }

    pub(super) const fn restore(&mut self, timing: &Timing) {
        self.left = timing.turns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_end_and_come_back_with_time_and_with_a_set() {
        let timing = Timing {
            turns: 3,
            turn_every: 100,
            ..Timing::default()
        };
        let mut patience = Patience::new(&timing);
        let turns = |patience: &mut Patience, now| (0..9).filter(|_| patience.spend(now, &timing)).count();
        assert_eq!(turns(&mut patience, 0), 3);
        assert_eq!(turns(&mut patience, 99), 0);
        assert_eq!(turns(&mut patience, 250), 2);
        assert_eq!(turns(&mut patience, 299), 0);
        assert_eq!(turns(&mut patience, 300), 1, "no part of a turn is lost");
        patience.restore(&timing);
        assert_eq!(turns(&mut patience, 300), 3);
        assert_eq!(turns(&mut patience, u64::MAX), 3, "never more than that");
    }
}
