//! Whether a history of a register is linearizable (Herlihy and Wing, 1990), by the search of Wing and Gong (1993) with what Lowe (2017) keeps of
//! it. A search that is given up says so, and never that all is well.

use std::collections::HashSet;

/// Steps of a search before it is given up.
const MOST_STEPS: usize = 5_000_000;

/// One operation on a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) does: Does,
    /// When it began.
    pub(crate) from: u64,
    /// When it was answered; none where nobody knows whether it was done.
    pub(crate) to: Option<u64>,
}

/// What it does, and what it was answered. 0 is what is there before anything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Write(u64),
    Read(u64),
    /// Puts the second in place of the first, which was there.
    Swap(u64, u64),
    /// It was refused, as something else is there.
    IsNot(u64),
}

impl Does {
    const fn writes(self) -> bool {
        matches!(self, Self::Write(_) | Self::Swap(..))
    }

    /// What is there afterwards; none where it cannot be answered so.
    fn after(self, value: u64) -> Option<u64> {
        match self {
            Self::Write(written) => Some(written),
            Self::Read(read) => (read == value).then_some(value),
            Self::Swap(from, to) => (from == value).then_some(to),
            Self::IsNot(other) => (other != value).then_some(value),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Linearizable,
    Not,
    /// It takes too long to say.
    Undecided,
}

/// Judges a history of one register.
pub(crate) fn linearizable(history: &[Operation]) -> Verdict {
    let mut operations: Vec<&Operation> = history
        .iter()
        // A read that was not answered says nothing.
        .filter(|operation| operation.to.is_some() || operation.does.writes())
        .collect();
    operations.sort_by_key(|operation| operation.from);
    let words = operations.len().div_ceil(64);
    let mut seen: HashSet<(Vec<u64>, u64)> = HashSet::new();
    let mut stack = vec![(vec![0_u64; words], 0_u64)];
    let mut steps = 0;
    while let Some((done, value)) = stack.pop() {
        if !seen.insert((done.clone(), value)) {
            continue;
        }
        let is_done = |at: usize| done[at / 64] >> (at % 64) & 1 == 1;
        let left = operations.iter().enumerate().filter(|(at, _)| !is_done(*at));
        // What was answered first has to come before whatever began after that.
        let first_end = left.clone().filter_map(|(_, operation)| operation.to).min();
        let Some(first_end) = first_end else {
            return Verdict::Linearizable;
        };
        for (at, operation) in left.take_while(|(_, operation)| operation.from <= first_end) {
            steps += 1;
            if steps > MOST_STEPS {
                return Verdict::Undecided;
            }
            let Some(next) = operation.does.after(value) else {
                continue;
            };
            let mut done = done.clone();
            done[at / 64] |= 1 << (at % 64);
            stack.push((done, next));
        }
    }
    Verdict::Not
}

/// Of a history that is not linearizable the last of what was answered first and does not fit, for whoever looks for the reason.
pub(crate) fn shortest(history: &[Operation]) -> Vec<Operation> {
    const SHOWN: usize = 8;
    let mut ends: Vec<u64> = history.iter().filter_map(|operation| operation.to).collect();
    ends.sort_unstable();
    let until = |end: u64| -> Vec<Operation> {
        // What was not answered by then may have been done, or not.
        let begun = history.iter().filter(|operation| operation.from < end);
        let seen = begun.map(|operation| Operation {
            to: operation.to.filter(|to| *to <= end),
            ..operation.clone()
        });
        seen.filter(|operation| operation.to.is_some() || operation.does.writes())
            .collect()
    };
    let first = ends
        .into_iter()
        .map(until)
        .find(|part| linearizable(part) == Verdict::Not);
    let mut part = first.unwrap_or_default();
    part.sort_by_key(|operation| operation.to.unwrap_or(u64::MAX));
    let known = part.iter().filter(|operation| operation.to.is_some()).count();
    let from = known.saturating_sub(SHOWN);
    part.drain(..from);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: u64, from: u64, to: u64) -> Operation {
        Operation {
            does: Does::Write(value),
            from,
            to: (to != 0).then_some(to),
        }
    }

    fn does(does: Does, from: u64, to: u64) -> Operation {
        Operation {
            does,
            ..write(0, from, to)
        }
    }

    fn read(value: u64, from: u64, to: u64) -> Operation {
        does(Does::Read(value), from, to)
    }

    #[test]
    fn histories_are_judged() {
        for (history, verdict) in [
            (vec![], Verdict::Linearizable),
            (vec![write(1, 1, 2), read(1, 3, 4)], Verdict::Linearizable),
            // At the same time either order will do.
            (
                vec![write(1, 1, 5), write(2, 2, 4), read(1, 6, 7)],
                Verdict::Linearizable,
            ),
            (
                vec![write(1, 1, 5), write(2, 2, 4), read(2, 6, 7)],
                Verdict::Linearizable,
            ),
            // An old value after a new one was acknowledged, and read.
            (vec![write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)], Verdict::Not),
            (vec![write(1, 1, 9), read(1, 2, 3), read(0, 4, 5)], Verdict::Not),
            // What nobody knows of may be done later, or never; but not twice.
            (
                vec![write(1, 1, 0), read(0, 2, 3), read(1, 4, 5)],
                Verdict::Linearizable,
            ),
            (vec![write(1, 1, 0), read(0, 2, 3)], Verdict::Linearizable),
            (
                vec![
                    write(1, 1, 0),
                    read(1, 2, 3),
                    write(2, 4, 5),
                    read(2, 6, 7),
                    read(1, 8, 9),
                ],
                Verdict::Not,
            ),
            // It was acknowledged, and is not there.
            (vec![write(1, 1, 2), read(0, 3, 4)], Verdict::Not),
            // Nobody wrote it.
            (vec![read(7, 1, 2)], Verdict::Not),
            // Of two who want the same one gets it.
            (
                vec![does(Does::Swap(0, 1), 1, 4), does(Does::IsNot(0), 2, 3)],
                Verdict::Linearizable,
            ),
            (
                vec![does(Does::Swap(0, 1), 1, 2), does(Does::Swap(0, 2), 3, 4)],
                Verdict::Not,
            ),
            (
                vec![does(Does::IsNot(0), 1, 2), does(Does::Swap(0, 1), 3, 4)],
                Verdict::Not,
            ),
            // What was not answered may have been in vain.
            (
                vec![
                    does(Does::Swap(0, 1), 1, 2),
                    does(Does::Swap(0, 2), 3, 0),
                    read(1, 4, 5),
                ],
                Verdict::Linearizable,
            ),
        ] {
            assert_eq!(linearizable(&history), verdict, "{history:?}");
        }
    }

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        // Writes of which nobody knows anything, and a read of what none of them wrote.
        let mut history: Vec<Operation> = (1..=40).map(|value| write(value, value, 0)).collect();
        history.push(read(99, 50, 51));
        assert_eq!(linearizable(&history), Verdict::Undecided);
    }
}
