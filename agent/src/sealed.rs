//! Sets as a controller offers them, sealed by a key of a test.

use jiff::{SignedDuration, Timestamp};
use verger_agent_core::ledger::SetUpdate;
use verger_policy::set::PolicySet;
use verger_seal::{SealingKey, SetStatement, TrustRoot};

/// The whole set, good for an hour from now.
pub(crate) fn offered(root: &TrustRoot, key: &SealingKey, set: &PolicySet, now: Timestamp) -> SetUpdate {
    let end = now + SignedDuration::from_hours(1);
    let seal = SetStatement::new(root, set.epoch(), set.root(), set.len() as u64, end)
        .seal(&[key])
        .to_json();
    let body = |key| {
        set.body(key)
            .expect("a whole set has every body")
            .bytes()
            .to_vec()
    };
    SetUpdate {
        base_epoch: 0,
        epoch: set.epoch(),
        entries: set.entries().cloned().collect(),
        bodies: set
            .entries()
            .map(|entry| (entry.key.clone(), body(&entry.key)))
            .collect(),
        seal,
        trust_roots: Vec::new(),
    }
}
