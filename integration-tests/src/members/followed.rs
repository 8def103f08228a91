//! What somebody was shown who follows something that is numbered, over all streams: each number once and in order, wherever it goes on.
//!
//! A stream goes on after the last revision of which it was told that everything up to it was shown. What was shown after that when a
//! stream ended may be shown once more by the next one, and nothing else may.

use std::collections::{BTreeMap, BTreeSet};

use super::load::OBJECTS;

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The audit: rows are numbered.
    Audit,
    /// The policy set, each epoch of which changes one object.
    Policy,
    /// What the reporter tells, which is numbered as an agent numbers it.
    Findings,
}

impl What {
    pub(super) const ALL: [Self; 3] = [Self::Audit, Self::Policy, Self::Findings];

    /// Up to which number nothing is to be shown any more where this is the newest there is: each epoch changes the object again that one
    /// before it changed. Nothing else is overtaken while anybody who follows it is not stuck.
    const fn overtaken(self, newest: u64) -> u64 {
        match self {
            Self::Policy => newest.saturating_sub(OBJECTS),
            Self::Audit | Self::Findings => 0,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Audit => "row of the audit",
            Self::Policy => "epoch of the policy set",
            Self::Findings => "transition of a finding",
        }
    }
}

/// What was shown.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) what: What,
    /// Everything up to this number was shown, or is no more because of a later one.
    pub(super) last: u64,
    /// Everything up to this revision was shown: where the next stream goes on.
    pub(super) complete: u64,
    /// What was shown after that, with the revisions.
    since: BTreeMap<u64, u64>,
    /// The numbers of it that this stream has shown, and its newest revision.
    here: BTreeSet<u64>,
    newest: u64,
    /// How many numbers were shown: all of them, where none is overtaken.
    pub(super) shown: u64,
    /// Streams opened, each at another member than the one before.
    pub(super) streams: u64,
}

impl Followed {
    pub(super) const fn new(what: What) -> Self {
        Self {
            what,
            last: 0,
            complete: 0,
            since: BTreeMap::new(),
            here: BTreeSet::new(),
            newest: 0,
            shown: 0,
            streams: 0,
        }
    }

    /// Another stream begins.
    pub(super) fn begins(&mut self) {
        self.here.clear();
        self.newest = 0;
        self.streams += 1;
    }

    /// Takes in that a number is shown, of this revision. What is wrong with it, if anything is.
    pub(super) fn takes(&mut self, number: u64, revision: u64) -> Option<String> {
        let what = self.what.name();
        let before = self.newest;
        self.newest = before.max(revision);
        let known = self.since.get(&number).copied();
        if revision <= self.complete || number <= self.last || !self.here.insert(number) {
            return Some(format!("{what} {number} was shown again, of revision {revision}"));
        }
        if known.is_some_and(|known| known != revision) {
            return Some(format!("{what} {number} was shown of two revisions"));
        }
        self.since.insert(number, revision);
        (revision < before).then(|| {
            format!("{what} {number} of revision {revision} was shown after one of revision {before}")
        })
    }

    /// Takes in that everything up to a revision was shown, but what is overtaken, where this is the newest number there is. What is wrong
    /// with it, if anything is.
    pub(super) fn completes(&mut self, revision: u64, newest: u64) -> Option<String> {
        let (what, overtaken) = (self.what.name(), self.what.overtaken(newest));
        if revision < self.complete {
            return Some(format!(
                "who follows each {what} went back from revision {} to {revision}",
                self.complete
            ));
        }
        self.complete = revision;
        let mut wrong = None;
        while let Some(first) = self.since.first_entry().filter(|first| *first.get() <= revision) {
            let number = *first.key();
            first.remove();
            self.here.remove(&number);
            if number > self.last + 1 && number - 1 > overtaken {
                wrong.get_or_insert(format!(
                    "{what} {number} was shown after {}: what is between was passed over",
                    self.last
                ));
            }
            self.last = number;
            self.shown += 1;
        }
        wrong
    }

