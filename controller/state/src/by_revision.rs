//! What changed, in the order of the log, and where a reader of it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Where a reader of changes stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<K> {
    /// Every change up to this revision was read.
    pub complete: u64,
    /// So were those of later revisions up to this one, and of it those up to this key.
    pub within: Option<(u64, K)>,
    /// What was gone by this revision is not told. It is later than [`Self::complete`] for a reader that began with nothing.
    pub gone_after: u64,
}

impl<K> Place<K> {
    /// Of a reader that knows everything as it was at `revision`.
    pub const fn after(revision: u64) -> Self {
        Self {
            complete: revision,
            within: None,
            gone_after: revision,
        }
    }

    /// Of a reader that begins with nothing at `revision`: it is told what there is, and not what was gone by then.
    pub const fn beginning(revision: u64) -> Self {
        Self {
            complete: 0,
            within: None,
            gone_after: revision,
        }
    }

    /// The last revision of which anything may have been read.
    pub fn reached(&self) -> u64 {
        self.within
            .as_ref()
            .map_or(self.complete, |(revision, _)| *revision)
    }

    /// Whether changes that this reader still needs are forgotten, when those up to `horizon` are.
    pub(crate) fn is_behind(&self, horizon: u64) -> bool {
        self.complete.max(self.gone_after) < horizon
    }
}

/// Keys by the revision of their last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ByRevision<K>(BTreeMap<u64, BTreeSet<K>>);

impl<K> Default for ByRevision<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> ByRevision<K> {
    pub(crate) fn insert(&mut self, revision: u64, key: K) {
        self.0.entry(revision).or_default().insert(key);
    }

    pub(crate) fn remove(&mut self, revision: u64, key: &K) {
        let Some(keys) = self.0.get_mut(&revision) else {
            return;
        };
        keys.remove(key);
        if keys.is_empty() {
            self.0.remove(&revision);
        }
    }

    /// The oldest.
    pub(crate) fn first(&self) -> Option<(u64, K)> {
        let (revision, keys) = self.0.first_key_value()?;
        Some((*revision, keys.first()?.clone()))
    }

    /// What comes after a place, oldest first.
    pub(crate) fn after<'a>(&'a self, place: &Place<K>) -> impl Iterator<Item = (u64, &'a K)> + use<'a, K> {
        let rest = place.within.clone().into_iter().flat_map(|(revision, key)| {
            let keys = self.0.get(&revision).into_iter();
            keys.flat_map(move |keys| keys.range((Bound::Excluded(key.clone()), Bound::Unbounded)))
                .map(move |key| (revision, key))
        });
        let later = self
            .0
            .range((Bound::Excluded(place.reached()), Bound::Unbounded))
            .flat_map(|(revision, keys)| keys.iter().map(move |key| (*revision, key)));
        rest.chain(later)
    }
}

impl<K: Ord + Clone> FromIterator<(u64, K)> for ByRevision<K> {
    fn from_iter<I: IntoIterator<Item = (u64, K)>>(all: I) -> Self {
        let mut by = Self::default();
        for (revision, key) in all {
            by.insert(revision, key);
        }
        by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_within_a_revision() {
        let by: ByRevision<u8> = [(3, 1), (3, 2), (3, 3), (5, 0), (7, 2)].into_iter().collect();
        let read = |place: &Place<u8>| -> Vec<(u64, u8)> {
            by.after(place).map(|(revision, key)| (revision, *key)).collect()
        };
        assert_eq!(read(&Place::after(4)), [(5, 0), (7, 2)]);
        let mut place = Place::after(0);
        place.within = Some((3, 2));
        assert_eq!(read(&place), [(3, 3), (5, 0), (7, 2)]);
        place.within = Some((4, 9));
        assert_eq!(read(&place), [(5, 0), (7, 2)], "what it stood at is gone since");
    }
}
