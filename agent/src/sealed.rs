//! Sets as a controller offers them, sealed by a key of a test.

use jiff::{SignedDuration, Timestamp};
use verger_agent_core::ledger::{LedgerState, SetUpdate, offer};
use verger_policy::draft;
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

/// What a host holds of a cluster whose policy is this; none yet where there is none.
pub(crate) fn ledger(yaml: Option<&str>) -> LedgerState {
    let key = SealingKey::from_seed([1; 32]);
    let (root, envelope) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).expect("one key is enough");
    let agent = "h1".parse().expect("it is a name");
    let (ledger, _) =
        LedgerState::found(agent, &root.cluster_id(), &envelope.to_json()).expect("the root is whole");
    let Some(yaml) = yaml else { return ledger };
    let now = Timestamp::now();
    let objects = draft::read_at("test.yaml", yaml.as_bytes(), now).expect("the policy can be read");
    let set = PolicySet::empty().change(objects, []).expect("it is a change");
    let update = offered(&root, &key, &set, now);
    offer(&ledger, &update, now).expect("it is sealed").next
}
