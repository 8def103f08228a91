//! The ports in memory: for tests, and the model that the store on disk is compared with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use verger_policy::digest::Digest;
use verger_policy::finding::{Chain, FindingUid, Lifecycle, LocalFinding, Standing, Told, Transition};

use super::{
    HeldSet, LAST_SEQUENCE, LedgerDelta, LedgerImage, LedgerStore, Numbered, Round, SetDelta, SpoolStore,
    SpoolUsage, StoreError,
};

/// A disk that lasts as long as one of its clones. Both stores on it.
#[derive(Clone)]
pub struct MemoryDisk {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    image: LedgerImage,
    findings: BTreeMap<FindingUid, LocalFinding>,
    waiting: BTreeMap<u64, Transition>,
    /// After everything that is acknowledged.
    acknowledged: Digest,
    standing: Standing,
    usage: SpoolUsage,
    broken: bool,
}

impl Inner {
    /// The chain after each number that waits, the one before them first.
    fn chains(&self) -> Vec<Chain> {
        let mut chain = Chain {
            sequence: self.usage.acknowledged,
            digest: self.acknowledged,
        };
        let mut chains = vec![chain];
        for transition in self.waiting.values() {
            chain = chain.then(&transition.digest());
            chains.push(chain);
        }
        chains
    }

    fn chain_at(&self, sequence: u64) -> Option<Digest> {
        let chains = self.chains();
        let there = chains.iter().find(|chain| chain.sequence == sequence);
        there.map(|chain| chain.digest)
    }
}

