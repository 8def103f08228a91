//! What became of the sets that controllers offered: which were refused, and why.
//!
//! A refusal stands until a set is accepted after it, or the one that is held is offered again: only a set that this host
//! could verify says that controllers offer such. That nothing is offered says nothing.

use std::collections::BTreeMap;

use verger_policy::model::printable_within;

/// The most of a refusal that is kept, characters.
const DETAIL: usize = 500;

/// Refused sets by the word of their refusal; of each word the first, so there are no more than refusals have words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    accepted: bool,
    news: u64,
    refused: BTreeMap<&'static str, RefusedSet>,
}

/// A set that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSet {
    /// Why, for a person. Fit for a terminal.
    pub detail: String,
    /// The [`Offers::news`] that told of it.
    raised: u64,
    stands: bool,
}

impl Offers {
    pub(super) fn refuse(&mut self, word: &'static str, detail: &str) {
        if self.refused.get(word).is_some_and(|refused| refused.stands) {
            return;
        }
        self.news += 1;
        let refused = RefusedSet {
            detail: printable_within(detail, DETAIL),
            raised: self.news,
            stands: true,
        };
        self.refused.insert(word, refused);
    }

    pub(super) fn accept(&mut self) {
        let stood = self.refused.values().any(|refused| refused.stands);
        if stood || !self.accepted {
            self.news += 1;
        }
        self.accepted = true;
        for refused in self.refused.values_mut() {
            refused.stands = false;
        }
    }

    /// Grows with everything that is worth a look: not with refusals for a reason that stands already.
    pub const fn news(&self) -> u64 {
        self.news
    }

    /// Whether a set was accepted, or the held one offered again, since the agent began. Before that nothing speaks against a
    /// refusal of an earlier run.
    pub const fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Those that stand, and those that were refused after the news of number `seen`: who looks seldom misses none.
    pub fn refused_since(&self, seen: u64) -> impl Iterator<Item = (&'static str, &RefusedSet)> {
        let refused = self.refused.iter().map(|(word, refused)| (*word, refused));
        refused.filter(move |(_, refused)| refused.stands || refused.raised > seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(offers: &Offers, seen: u64) -> Vec<&'static str> {
        offers.refused_since(seen).map(|(word, _)| word).collect()
    }

    #[test]
    fn a_refusal_stands_until_a_set_is_accepted() {
        let mut offers = Offers::default();
        offers.refuse("wrong-key", "none");
        offers.refuse("altered", "one");
        let seen = offers.news();
        assert_eq!(words(&offers, seen), ["altered", "wrong-key"]);
        assert!(!offers.is_accepted());
        offers.accept();
        assert!(offers.is_accepted() && offers.news() > seen);
        assert_eq!(words(&offers, seen), Vec::<&str>::new());
    }

    #[test]
    fn one_that_was_over_before_anybody_looked_is_seen_once() {
        let mut offers = Offers::default();
        offers.refuse("wrong-key", "none");
        offers.accept();
        assert_eq!(words(&offers, 0), ["wrong-key"]);
        assert_eq!(words(&offers, offers.news()), Vec::<&str>::new());
    }

    #[test]
    fn what_is_refused_again_and_again_is_news_once() {
        let mut offers = Offers::default();
        offers.accept();
        offers.refuse("wrong-key", "first");
        let news = offers.news();
        for _ in 0..9 {
            offers.refuse("wrong-key", "again");
        }
        assert_eq!(offers.news(), news);
        let (_, refused) = offers.refused_since(news).next().expect("it stands");
        assert_eq!(refused.detail, "first");
    }

    #[test]
    fn hostile_text_is_kept_escaped_and_cut() {
        let mut offers = Offers::default();
        offers.refuse("malformed", &format!("\u{1b}[2J{}", "x".repeat(9_000)));
        let (_, refused) = offers.refused_since(0).next().expect("it stands");
        assert!(!refused.detail.contains('\u{1b}') && refused.detail.len() < 600);
    }
}
