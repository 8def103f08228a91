//! The findings spool, as records of one journal.
//!
//! | key | payload |
//! |---|---|
//! | `f` + uid (32 bytes) + part (u16) | finding |
//! | `q` + sequence (u64, big endian) | transition waiting for acknowledgement |
//! | `d` + uid (32 bytes) | digest of the last transition of a finding that is not over |
//! | `m` | where the queue stands |

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use verger_agent_core::store::{LAST_SEQUENCE, Numbered, Round, SpoolStore, SpoolUsage, StoreError};
use verger_policy::digest::Digest;
use verger_policy::finding::{Chain, FindingUid, Lifecycle, LocalFinding, Standing, Told, Transition};

use crate::journal::{Changes, Journal};
use crate::record::MAX_PAYLOAD;
use crate::stored::{StoredFinding, StoredQueue, StoredTransition, read, write};
use crate::{MAX_BODY, parts};

const QUEUE: &[u8] = b"m";
const EMPTY: StoredQueue = StoredQueue {
    next: 1,
    acknowledged: 0,
    bytes: 0,
    refused_rounds: 0,
    anew: 0,
    chain: Some(Chain::START.digest),
};

/// The most transitions one acknowledgement removes in one commit; more go in several.
const REMOVE_AT_ONCE: usize = 4096;

/// The spool on disk.
pub struct SledSpool {
    inner: Mutex<Inner>,
    limit: u64,
}

struct Inner {
    journal: Journal,
    /// As on disk, but for `refused_rounds`, which runs ahead until the next commit.
    queue: StoredQueue,
    /// The chain at the last acknowledged number, and after each that waits. Only the first is on disk: the others follow.
    chains: VecDeque<Digest>,
    /// As on disk, under `d`.
    standing: Standing,
}

impl Inner {
    /// The chain at a number that waits, or at the one before them.
    fn chain_at(&self, sequence: u64) -> Option<Digest> {
        let place = sequence.checked_sub(self.queue.acknowledged)?;
        self.chains.get(usize::try_from(place).ok()?).copied()
    }

    /// The chain at the last number.
    fn chain(&self) -> Chain {
        Chain {
            sequence: self.queue.next - 1,
            digest: self.chains.back().copied().unwrap_or(Chain::START.digest),
        }
    }
}

/// What a transition is the last word of, as it is put among what stands; none of what is over.
fn standing_row(transition: &Transition) -> (FindingUid, Option<Digest>) {
    let Transition { uid, lifecycle, .. } = transition;
    let lasts = *lifecycle != Lifecycle::Resolved;
    (*uid, lasts.then(|| transition.digest()))
}

/// Puts it among what stands on disk.
fn stand(&(uid, last): &(FindingUid, Option<Digest>), changes: &mut Changes) {
    changes.insert(standing_key(uid), last.map(|digest| digest.as_bytes().to_vec()));
}

impl SledSpool {
    pub(crate) fn open(journal: Journal, limit: u64) -> Result<Self, StoreError> {
        let queue = match journal.get(QUEUE)? {
            Some(payload) => {
                read(&payload).map_err(|what| journal.damaged(format!("the state of the queue: {what}")))?
            }
            None => EMPTY,
        };
        let StoredQueue {
            next, acknowledged, ..
        } = queue;
        if acknowledged >= next || next > LAST_SEQUENCE {
            return Err(journal.damaged(format!(
                "the queue cannot end before transition {next} with {acknowledged} acknowledged"
            )));
        }
        let mut inner = Inner {
            journal,
            queue,
            chains: VecDeque::new(),
            standing: Standing::default(),
        };
        inner.prove()?;
        inner.read_standing()?;
        let spool = Self {
            inner: Mutex::new(inner),
            limit,
        };
        spool.findings()?;
        if queue.chain.is_none() {
            // From before chains were kept: what stands was not either. Told anew, both begin.
            spool.begin_anew(0)?;
        }
        Ok(spool)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while holding it: sled's panics are caught")
    }
}

impl Inner {
    /// Reads the whole queue: numbers without a gap, as many bytes as were counted.
    fn prove(&mut self) -> Result<(), StoreError> {
        let Self {
            journal,
            queue,
            chains,
            standing: _,
        } = self;
        let mut chain = Chain {
            sequence: queue.acknowledged,
            digest: queue.chain.unwrap_or(Chain::START.digest),
        };
        *chains = [chain.digest].into();
        let (mut expected, mut bytes) = (queue.acknowledged + 1, 0_u64);
        journal.scan(b"q", b"q", |key, payload| {
            if key != waiting_key(expected) {
                return Err(journal.damaged(format!("transition {expected} is missing")));
            }
            chain = chain.then(&read_transition(journal, expected, &payload)?.digest());
            chains.push_back(chain.digest);
            expected = expected.saturating_add(1);
            bytes += size(&payload);
            Ok(true)
        })?;
        if expected != queue.next || bytes != queue.bytes || journal.last() > queue.next {
            return Err(journal.damaged(format!(
                "the queue ends at transition {} and should end at {}",
                expected - 1,
                queue.next - 1
            )));
        }
        Ok(())
    }

