//! What became of what controllers offered: what was refused, and why; and what was accepted and is not kept.
//!
//! - A refused set stands until one is accepted after it, or the one that is held is offered again: only a set that this host
//!   could verify says that controllers offer such. That nothing is offered says nothing.
//! - A refused stamp stands until one counts after it.
//! - What is not kept stands until it is.

use std::collections::BTreeMap;

use verger_policy::model::printable_within;

/// The most of a trouble that is kept, characters.
const DETAIL: usize = 500;

/// What there is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A set was refused.
    Set,
    /// What members are said to have signed of freshness was refused.
    Stamp,
    /// What was accepted could not be written: to the [`LEDGER`](super::LEDGER), or [beside it](super::FLOOR).
    Unkept,
    /// What was kept beside the ledger was gone.
    Doubt,
}

/// Troubles by what they are and their word; of each word the first, so there are no more than there are words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    accepted: bool,
    news: u64,
    troubles: BTreeMap<(Kind, &'static str), Trouble>,
}

/// One trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why, for a person. Fit for a terminal.
    pub detail: String,
    /// The [`Offers::news`] that told of it.
    raised: u64,
    stands: bool,
}

impl Offers {
    pub(super) fn raise(&mut self, kind: Kind, word: &'static str, detail: &str) {
        let place = (kind, word);
        if self.troubles.get(&place).is_some_and(|trouble| trouble.stands) {
            return;
        }
        self.news += 1;
        let trouble = Trouble {
            detail: printable_within(detail, DETAIL),
            raised: self.news,
            stands: true,
        };
        self.troubles.insert(place, trouble);
    }

    /// Ends all of a kind whose word is `wanted`.
    fn end_where(&mut self, kind: Kind, wanted: impl Fn(&str) -> bool) {
        let standing = self
            .troubles
            .iter_mut()
            .filter(|((of, word), trouble)| *of == kind && wanted(word) && trouble.stands);
        let ended = standing.map(|(_, trouble)| trouble.stands = false).count();
        self.news += u64::from(ended > 0);
    }

    pub(super) fn end(&mut self, kind: Kind) {
        self.end_where(kind, |_| true);
    }

    /// What could not be written is.
    pub(super) fn kept(&mut self, place: &'static str) {
        self.end_where(Kind::Unkept, |word| word == place);
    }

    pub(super) fn accept(&mut self) {
        self.end(Kind::Set);
        self.news += u64::from(!self.accepted);
        self.accepted = true;
    }

    /// Grows with everything that is worth a look: not with what stands already.
    pub const fn news(&self) -> u64 {
        self.news
    }

    /// Whether a set was accepted, or the held one offered again, since the agent began. Before that nothing speaks against a
    /// refusal of an earlier run.
    pub const fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Those that stand, and those that were raised after the news of number `seen`: who looks seldom misses none.
    pub fn since(&self, kind: Kind, seen: u64) -> impl Iterator<Item = (&'static str, &Trouble)> {
        let of_kind = self.troubles.iter().filter(move |((of, _), _)| *of == kind);
        of_kind
            .map(|((_, word), trouble)| (*word, trouble))
            .filter(move |(_, trouble)| trouble.stands || trouble.raised > seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(offers: &Offers, seen: u64) -> Vec<&'static str> {
        offers.since(Kind::Set, seen).map(|(word, _)| word).collect()
    }

    #[test]
    fn a_refusal_stands_until_a_set_is_accepted() {
        let mut offers = Offers::default();
        offers.raise(Kind::Set, "wrong-key", "none");
        offers.raise(Kind::Set, "altered", "one");
        let seen = offers.news();
        assert_eq!(words(&offers, seen), ["altered", "wrong-key"]);
        assert!(!offers.is_accepted());
        offers.accept();
        assert!(offers.is_accepted() && offers.news() > seen);
        assert_eq!(words(&offers, seen), Vec::<&str>::new());
    }

    #[test]
    fn each_kind_ends_by_itself() {
        let mut offers = Offers::default();
        for kind in [Kind::Set, Kind::Stamp, Kind::Unkept, Kind::Doubt] {
            offers.raise(kind, "ledger", "one");
            offers.raise(kind, "floor", "other");
        }
        let count = |offers: &Offers, kind| offers.since(kind, u64::MAX).count();
        offers.accept();
        offers.kept("floor");
        assert_eq!(
            [Kind::Set, Kind::Stamp, Kind::Unkept, Kind::Doubt].map(|kind| count(&offers, kind)),
            [0, 2, 1, 2]
        );
        let news = offers.news();
        offers.kept("floor");
        assert_eq!(offers.news(), news, "what is over is no news");
        offers.end(Kind::Stamp);
        assert_eq!((count(&offers, Kind::Stamp), offers.news()), (0, news + 1));
    }

    #[test]
    fn one_that_was_over_before_anybody_looked_is_seen_once() {
        let mut offers = Offers::default();
        offers.raise(Kind::Set, "wrong-key", "none");
        offers.accept();
        assert_eq!(words(&offers, 0), ["wrong-key"]);
        assert_eq!(words(&offers, offers.news()), Vec::<&str>::new());
    }

    #[test]
    fn what_is_refused_again_and_again_is_news_once() {
        let mut offers = Offers::default();
        offers.accept();
        offers.raise(Kind::Set, "wrong-key", "first");
        let news = offers.news();
        for _ in 0..9 {
            offers.raise(Kind::Set, "wrong-key", "again");
        }
        assert_eq!(offers.news(), news);
        let (_, refused) = offers.since(Kind::Set, news).next().expect("it stands");
        assert_eq!(refused.detail, "first");
    }

    #[test]
    fn hostile_text_is_kept_escaped_and_cut() {
        let mut offers = Offers::default();
        offers.raise(Kind::Set, "malformed", &format!("\u{1b}[2J{}", "x".repeat(9_000)));
        let (_, refused) = offers.since(Kind::Set, 0).next().expect("it stands");
        assert!(!refused.detail.contains('\u{1b}') && refused.detail.len() < 600);
    }
}
