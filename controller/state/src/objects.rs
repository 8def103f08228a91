//! Where in the log policy objects changed. Their content is in the set.

use std::collections::BTreeMap;

use verger_policy::model::ObjectKey;

use crate::by_revision::{ByRevision, Place};
use crate::limits;

/// Where an object was made, and where it last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// 0 where that was not kept.
    pub(crate) born: u64,
    pub(crate) changed: u64,
}

/// A change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectChange<'a> {
    /// Where in the log.
    pub revision: u64,
    /// Of what.
    pub key: &'a ObjectKey,
    /// Where in the log the object that there is now was made; `None` where there is none now.
    pub born: Option<u64>,
}

/// The objects there are, and as many of those that are gone as watchers are told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects {
    pub(crate) versions: BTreeMap<ObjectKey, Version>,
    pub(crate) tombstones: BTreeMap<ObjectKey, u64>,
    /// Of both.
    changes: ByRevision<ObjectKey>,
    buried: ByRevision<ObjectKey>,
    /// Up to here, what is gone is not remembered.
    pub(crate) forgotten: u64,
}

impl Objects {
    /// Notes an object as put in or replaced; gives its version.
    pub(crate) fn put(&mut self, key: &ObjectKey, revision: u64) -> Version {
        self.unbury(key);
        let before = self.versions.get(key).copied();
        if let Some(before) = before {
            self.changes.remove(before.changed, key);
        }
        let version = Version {
            born: before.map_or(revision, |before| before.born),
            changed: revision,
        };
        self.changes.insert(revision, key.clone());
        self.versions.insert(key.clone(), version);
        version
    }

    /// Notes an object as gone.
    pub(crate) fn bury(&mut self, key: &ObjectKey, revision: u64) {
        self.unbury(key);
        if let Some(before) = self.versions.remove(key) {
            self.changes.remove(before.changed, key);
        }
        self.changes.insert(revision, key.clone());
        self.buried.insert(revision, key.clone());
        self.tombstones.insert(key.clone(), revision);
    }

    /// Forgets the oldest that is gone, where there are too many.
    pub(crate) fn forget_oldest(&mut self) -> Option<ObjectKey> {
        if self.tombstones.len() <= limits::TOMBSTONES {
            return None;
        }
        let (revision, key) = self.buried.first()?;
        self.unbury(&key);
        self.forgotten = self.forgotten.max(revision);
        Some(key)
    }

    fn unbury(&mut self, key: &ObjectKey) {
        if let Some(revision) = self.tombstones.remove(key) {
            self.buried.remove(revision, key);
            self.changes.remove(revision, key);
        }
    }

    /// Makes the indexes after everything was read from rows.
    pub(crate) fn index(&mut self) {
        let gone = || {
            self.tombstones
                .iter()
                .map(|(key, revision)| (*revision, key.clone()))
        };
        let there = self
            .versions
            .iter()
            .map(|(key, version)| (version.changed, key.clone()));
        self.changes = there.chain(gone()).collect();
        self.buried = gone().collect();
    }

    /// For rows of before it was kept what is forgotten: everything older than what is remembered may be.
    pub(crate) fn assume_forgotten(&mut self) {
        if self.tombstones.len() >= limits::TOMBSTONES {
            self.forgotten = self.buried.first().map_or(0, |(revision, _)| revision);
        }
    }

    /// Changes after a place, oldest first; `None` where some of them are forgotten.
    pub(crate) fn after<'a>(
        &'a self,
        place: &Place<ObjectKey>,
    ) -> Option<impl Iterator<Item = ObjectChange<'a>> + use<'a>> {
        if place.is_behind(self.forgotten) {
            return None;
        }
        let gone_after = place.gone_after;
        let changes = self.changes.after(place).map(|(revision, key)| ObjectChange {
            revision,
            key,
            born: self.versions.get(key).map(|version| version.born),
        });
        Some(changes.filter(move |change| change.born.is_some() || change.revision > gone_after))
    }
}
