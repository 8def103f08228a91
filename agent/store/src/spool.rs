//! The findings spool, as records of one journal.
//!
//! | key | payload |
//! |---|---|
//! | `f` + uid (32 bytes) + part (u16) | finding |
//! | `q` + sequence (u64, big endian) | transition waiting for acknowledgement |
//! | `m` | where the queue stands |

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use verger_agent_core::store::{Numbered, Round, SpoolStore, SpoolUsage, StoreError};
use verger_policy::finding::{FindingUid, Lifecycle, LocalFinding};

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
        if acknowledged >= next || next == u64::MAX {
            return Err(journal.damaged(format!(
                "the queue cannot end before transition {next} with {acknowledged} acknowledged"
            )));
        }
        let spool = Self {
            inner: Mutex::new(Inner { journal, queue }),
            limit,
        };
        spool.prove()?;
        spool.findings()?;
        Ok(spool)
    }

    /// Reads the whole queue: numbers without a gap, as many bytes as were counted.
    fn prove(&self) -> Result<(), StoreError> {
        let Inner { journal, queue } = &*self.inner();
        let (mut expected, mut bytes) = (queue.acknowledged + 1, 0_u64);
        journal.scan(b"q", b"q", |key, payload| {
            if key != waiting_key(expected) {
                return Err(journal.damaged(format!("transition {expected} is missing")));
            }
            read_transition(journal, expected, &payload)?;
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

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while holding it: sled's panics are caught")
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
        let Inner { journal, queue } = &mut *self.inner();
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
        changes.insert(QUEUE.to_vec(), Some(write(&next)));
        journal.commit(&changes, next.next)?;
        let first = queue.next;
        *queue = next;
        Ok(first)
    }

    fn pending(&self, from: u64, max: usize, max_bytes: usize) -> Result<Vec<Numbered>, StoreError> {
        let Inner { journal, queue } = &*self.inner();
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
        let Inner { journal, queue } = &mut *self.inner();
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
            changes.insert(QUEUE.to_vec(), Some(write(&next)));
            journal.commit(&changes, next.next)?;
            *queue = next;
        }
        Ok(())
    }

    fn begin_anew(&self, after: u64) -> Result<SpoolUsage, StoreError> {
        let findings = self.findings()?;
        let Inner { journal, queue } = &mut *self.inner();
        let first = queue.next.max(after.saturating_add(1));
        let mut next = StoredQueue {
            next: first,
            acknowledged: first - 1,
            bytes: 0,
            anew: first,
            ..*queue
        };
        let mut changes = Changes::new();
        journal.scan(b"q", b"q", |key, _| {
            changes.insert(key.to_vec(), None);
            Ok(true)
        })?;
        let over = |finding: &&LocalFinding| finding.lifecycle == Lifecycle::Resolved;
        for finding in findings.values().filter(|finding| !over(finding)) {
            let payload = write(&StoredTransition::of(&finding.transition()));
            next.bytes += size(&payload);
            changes.insert(waiting_key(next.next).to_vec(), Some(payload));
            next.next += 1;
        }
        changes.insert(QUEUE.to_vec(), Some(write(&next)));
        journal.commit(&changes, next.next)?;
        *queue = next;
        Ok(usage_of(queue, self.limit))
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

fn waiting_key(sequence: u64) -> [u8; 9] {
    let mut key = [b'q'; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

fn size(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).expect("sizes fit")
}
