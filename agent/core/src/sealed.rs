//! A small cluster for tests: objects, sets, a sealing key.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use verger_policy::draft;
use verger_policy::model::{Labels, PolicyObject};
use verger_policy::set::PolicySet;
use verger_seal::{
    ChainHead, MemberKey, SealingKey, SetStatement, Stamp, Terms, TrustRoot, TrustedKey, merge_stamps,
};

use crate::ledger::SetUpdate;

/// Objects of a YAML text.
pub(crate) fn objects(yaml: &str) -> Vec<PolicyObject> {
    draft::read_at("test.yaml", yaml.as_bytes(), start()).expect("the test's policy is good")
}

/// A host with labels.
pub(crate) fn host(agent: &str, zone: &str) -> Vec<PolicyObject> {
    objects(&format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {agent} }}\nspec: {{ agent: {agent}, labels: {{ zone: {zone} }} }}\n"
    ))
}

/// A workload for the hosts of a zone.
pub(crate) fn workload(name: &str, zone: &str, uid: u32) -> Vec<PolicyObject> {
    objects(&format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n  match: {{ container: {{ image: registry.example/{name} }} }}\n  hosts: {{ zone: {zone} }}\n  config:\n    images: [ \"sha256:{}\" ]\n    user: {{ uid: {uid}, gid: 1 }}\n",
        "ab".repeat(32)
    ))
}

/// When tests begin.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_766_000_000).expect("in range")
}

/// The end of the seals that tests make.
pub(crate) fn end() -> Timestamp {
    start() + SignedDuration::from_hours(30 * 24)
}

/// The people of a cluster.
pub(crate) struct People {
    pub(crate) key: SealingKey,
    pub(crate) trust_root: TrustRoot,
    pub(crate) envelope: Vec<u8>,
}

impl People {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SealingKey::from_seed([seed; 32]);
        let (trust_root, envelope) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).expect("one key");
        Self {
            key,
            trust_root,
            envelope: envelope.to_json(),
        }
    }

    /// The same people, with members that stamp.
    pub(crate) fn with_members(seed: u8, members: &[u8]) -> Self {
        let key = SealingKey::from_seed([seed; 32]);
        let terms = Terms {
            keys: vec![TrustedKey {
                name: "ada".to_owned(),
                public: key.public(),
            }],
            threshold: 1,
            members: members
                .iter()
                .map(|seed| TrustedKey {
                    name: format!("c{seed}"),
                    public: member(*seed).public(),
                })
                .collect(),
        };
        let envelope = TrustRoot::draft(&terms, &[&key])
            .expect("the terms are good")
            .to_json();
        let trust_root = TrustRoot::open_first(&envelope).expect("it is signed");
        Self {
            key,
            trust_root,
            envelope,
        }
    }

    /// What these members say of a set at a time.
    pub(crate) fn stamp(&self, set: &PolicySet, at: Timestamp, members: &[u8]) -> Vec<u8> {
        let stamp = Stamp::new(&self.trust_root, set.epoch(), set.root(), ChainHead::START, at);
        let mut envelopes = members.iter().map(|seed| member(*seed).stamp(&stamp));
        let first = envelopes.next().expect("one member at least");
        let merge = |one, other| merge_stamps(&self.trust_root, &one, &other).expect("of one stamp");
        envelopes.fold(first, merge).to_json()
    }

    /// Seals a set.
    pub(crate) fn seal(&self, set: &PolicySet) -> Vec<u8> {
        self.seal_until(set, end())
    }

    pub(crate) fn seal_until(&self, set: &PolicySet, not_after: Timestamp) -> Vec<u8> {
        let count = u64::try_from(set.len()).expect("small");
        SetStatement::new(&self.trust_root, set.epoch(), set.root(), count, not_after)
            .seal(&[&self.key])
            .to_json()
    }

    /// What an honest controller sends to a host with these labels that holds `base`.
    pub(crate) fn update(&self, set: &PolicySet, labels: &Labels, base_epoch: u64) -> SetUpdate {
        let bodies = set
            .needed_by(labels)
            .filter(|entry| entry.epoch > base_epoch)
            .map(|entry| {
                (
                    entry.key.clone(),
                    set.body(&entry.key).expect("it has all").bytes().to_vec(),
                )
            })
            .collect();
        let (entries, seal) = (set.entries().cloned().collect(), self.seal(set));
        SetUpdate {
            base_epoch,
            epoch: set.epoch(),
            entries,
            bodies,
            seal,
            trust_roots: Vec::new(),
        }
    }
}

impl People {
    /// The cluster after these people have handed their trust root over to the key of `seed`, and the envelope of that.
    pub(crate) fn hand_over(&self, seed: u8) -> (Self, Vec<u8>) {
        let key = SealingKey::from_seed([seed; 32]);
        let keys = [TrustedKey {
            name: "bob".to_owned(),
            public: key.public(),
        }];
        let envelope = self
            .trust_root
            .succeed(&Terms::new(keys.to_vec(), 1), &[&self.key, &key])
            .expect("one key")
            .to_json();
        let trust_root = self.trust_root.advance(&envelope).expect("signed by both");
        let envelope_of_first = self.envelope.clone();
        let next = Self {
            key,
            trust_root,
            envelope: envelope_of_first,
        };
        (next, envelope)
    }
}

/// The key of a member.
pub(crate) fn member(seed: u8) -> MemberKey {
    MemberKey::from_seed([100 + seed; 32])
}

/// The labels of a zone.
pub(crate) fn zone(zone: &str) -> Labels {
    Labels([("zone".to_owned(), zone.to_owned())].into())
}

/// The next set.
pub(crate) fn next(set: &Arc<PolicySet>, upserts: Vec<PolicyObject>) -> Arc<PolicySet> {
    Arc::new(set.change(upserts, []).expect("the test's change is good"))
}