impl MemoryDisk {
    /// An empty one with room for `limit` bytes of transitions (here: of their debug form).
    pub fn new(limit: u64) -> Self {
        let usage = SpoolUsage {
            next_sequence: 1,
            limit,
            ..SpoolUsage::default()
        };
        let inner = Inner {
            image: LedgerImage::default(),
            findings: BTreeMap::new(),
            waiting: BTreeMap::new(),
            acknowledged: Chain::START.digest,
            standing: Standing::default(),
            usage,
            broken: false,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Makes every later call fail as it does after a failed fsync.
    pub fn fail_from_now_on(&self) {
        self.lock().broken = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while holding it")
    }

    fn serve(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.lock();
        if inner.broken {
            return Err(StoreError::Latched {
                file: PathBuf::from("memory"),
            });
        }
        Ok(inner)
    }
}

impl LedgerStore for MemoryDisk {
    fn load(&self) -> Result<LedgerImage, StoreError> {
        Ok(self.serve()?.image.clone())
    }

    fn commit(&self, delta: &LedgerDelta) -> Result<(), StoreError> {
        let mut inner = self.serve()?;
        let mut next = inner.image.clone();
        next.trust_roots.extend(delta.trust_roots.iter().cloned());
        if let Some(set) = &delta.set {
            put_set(&mut next, set)?;
        }
        inner.image = next;
        Ok(())
    }
}

fn put_set(image: &mut LedgerImage, delta: &SetDelta) -> Result<(), StoreError> {
    let SetDelta {
        head,
        entries,
        dropped_entries,
        bodies,
        dropped_bodies,
    } = delta;
    if head.epoch < image.highest_epoch {
        return Err(StoreError::EpochBack {
            offered: head.epoch,
            highest: image.highest_epoch,
        });
    }
    image.highest_epoch = head.epoch;
    let held = image.set.take();
    let (mut next_entries, mut next_bodies) =
        held.map_or_else(Default::default, |set| (set.entries, set.bodies));
    for key in dropped_bodies.iter().chain(dropped_entries) {
        next_bodies.remove(key);
    }
    for key in dropped_entries {
        next_entries.remove(key);
    }
    for entry in entries {
        if next_entries
            .get(&entry.key)
            .is_some_and(|held| held.digest != entry.digest)
        {
            next_bodies.remove(&entry.key);
        }
        next_entries.insert(entry.key.clone(), entry.clone());
    }
    for (key, body) in bodies {
        match next_entries.get(key) {
            None => {
                return Err(StoreError::Unfit {
                    what: format!("{key} has a body and no entry"),
                });
            }
            Some(entry) if entry.digest != Digest::of(body) => {
                return Err(StoreError::Unfit {
                    what: format!("the body of {key} is not the one its entry names"),
                });
            }
            Some(_) => next_bodies.insert(key.clone(), body.clone()),
        };
    }
    image.set = Some(HeldSet {
        head: head.clone(),
        entries: next_entries,
        bodies: next_bodies,
    });
    Ok(())
}

impl SpoolStore for MemoryDisk {
    fn findings(&self) -> Result<BTreeMap<FindingUid, LocalFinding>, StoreError> {
        Ok(self.serve()?.findings.clone())
    }

    fn commit_round(&self, round: &Round) -> Result<u64, StoreError> {
        let mut inner = self.serve()?;
        let needed: u64 = round.transitions.iter().map(size).sum();
        let SpoolUsage {
            bytes: waiting,
            limit,
            next_sequence: first,
            ..
        } = inner.usage;
        if waiting + needed > limit && !round.transitions.is_empty() {
            inner.usage.refused_rounds += 1;
            return Err(StoreError::SpoolFull {
                waiting,
                needed,
                limit,
            });
        }
        for uid in &round.removed {
            inner.findings.remove(uid);
        }
        for finding in &round.changed {
            inner.findings.insert(finding.uid, finding.clone());
        }
        for (sequence, transition) in (first..).zip(&round.transitions) {
            inner.standing.note(transition);
            inner.waiting.insert(sequence, transition.clone());
            inner.usage.next_sequence = sequence + 1;
        }
        inner.usage.bytes += needed;
        Ok(first)
    }

    fn pending(&self, from: u64, max: usize, max_bytes: usize) -> Result<Vec<Numbered>, StoreError> {
        let inner = self.serve()?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (&sequence, transition) in inner.waiting.range(from..).take(max) {
            bytes += size(transition);
            if bytes > u64::try_from(max_bytes).unwrap_or(u64::MAX) && !found.is_empty() {
                break;
            }
            found.push(Numbered {
                sequence,
                transition: transition.clone(),
            });
        }
        Ok(found)
    }

    fn acknowledge(&self, sequence: u64) -> Result<(), StoreError> {
        let mut inner = self.serve()?;
        let last = inner.usage.next_sequence - 1;
        if sequence > last {
            return Err(StoreError::NeverSent { sequence, last });
        }
        if let Some(chain) = inner.chain_at(sequence) {
            inner.acknowledged = chain;
        }
        inner.usage.acknowledged = inner.usage.acknowledged.max(sequence);
        inner.waiting = inner.waiting.split_off(&(sequence + 1));
        inner.usage.bytes = inner.waiting.values().map(size).sum();
        Ok(())
    }

    fn begin_anew(&self, after: u64) -> Result<SpoolUsage, StoreError> {
        let mut inner = self.serve()?;
        let first = inner.usage.next_sequence.max(after.saturating_add(1));
        if first > LAST_SEQUENCE {
            return Err(StoreError::TooFar { after });
        }
        if let Some(last) = inner.chains().last() {
            inner.acknowledged = last.digest;
        }
        let told: BTreeMap<u64, Transition> = inner
            .findings
            .values()
            .filter(|finding| finding.lifecycle != Lifecycle::Resolved)
            .map(LocalFinding::transition)
            .zip(first..)
            .map(|(transition, sequence)| (sequence, transition))
            .collect();
        inner.usage.next_sequence = first + told.len() as u64;
        inner.usage.acknowledged = first - 1;
        inner.usage.anew = first;
        inner.usage.bytes = told.values().map(size).sum();
        inner.standing = Standing::default();
        for transition in told.values() {
            inner.standing.note(transition);
        }
        inner.waiting = told;
        Ok(inner.usage)
    }

    fn told(&self) -> Result<Told, StoreError> {
        let mut inner = self.serve()?;
        let chain = inner.chains().last().copied().unwrap_or(Chain::START);
        Ok(Told {
            chain,
            open: inner.standing.count(),
            table: inner.standing.digest(),
        })
    }

    fn chain_at(&self, sequence: u64) -> Result<Option<Digest>, StoreError> {
        Ok(self.serve()?.chain_at(sequence))
    }

    fn usage(&self) -> Result<SpoolUsage, StoreError> {
        Ok(self.serve()?.usage)
    }
}

fn size(transition: &Transition) -> u64 {
    u64::try_from(format!("{transition:?}").len()).expect("sizes fit")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::conformance::{self, Bench, Stores};
    use super::*;

    struct Memory(MemoryDisk);

    impl Bench for Memory {
        fn open(&mut self) -> Stores {
            (Box::new(self.0.clone()), Box::new(self.0.clone()))
        }
    }

    #[test]
    fn the_fake_conforms() {
        conformance::run(|limit| Box::new(Memory(MemoryDisk::new(limit))));
    }

    #[test]
    fn a_broken_disk_answers_nothing() {
        let disk = MemoryDisk::new(1 << 20);
        disk.fail_from_now_on();
        assert!(matches!(disk.load().unwrap_err(), StoreError::Latched { .. }));
        assert!(matches!(
            disk.commit_round(&Round::default()).unwrap_err(),
            StoreError::Latched { .. }
        ));
    }
}
