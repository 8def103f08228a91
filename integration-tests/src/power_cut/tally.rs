//! What the rounds came to, and whether that is enough.

use super::{Kind, Plan};

/// What a round leaves out, which is to be caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Nothing: what is lost is.
    Nothing,
    /// The writer's barriers.
    Barriers,
    /// That what is there is made durable when a store is opened.
    Settling,
}

impl LeftOut {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Nothing, Self::Barriers, Self::Settling];
}

/// Of a defect that each round catches, one round in so many is run.
const CERTAIN: u32 = 3;

/// The rounds of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    kind: Kind,
    sound: Rounds,
    barriers: Rounds,
    settling: Rounds,
    acknowledged: u64,
}

/// So many, and in so many of them something was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rounds {
    done: u32,
    lost: u32,
}

impl Tally {
    /// No rounds yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            sound: Rounds::default(),
            barriers: Rounds::default(),
            settling: Rounds::default(),
            acknowledged: 0,
        }
    }

    const fn rounds(&self, left_out: LeftOut) -> Rounds {
        match left_out {
            LeftOut::Nothing => self.sound,
            LeftOut::Barriers => self.barriers,
            LeftOut::Settling => self.settling,
        }
    }

    /// Whether there are rounds to do that leave this out.
    pub(crate) const fn wants(&self, plan: &Plan, left_out: LeftOut) -> bool {
        let Rounds { done, lost } = self.rounds(left_out);
        match left_out {
            LeftOut::Nothing => done < plan.rounds,
            LeftOut::Barriers => done < plan.planted || (lost == 0 && done < plan.patience),
            LeftOut::Settling if !self.kind.needs_settling() => false,
            // What becomes of it is certain.
            LeftOut::Settling => done < plan.planted.div_ceil(CERTAIN) || (lost == 0 && done < plan.patience),
        }
    }

    /// The number of the next round that leaves this out.
    pub(crate) const fn next(&self, left_out: LeftOut) -> u32 {
        1 + self.rounds(left_out).done
    }

    /// Counts a round.
    pub const fn add(&mut self, left_out: LeftOut, bad: bool, acknowledged: u64) {
        let rounds = match left_out {
            LeftOut::Nothing => {
                self.acknowledged += acknowledged;
                &mut self.sound
            }
            LeftOut::Barriers => &mut self.barriers,
            LeftOut::Settling => &mut self.settling,
        };
        rounds.done += 1;
        rounds.lost += bad as u32;
    }

    /// Something was acknowledged, nothing of it was lost, and the planted defects were caught.
    pub const fn holds(&self) -> bool {
        let is_settling_caught = self.settling.lost > 0 || !self.kind.needs_settling();
        self.sound.done > 0
            && self.sound.lost == 0
            && self.acknowledged > 0
            && self.barriers.lost > 0
            && is_settling_caught
    }
}

/// The figure, and whether it is the one that is wanted.
pub fn figure(tallies: &[Tally]) -> (String, bool) {
    let lost: Vec<String> = tallies
        .iter()
        .map(|tally| {
            let Tally {
                kind,
                sound: Rounds { done, lost },
                acknowledged,
                ..
            } = tally;
            format!("{kind} {lost} lost of {done} ({acknowledged} acknowledgements)")
        })
        .collect();
    let caught = |left_out: LeftOut| {
        let caught: Vec<String> = tallies
            .iter()
            .map(|tally| (tally.kind, tally.rounds(left_out)))
            .filter(|(_, rounds)| rounds.done > 0)
            .map(|(kind, Rounds { done, lost })| format!("{kind} {lost} of {done}"))
            .collect();
        caught.join(", ")
    };
    let holds = !tallies.is_empty() && tallies.iter().all(Tally::holds);
    (
        format!(
            "power-cut: {}; planted defects caught: without barriers {}; opened without settling {}",
            lost.join(", "),
            caught(LeftOut::Barriers),
            caught(LeftOut::Settling)
        ),
        holds,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(kind: Kind, rounds: &[bool], barriers: &[bool], settling: &[bool]) -> Tally {
        let mut tally = Tally::new(kind);
        for (left_out, rounds) in LeftOut::ALL.into_iter().zip([rounds, barriers, settling]) {
            rounds.iter().for_each(|bad| tally.add(left_out, *bad, 10));
        }
        tally
    }

    #[test]
    fn nothing_lost_and_the_planted_defects_caught_holds() {
        let (figure, holds) = figure(&[
            tally(Kind::ControllerLog, &[false, false], &[true, true], &[true]),
            tally(Kind::Ledger, &[false], &[false, true], &[true, false]),
        ]);
        assert!(holds);
        assert_eq!(
            figure,
            "power-cut: controller-log 0 lost of 2 (20 acknowledgements), ledger 0 lost of 1 (10 acknowledgements); \
             planted defects caught: without barriers controller-log 2 of 2, ledger 1 of 2; \
             opened without settling controller-log 1 of 1, ledger 1 of 2"
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
            let tally = tally(Kind::ControllerLog, rounds, planted, planted);
            let [sound, barriers, settling] = LeftOut::ALL.map(|left_out| tally.wants(&plan, left_out));
            assert_eq!(barriers, settling);
            (sound, barriers)
        };
        assert_eq!(wants(&[], &[]), (true, true));
        assert_eq!(wants(&[false, false], &[true]), (false, false));
        assert_eq!(wants(&[false, true], &[false, false]), (false, true));
        assert_eq!(wants(&[false, false], &[false, true]), (false, false));
        assert_eq!(wants(&[false, false], &[false, false, false]), (false, false));
    }

    #[test]
    fn one_loss_or_an_uncaught_defect_or_no_round_falls_short() {
        let good = tally(Kind::ControllerLog, &[false], &[true], &[true]);
        for bad in [
            tally(Kind::Ledger, &[false, true], &[true], &[true]),
            tally(Kind::Ledger, &[false], &[false, false], &[true]),
            tally(Kind::Ledger, &[false], &[], &[true]),
            tally(Kind::Ledger, &[false], &[true], &[false]),
            tally(Kind::Ledger, &[false], &[true], &[]),
            tally(Kind::Ledger, &[], &[true], &[true]),
        ] {
            assert!(!figure(&[good, bad]).1, "{bad:?}");
        }
        assert!(!figure(&[]).1);
    }
}
