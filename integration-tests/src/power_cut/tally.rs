//! What the rounds came to, and whether that is enough.

use super::{Kind, Plan};

/// The rounds of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    kind: Kind,
    rounds: u32,
    lost: u32,
    planted: u32,
    caught: u32,
    acknowledged: u64,
}

impl Tally {
    /// No rounds yet.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            rounds: 0,
            lost: 0,
            planted: 0,
            caught: 0,
            acknowledged: 0,
        }
    }

    /// Whether there are rounds to do, with barriers or without.
    pub(crate) const fn wants(&self, plan: &Plan, barrier: bool) -> bool {
        if barrier {
            self.rounds < plan.rounds
        } else {
            self.planted < plan.planted || (self.caught == 0 && self.planted < plan.patience)
        }
    }

    /// The number of the next round, with barriers or without.
    pub(crate) const fn next(&self, barrier: bool) -> u32 {
        1 + if barrier { self.rounds } else { self.planted }
    }

    /// Counts a round.
    pub const fn add(&mut self, barrier: bool, bad: bool, acknowledged: u64) {
        if barrier {
            self.rounds += 1;
            self.lost += bad as u32;
            self.acknowledged += acknowledged;
        } else {
            self.planted += 1;
            self.caught += bad as u32;
        }
    }

    /// Something was acknowledged, nothing of it was lost, and the planted defect was caught.
    pub const fn holds(&self) -> bool {
        self.rounds > 0 && self.lost == 0 && self.acknowledged > 0 && self.caught > 0
    }
}

/// The figure, and whether it is the one that is wanted.
pub fn figure(tallies: &[Tally]) -> (String, bool) {
    let lost: Vec<String> = tallies
        .iter()
        .map(|tally| {
            let Tally {
                kind,
                rounds,
                lost,
                acknowledged,
                ..
            } = tally;
            format!("{kind} {lost} lost of {rounds} ({acknowledged} acknowledgements)")
        })
        .collect();
    let caught: Vec<String> = tallies
        .iter()
        .map(|tally| format!("{} {} of {}", tally.kind, tally.caught, tally.planted))
        .collect();
    let holds = !tallies.is_empty() && tallies.iter().all(Tally::holds);
    (
        format!(
            "power-cut: {}; planted defects caught: {}",
            lost.join(", "),
            caught.join(", ")
        ),
        holds,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(kind: Kind, rounds: &[bool], planted: &[bool]) -> Tally {
        let mut tally = Tally::new(kind);
        rounds.iter().for_each(|bad| tally.add(true, *bad, 10));
        planted.iter().for_each(|bad| tally.add(false, *bad, 10));
        tally
    }

    #[test]
    fn nothing_lost_and_the_planted_defect_caught_holds() {
        let (figure, holds) = figure(&[
            tally(Kind::ControllerLog, &[false, false], &[true, true]),
            tally(Kind::Ledger, &[false], &[false, true]),
        ]);
        assert!(holds);
        assert_eq!(
            figure,
            "power-cut: controller-log 0 lost of 2 (20 acknowledgements), ledger 0 lost of 1 (10 acknowledgements); \
             planted defects caught: controller-log 2 of 2, ledger 1 of 2"
        );
    }

    #[test]
    fn an_uncaught_defect_gets_more_rounds_until_the_patience_ends() {
        let plan = Plan {
            rounds: 2,
            planted: 1,
            patience: 3,
            only: None,
            seed: 1,
        };
        let wants = |rounds: &[bool], planted: &[bool]| {
            let tally = tally(Kind::ControllerState, rounds, planted);
            (tally.wants(&plan, true), tally.wants(&plan, false))
        };
        assert_eq!(wants(&[], &[]), (true, true));
        assert_eq!(wants(&[false, false], &[true]), (false, false));
        assert_eq!(wants(&[false, true], &[false, false]), (false, true));
        assert_eq!(wants(&[false, false], &[false, true]), (false, false));
        assert_eq!(wants(&[false, false], &[false, false, false]), (false, false));
    }

    #[test]
    fn one_loss_or_an_uncaught_defect_or_no_round_falls_short() {
        let good = tally(Kind::ControllerLog, &[false], &[true]);
        for bad in [
            tally(Kind::Ledger, &[false, true], &[true]),
            tally(Kind::Ledger, &[false], &[false, false]),
            tally(Kind::Ledger, &[false], &[]),
            tally(Kind::Ledger, &[], &[true]),
        ] {
            assert!(!figure(&[good, bad]).1, "{bad:?}");
        }
        assert!(!figure(&[]).1);
    }
}