    fn read_standing(&mut self) -> Result<(), StoreError> {
        let Self {
            journal, standing, ..
        } = self;
        journal.scan(b"d", b"d", |key, payload| {
            let uid: Option<[u8; 32]> = key[1..].try_into().ok();
            let last: Option<[u8; 32]> = payload.as_slice().try_into().ok();
            let (Some(uid), Some(last)) = (uid, last) else {
                return Err(journal.damaged("the digest of a transition has another shape".to_owned()));
            };
            standing.put(
                FindingUid(Digest::from_bytes(uid)),
                Some(Digest::from_bytes(last)),
            );
            Ok(true)
        })
    }
}

impl SpoolStore for SledSpool {
    fn findings(&self) -> Result<BTreeMap<FindingUid, LocalFinding>, StoreError> {
        let Inner { journal, .. } = &*self.inner();
        let mut encoded: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        journal.scan(b"f", b"f", |key, payload| {
            let (finding, _part) = key
                .split_last_chunk::<2>()
                .filter(|(finding, _)| !finding.is_empty())
                .ok_or_else(|| journal.damaged("a part of a finding has no number".to_owned()))?;
            encoded.entry(finding.to_vec()).or_default().extend(payload);
            Ok(true)
        })?;
        let mut findings = BTreeMap::new();
        for (key, bytes) in encoded {
            let finding = read::<StoredFinding>(&bytes)
                .and_then(StoredFinding::into_domain)
                .map_err(|what| journal.damaged(format!("a finding: {what}")))?;
            if key != finding_key(finding.uid) {
                return Err(journal.damaged(format!("finding {} is under another key", finding.uid)));
            }
            findings.insert(finding.uid, finding);
        }
        Ok(findings)
    }

    fn commit_round(&self, round: &Round) -> Result<u64, StoreError> {
        let Round {
            changed,
            removed,
            transitions,
        } = round;
        let inner = &mut *self.inner();
        let mut chain = inner.chain();
        let Inner {
            journal,
            queue,
            chains,
            standing,
        } = inner;
        let mut changes = Changes::new();
        for uid in removed {
            parts::put(journal, &finding_key(*uid), &[], &mut changes)?;
        }
        for finding in changed {
            let bytes = write(&StoredFinding::of(finding));
            if bytes.len() > MAX_BODY {
                let what = format!("finding {}", finding.uid);
                return Err(StoreError::TooLarge {
                    what,
                    bytes: bytes.len(),
                    limit: MAX_BODY,
                });
            }
            parts::put(journal, &finding_key(finding.uid), &bytes, &mut changes)?;
        }
        let mut next = StoredQueue { ..*queue };
        let mut added = Vec::with_capacity(transitions.len());
        for transition in transitions {
            let payload = write(&StoredTransition::of(transition));
            if payload.len() > MAX_PAYLOAD {
                let what = format!("a transition of finding {}", transition.uid);
                return Err(StoreError::TooLarge {
                    what,
                    bytes: payload.len(),
                    limit: MAX_PAYLOAD,
                });
            }
            next.bytes += size(&payload);
            changes.insert(waiting_key(next.next).to_vec(), Some(payload));
            chain = chain.then(&transition.digest());
            added.push(chain.digest);
            next.next += 1;
        }
        if next.bytes > self.limit && !transitions.is_empty() {
            queue.refused_rounds += 1;
            let (waiting, limit) = (queue.bytes, self.limit);
            return Err(StoreError::SpoolFull {
                waiting,
                needed: next.bytes - waiting,
                limit,
            });
        }
        let rows: Vec<_> = transitions.iter().map(standing_row).collect();
        for row in &rows {
            stand(row, &mut changes);
        }
        changes.insert(QUEUE.to_vec(), Some(write(&next)));
        journal.commit(&changes, next.next)?;
        for (uid, last) in rows {
            standing.put(uid, last);
        }
        chains.extend(added);
        let first = queue.next;
        *queue = next;
        Ok(first)
    }

    fn pending(&self, from: u64, max: usize, max_bytes: usize) -> Result<Vec<Numbered>, StoreError> {
        let Inner { journal, queue, .. } = &*self.inner();
        let mut sequence = from.max(queue.acknowledged + 1);
        let (mut found, mut bytes) = (Vec::new(), 0_usize);
        if max == 0 {
            return Ok(found);
        }
        journal.scan(b"q", &waiting_key(sequence), |key, payload| {
            if key != waiting_key(sequence) {
                return Err(journal.damaged(format!("transition {sequence} is missing")));
            }
            bytes = bytes.saturating_add(payload.len());
            if bytes > max_bytes && !found.is_empty() {
                return Ok(false);
            }
            found.push(Numbered {
                sequence,
                transition: read_transition(journal, sequence, &payload)?,
            });
            sequence += 1;
            Ok(found.len() < max)
        })?;
        Ok(found)
    }

