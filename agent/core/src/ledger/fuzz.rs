//! Fuzz targets: offers of a controller that lies, and ledgers of a disk that does.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::model::printable;

use super::*;
use crate::sealed::{People, host, next, start, workload, zone};
use crate::store::memory::MemoryDisk;
use crate::store::{HeldSet, LedgerStore as _};

fn agent() -> AgentId {
    "h1".parse().unwrap()
}

/// Two sets that people sealed, one after the other.
fn sets() -> [Arc<PolicySet>; 2] {
    let objects = [
        host("h1", "a"),
        host("h2", "b"),
        workload("pay/web", "a", 1),
        workload("pay/db", "b", 1),
    ];
    let first = next(&Arc::new(PolicySet::empty()), objects.concat());
    let second = next(
        &first,
        [workload("pay/web", "a", 2), workload("pay/api", "a", 1)].concat(),
    );
    [first, second]
}

/// What a controller that lies does to an update, beside damaging its bytes.
#[derive(Clone, Copy, Debug, bolero::TypeGenerator)]
enum Lie {
    Nothing,
    DropEntry(u8),
    DropBody(u8),
    DoubleEntry(u8),
    SwapBodies(u8, u8),
    Epoch(u8),
    EntryEpoch(u8, u8),
    Hosts(u8),
    OtherSeal,
}

fn tell(lie: Lie, update: &mut SetUpdate, other: &SetUpdate) {
    let at = |index: u8, length: usize| usize::from(index) % length.max(1);
    let (entries, bodies) = (update.entries.len(), update.bodies.len());
    match lie {
        Lie::Nothing => {}
        Lie::DropEntry(index) if entries > 0 => drop(update.entries.remove(at(index, entries))),
        Lie::DropBody(index) if bodies > 0 => drop(update.bodies.remove(at(index, bodies))),
        Lie::DoubleEntry(index) if entries > 0 => {
            update.entries.push(update.entries[at(index, entries)].clone())
        }
        Lie::SwapBodies(one, two) if bodies > 0 => {
            let bytes = update.bodies[at(one, bodies)].1.clone();
            update.bodies[at(two, bodies)].1 = bytes;
        }
        Lie::Epoch(epoch) => update.epoch = epoch.into(),
        Lie::EntryEpoch(index, epoch) if entries > 0 => {
            update.entries[at(index, entries)].epoch = epoch.into()
        }
        Lie::Hosts(index) if entries > 0 => update.entries[at(index, entries)].hosts = zone("c"),
        Lie::OtherSeal => update.seal.clone_from(&other.seal),
        _ => {}
    }
}

#[test]
fn hostile_offers_are_refused_or_are_what_people_sealed() {
    let people = People::new(1);
    let sets = sets();
    let updates = [
        people.update(&sets[0], &zone("a"), 0),
        people.update(&sets[1], &zone("a"), 0),
        people.update(&sets[1], &zone("a"), 1),
    ];
    let enrolled = LedgerState::found(agent(), &people.trust_root.cluster_id(), &people.envelope)
        .unwrap()
        .0;
    let held = offer(&enrolled, &updates[0], start()).unwrap().next;
    let canonical = sets[1]
        .objects()
        .map(verger_policy::model::PolicyObject::canonical_bytes);
    let bytes = Damaged::json(canonical).after(verger_policy::model::OBJECT_PREFIX);
    check!()
        .with_generator((
            0..updates.len(),
            bolero::produce::<(bool, [Lie; 2])>(),
            bolero::produce::<Option<u8>>(),
            bytes,
            Damaged::json(updates.iter().map(|update| &update.seal)),
        ))
        .with_iterations(1_500)
        .for_each(|(which, (fresh, lies), body, bytes, seal)| {
            let mut update = updates[*which].clone();
            for lie in lies {
                tell(*lie, &mut update, &updates[(*which + 1) % 3]);
            }
            match body {
                Some(index) if !update.bodies.is_empty() => {
                    let at = usize::from(*index) % update.bodies.len();
                    update.bodies[at].1 = bytes.to_vec();
                }
                Some(_) => {}
                None => update.seal = seal.to_vec(),
            }
            let before = if *fresh { &enrolled } else { &held };
            match offer(before, &update, start()) {
                Ok(Accepted { next, delta }) => {
                    let (epoch, root) = next.position().unwrap();
                    assert!(sets.iter().any(|set| (set.epoch(), set.root()) == (epoch, root)));
                    assert!(before.position().is_none_or(|(held, _)| held <= epoch));
                    assert_eq!(next.host_labels(), zone("a"));
                    assert_eq!(next.set().unwrap().missing_for(&zone("a")).count(), 0);
                    assert_restored(&people, before, &next, delta);
                }
                Err(refusal) => {
                    assert!(!refusal.word().is_empty());
                    let told = refusal.to_string();
                    assert!(told.lines().all(|line| printable(line) == line), "{told:?}");
                }
            }
        });
}

