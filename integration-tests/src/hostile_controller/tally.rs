//! What the attacks came to.

use std::fmt;

use verger_policy::model::printable;
use verger_proto::findings::v1::Transition;

/// Counts, and what was otherwise than it should be.
#[derive(Default)]
pub(super) struct Tally {
    attacks: usize,
    refused: usize,
    kept: usize,
    findings: usize,
    misuses: usize,
    wrong: Vec<String>,
}

impl Tally {
    pub(super) const fn attacks(&self) -> usize {
        self.attacks
    }

    pub(super) fn refused(&mut self, name: &str, own_reason: bool, said: &str) {
        self.attacks += 1;
        if own_reason {
            self.refused += 1;
        } else {
            self.wrong.push(format!("{name} is refused with {said}"));
        }
    }

    pub(super) fn found(&mut self, name: &str, told: &Transition) {
        let texts = told
            .check
            .iter()
            .flat_map(|check| [check.actual(), &check.reason]);
        if texts
            .into_iter()
            .all(|text| !text.is_empty() && printable(text) == text)
        {
            self.findings += 1;
        } else {
            self.wrong
                .push(format!("{name}: the finding says {:?}", told.check));
        }
    }

    pub(super) fn kept(&mut self, name: &str, kept: bool, said: u64) {
        if kept {
            self.kept += 1;
        } else {
            self.wrong
                .push(format!("after {name} the agent says that it holds epoch {said}"));
        }
    }

    pub(super) fn misused(&mut self, name: &str, problem: Option<String>) {
        self.misuses += 1;
        self.wrong
            .extend(problem.map(|problem| format!("{name}: {problem}")));
    }

    pub(super) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    pub(super) fn holds(&self) -> bool {
        let all = self.attacks;
        self.wrong.is_empty() && all > 0 && [self.refused, self.findings].iter().all(|count| *count == all)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            attacks,
            refused,
            kept,
            findings,
            misuses,
            wrong: _,
        } = self;
        write!(
            f,
            "{} attacks: {attacks} offers, {refused} refused with their own reason, {} accepted, {findings} findings; {misuses} misuses of the stream; last good set kept {kept} times",
            attacks + misuses,
            attacks - refused,
        )
    }
}