    /// What of this is told where another than the next number is shown next.
    pub(super) fn after_a_gap(mut self) -> Option<String> {
        let (number, revision) = (self.last + 2, self.after());
        self.takes(number, revision)
            .or_else(|| self.completes(revision, number))
    }

    /// What of this is told where the last one is shown once more: as it was, and as if it had been done again. Nothing unless both are.
    pub(super) fn after_a_repeat(mut self) -> Option<String> {
        let (number, revision) = (self.last, self.after());
        let as_it_was = self.takes(number, self.complete);
        as_it_was.and(self.takes(number, revision))
    }

    /// A revision after everything that was shown.
    fn after(&self) -> u64 {
        self.complete.max(self.newest) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(numbers: &[(u64, u64)]) -> (Followed, Vec<String>) {
        let mut followed = Followed::new(What::Findings);
        followed.begins();
        let wrong = numbers
            .iter()
            .filter_map(|(number, revision)| followed.takes(*number, *revision))
            .collect();
        (followed, wrong)
    }

    #[test]
    fn numbers_in_order_are_right_and_within_a_revision_in_any() {
        let (mut followed, wrong) = shown(&[(1, 10), (3, 20), (2, 20), (4, 30)]);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(followed.completes(20, 0), None);
        assert_eq!((followed.last, followed.complete), (3, 20));
        assert_eq!(followed.completes(30, 0), None);
        assert_eq!((followed.last, followed.shown), (4, 4));
    }

    #[test]
    fn a_gap_is_told_unless_what_is_missing_was_overtaken() {
        let gap = |what, newest| {
            let (followed, _) = shown(&[(1, 10), (4, 40)]);
            Followed { what, ..followed }.completes(40, newest)
        };
        for newest in [4, OBJECTS + 2] {
            let told = gap(What::Policy, newest);
            assert!(told.is_some_and(|told| told.contains("passed over")), "{newest}");
        }
        // The object of the third epoch is that of the newest.
        assert_eq!(gap(What::Policy, OBJECTS + 3), None);
        assert!(gap(What::Findings, OBJECTS + 3).is_some());
    }

    #[test]
    fn what_a_stream_shows_twice_is_told() {
        let (mut followed, wrong) = shown(&[(1, 10), (1, 10)]);
        assert_eq!(wrong.len(), 1);
        assert_eq!(followed.completes(10, 0), None);
        assert!(followed.takes(1, 10).is_some());
        assert!(followed.takes(1, 20).is_some(), "it was done again");
        assert!(followed.takes(2, 10).is_some(), "what was complete grows no more");
        assert!(followed.completes(9, 0).is_some(), "never back");
    }

    #[test]
    fn another_stream_shows_again_only_what_was_not_complete() {
        let (mut followed, wrong) = shown(&[(1, 10), (2, 20), (3, 20)]);
        assert!(wrong.is_empty());
        assert_eq!(followed.completes(10, 0), None);
        followed.begins();
        assert_eq!(followed.takes(2, 20), None);
        assert_eq!(followed.takes(3, 20), None);
        assert!(followed.takes(3, 20).is_some());
        assert_eq!(followed.takes(4, 30), None);
        assert_eq!(followed.completes(30, 0), None);
        assert_eq!((followed.last, followed.streams), (4, 2));
        followed.begins();
        assert!(followed.takes(4, 30).is_some());
    }

    #[test]
    fn one_number_has_one_revision_and_revisions_only_go_on() {
        let (mut followed, wrong) = shown(&[(1, 10), (2, 20)]);
        assert!(wrong.is_empty());
        followed.begins();
        assert!(
            followed
                .takes(2, 30)
                .is_some_and(|told| told.contains("two revisions"))
        );
        assert!(shown(&[(1, 10), (2, 30), (3, 20)]).1.len() == 1);
    }

    #[test]
    fn what_is_planted_is_told() {
        for what in What::ALL {
            let (followed, _) = shown(&[(1, 10), (2, 20)]);
            let mut followed = Followed { what, ..followed };
            assert_eq!(followed.completes(20, 2), None);
            assert!(followed.clone().after_a_gap().is_some(), "{what:?}");
            assert!(followed.after_a_repeat().is_some(), "{what:?}");
        }
    }
}