/// What was persisted leads to the same state after a restart.
fn assert_restored(people: &People, before: &LedgerState, next: &LedgerState, delta: Option<LedgerDelta>) {
    let ledger = MemoryDisk::new(0);
    let (_, founding) =
        LedgerState::found(agent(), &people.trust_root.cluster_id(), &people.envelope).unwrap();
    ledger.commit(&founding).unwrap();
    if let Some(held) = &before.held {
        let set = Some(difference(None, held));
        ledger
            .commit(&LedgerDelta {
                trust_roots: Vec::new(),
                set,
            })
            .unwrap();
    }
    if let Some(delta) = delta {
        ledger.commit(&delta).unwrap();
    }
    let restored = LedgerState::restore(agent(), ledger.load().unwrap()).unwrap();
    assert_eq!(
        (restored.position(), restored.set()),
        (next.position(), next.set())
    );
}

#[test]
fn hostile_ledgers_are_unusable_or_hold_what_people_sealed() {
    let people = People::new(1);
    let [first, _] = sets();
    let update = people.update(&first, &zone("a"), 0);
    let bodies: BTreeMap<ObjectKey, Vec<u8>> = update.bodies.iter().cloned().collect();
    let keys: Vec<ObjectKey> = bodies.keys().cloned().collect();
    let canonical = Damaged::json(bodies.values()).after(verger_policy::model::OBJECT_PREFIX);
    check!()
        .with_generator((
            Damaged::json([&people.envelope]),
            Damaged::json([&update.seal]),
            bolero::produce::<(bool, bool, Option<u8>, u8)>(),
            canonical,
        ))
        .with_iterations(1_500)
        .for_each(|(root, seal, (bad_root, bad_seal, body, epoch), bytes)| {
            let mut image = LedgerImage {
                trust_roots: vec![if *bad_root {
                    root.to_vec()
                } else {
                    people.envelope.clone()
                }],
                highest_epoch: u64::from(*epoch % 3),
                set: Some(HeldSet {
                    head: SetHead {
                        epoch: first.epoch(),
                        root: first.root(),
                        not_after: start(),
                        seal: if *bad_seal {
                            seal.to_vec()
                        } else {
                            update.seal.clone()
                        },
                    },
                    entries: first
                        .entries()
                        .map(|entry| (entry.key.clone(), entry.clone()))
                        .collect(),
                    bodies: bodies.clone(),
                }),
            };
            if let (Some(index), Some(set)) = (body, &mut image.set) {
                let key = keys[usize::from(*index) % keys.len()].clone();
                set.bodies.insert(key, bytes.to_vec());
            }
            match LedgerState::restore(agent(), image) {
                Ok(state) => {
                    assert_eq!(state.position(), Some((first.epoch(), first.root())));
                    assert_eq!(state.cluster_id(), people.trust_root.cluster_id());
                    assert_eq!(state.host_labels(), zone("a"));
                }
                Err(unusable) => {
                    let told = unusable.to_string();
                    assert!(told.lines().all(|line| printable(line) == line), "{told:?}");
                }
            }
        });
}
