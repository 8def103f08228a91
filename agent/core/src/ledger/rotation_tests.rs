//! Trust roots that follow one another.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use verger_policy::set::PolicySet;
use verger_seal::Terms;

use super::*;
use crate::sealed::{People, host, next, start, workload, zone};
use crate::store::LedgerStore;
use crate::store::memory::MemoryDisk;

fn agent() -> AgentId {
    "h1".parse().unwrap()
}

struct Fleet {
    old: People,
    new: People,
    envelope: Vec<u8>,
    first: Arc<PolicySet>,
    /// Sealed anew when the keys changed: the same objects.
    second: Arc<PolicySet>,
}

impl Fleet {
    fn new() -> Self {
        let old = People::new(1);
        let (new, envelope) = old.hand_over(2);
        let objects = [host("h1", "a"), workload("pay/web", "a", 1)].concat();
        let first = next(&Arc::new(PolicySet::empty()), objects);
        Self {
            second: next(&first, Vec::new()),
            first,
            old,
            new,
            envelope,
        }
    }

    fn rotation(&self) -> SetUpdate {
        SetUpdate {
            trust_roots: vec![self.envelope.clone()],
            ..self.new.update(&self.second, &zone("a"), 0)
        }
    }

    fn enrolled(&self) -> (LedgerState, MemoryDisk) {
        let (state, delta) =
            LedgerState::found(agent(), &self.old.trust_root.cluster_id(), &self.old.envelope).unwrap();
        let disk = MemoryDisk::new(u64::MAX);
        LedgerStore::commit(&disk, &delta).unwrap();
        (state, disk)
    }

    /// An agent that holds the first set.
    fn held(&self) -> (LedgerState, MemoryDisk) {
        let (state, disk) = self.enrolled();
        let Accepted { next, delta } =
            offer(&state, &self.old.update(&self.first, &zone("a"), 0), start()).unwrap();
        LedgerStore::commit(&disk, &delta.unwrap()).unwrap();
        (next, disk)
    }
}

fn word(state: &LedgerState, update: &SetUpdate) -> &'static str {
    offer(state, update, start()).unwrap_err().word()
}

#[test]
fn an_agent_follows_a_change_of_keys_and_takes_nothing_of_the_old_ones_after_it() {
    let fleet = Fleet::new();
    let (state, disk) = fleet.held();
    // The attack works before: the old keys seal what they like.
    let evil = next(&fleet.second, host("evil", "a"));
    let evil = fleet.old.update(&evil, &zone("a"), 0);
    offer(&state, &evil, start()).unwrap();

    let Accepted { next: moved, delta } = offer(&state, &fleet.rotation(), start()).unwrap();
    assert_eq!((moved.trust_root_version(), moved.position().unwrap().0), (2, 2));
    LedgerStore::commit(&disk, &delta.unwrap()).unwrap();
    assert_eq!(word(&moved, &evil), "wrong-key");
    // And after a restart.
    let restored = LedgerState::restore(agent(), disk.load().unwrap()).unwrap();
    assert_eq!(restored.trust_root_version(), 2);
    assert_eq!(restored.position(), moved.position());
    assert_eq!(word(&restored, &evil), "wrong-key");
    // The benign twin: the new keys go on, and known versions are passed over.
    let third = next(&fleet.second, host("h2", "b"));
    let update = SetUpdate {
        trust_roots: vec![fleet.envelope.clone()],
        ..fleet.new.update(&third, &zone("a"), 2)
    };
    let delta = offer(&restored, &update, start()).unwrap().delta.unwrap();
    assert!(delta.trust_roots.is_empty());
}

#[test]
fn who_comes_new_is_not_given_what_the_old_keys_sealed() {
    let fleet = Fleet::new();
    let (fresh, _) = fleet.enrolled();
    let old = SetUpdate {
        trust_roots: vec![fleet.envelope.clone()],
        ..fleet.old.update(&fleet.first, &zone("a"), 0)
    };
    assert_eq!(word(&fresh, &old), "wrong-key");
    let Accepted { next, .. } = offer(&fresh, &fleet.rotation(), start()).unwrap();
    assert_eq!(next.trust_root_version(), 2);
}

#[test]
fn a_version_that_the_one_before_did_not_sign_is_refused_and_the_last_good_set_stays() {
    let fleet = Fleet::new();
    let (state, _) = fleet.held();
    let (others, foreign) = People::new(7).hand_over(8);
    let forged = |envelope: Vec<u8>, people: &People| SetUpdate {
        trust_roots: vec![envelope],
        ..people.update(&fleet.second, &zone("a"), 0)
    };
    assert_eq!(word(&state, &forged(foreign, &others)), "trust-root-wrong-key");
    // By the new key alone.
    let keys = fleet.new.trust_root.keys().to_vec();
    let alone = fleet
        .old
        .trust_root
        .succeed(&Terms::new(keys, 1), &[&fleet.new.key])
        .unwrap();
    assert_eq!(
        word(&state, &forged(alone.to_json(), &fleet.new)),
        "trust-root-wrong-key"
    );
    // Without the version that its seal is under.
    let withheld = fleet.new.update(&fleet.second, &zone("a"), 0);
    assert_eq!(word(&state, &withheld), "wrong-key");
    assert_eq!(state.position().unwrap().0, 1);
}
