//! The difference of two sets, as a value.

use std::sync::Arc;

use super::{Body, Entry, PolicySet};
use crate::model::ObjectKey;

/// What leads from one set to another. A delta on the wire is one of these, its bodies cut to what a host needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetDiff {
    /// New and changed entries, with the body where the later set has it, sorted by key.
    pub upserts: Vec<(Entry, Option<Arc<Body>>)>,
    /// Objects that are no longer there, sorted.
    pub deletes: Vec<ObjectKey>,
}

impl SetDiff {
    /// Whether the two sets hold the same.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.deletes.is_empty()
    }
}

/// What leads from `before` to `after`. An entry that only gained or lost its body counts as changed.
pub fn diff(before: &PolicySet, after: &PolicySet) -> SetDiff {
    let upserts = after
        .members
        .iter()
        .filter(|(key, member)| before.members.get(*key) != Some(*member))
        .map(|(_, member)| (member.entry.clone(), member.body.clone()))
        .collect();
    let deletes = before
        .members
        .keys()
        .filter(|key| !after.members.contains_key(*key))
        .cloned()
        .collect();
    SetDiff { upserts, deletes }
}