    fn acknowledge(&self, sequence: u64) -> Result<(), StoreError> {
        let Inner {
            journal,
            queue,
            chains,
            ..
        } = &mut *self.inner();
        if sequence >= queue.next {
            return Err(StoreError::NeverSent {
                sequence,
                last: queue.next - 1,
            });
        }
        while queue.acknowledged < sequence {
            let mut next = StoredQueue { ..*queue };
            let mut changes = Changes::new();
            journal.scan(b"q", &waiting_key(next.acknowledged + 1), |key, payload| {
                next.acknowledged += 1;
                next.bytes -= size(&payload);
                changes.insert(key.to_vec(), None);
                Ok(next.acknowledged < sequence && changes.len() < REMOVE_AT_ONCE)
            })?;
            if changes.is_empty() {
                return Err(journal.damaged(format!("transition {} is missing", next.acknowledged + 1)));
            }
            let gone = usize::try_from(next.acknowledged - queue.acknowledged).unwrap_or(usize::MAX);
            next.chain = chains.get(gone).copied();
            changes.insert(QUEUE.to_vec(), Some(write(&next)));
            journal.commit(&changes, next.next)?;
            chains.drain(..gone.min(chains.len()));
            *queue = next;
        }
        Ok(())
    }

    fn begin_anew(&self, after: u64) -> Result<SpoolUsage, StoreError> {
        let findings = self.findings()?;
        let inner = &mut *self.inner();
        let before = inner.chain();
        let Inner {
            journal,
            queue,
            chains,
            standing,
        } = inner;
        let first = queue.next.max(after.saturating_add(1));
        if first > LAST_SEQUENCE {
            return Err(StoreError::TooFar { after });
        }
        let mut next = StoredQueue {
            next: first,
            acknowledged: first - 1,
            bytes: 0,
            anew: first,
            chain: Some(before.digest),
            ..*queue
        };
        let mut chain = Chain {
            sequence: next.acknowledged,
            ..before
        };
        let (mut anew, mut links) = (Standing::default(), VecDeque::from([chain.digest]));
        let mut changes = Changes::new();
        for prefix in [b"q", b"d"] {
            journal.scan(prefix, prefix, |key, _| {
                changes.insert(key.to_vec(), None);
                Ok(true)
            })?;
        }
        let over = |finding: &&LocalFinding| finding.lifecycle == Lifecycle::Resolved;
        for finding in findings.values().filter(|finding| !over(finding)) {
            let transition = finding.transition();
            let (uid, last) = standing_row(&transition);
            stand(&(uid, last), &mut changes);
            anew.put(uid, last);
            chain = chain.then(&transition.digest());
            links.push_back(chain.digest);
            let payload = write(&StoredTransition::of(&transition));
            next.bytes += size(&payload);
            changes.insert(waiting_key(next.next).to_vec(), Some(payload));
            next.next += 1;
        }
        changes.insert(QUEUE.to_vec(), Some(write(&next)));
        journal.commit(&changes, next.next)?;
        (*queue, *chains, *standing) = (next, links, anew);
        Ok(usage_of(queue, self.limit))
    }

    fn told(&self) -> Result<Told, StoreError> {
        let inner = &mut *self.inner();
        Ok(Told {
            chain: inner.chain(),
            open: inner.standing.count(),
            table: inner.standing.digest(),
        })
    }

    fn chain_at(&self, sequence: u64) -> Result<Option<Digest>, StoreError> {
        Ok(self.inner().chain_at(sequence))
    }

    fn usage(&self) -> Result<SpoolUsage, StoreError> {
        Ok(usage_of(&self.inner().queue, self.limit))
    }
}

const fn usage_of(queue: &StoredQueue, limit: u64) -> SpoolUsage {
    let StoredQueue {
        next,
        acknowledged,
        bytes,
        refused_rounds,
        anew,
        chain: _,
    } = *queue;
    SpoolUsage {
        next_sequence: next,
        acknowledged,
        bytes,
        limit,
        anew,
        refused_rounds,
    }
}

fn read_transition(
    journal: &Journal,
    sequence: u64,
    payload: &[u8],
) -> Result<verger_policy::finding::Transition, StoreError> {
    read::<StoredTransition>(payload)
        .and_then(StoredTransition::into_domain)
        .map_err(|what| journal.damaged(format!("transition {sequence}: {what}")))
}

fn finding_key(uid: FindingUid) -> Vec<u8> {
    [b"f", uid.0.as_bytes().as_slice()].concat()
}

fn standing_key(uid: FindingUid) -> Vec<u8> {
    [b"d", uid.0.as_bytes().as_slice()].concat()
}

fn waiting_key(sequence: u64) -> [u8; 9] {
    let mut key = [b'q'; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

fn size(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).expect("sizes fit")
}
