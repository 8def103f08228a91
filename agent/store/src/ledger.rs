//! The ledger, as records of one journal.
//!
//! | key | payload |
//! |---|---|
//! | `t` + version (u32, big endian) | envelope of a trust root |
//! | `h` | head: epochs, root, end of validity |
//! | `s` + part (u16) | envelope of the seal |
//! | `e` + kind, NUL, name | entry |
//! | `b` + kind, NUL, name, NUL + part (u16) | canonical bytes |

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use verger_agent_core::store::{HeldSet, LedgerDelta, LedgerImage, LedgerStore, SetDelta, StoreError};
use verger_policy::digest::Digest;
use verger_policy::model::ObjectKey;

use crate::journal::{Changes, Journal};
use crate::record::MAX_PAYLOAD;
use crate::stored::{StoredEntry, StoredHead, read, write};
use crate::{MAX_BODY, parts};

const HEAD: &[u8] = b"h";
const SEAL: &[u8] = b"s";

/// The ledger on disk.
pub struct SledLedger {
    journal: Mutex<Journal>,
}

impl SledLedger {
    pub(crate) fn open(journal: Journal) -> Result<Self, StoreError> {
        let ledger = Self {
            journal: Mutex::new(journal),
        };
        ledger.load()?;
        Ok(ledger)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal
            .lock()
            .expect("nothing panics while holding it: sled's panics are caught")
    }
}

impl LedgerStore for SledLedger {
    fn load(&self) -> Result<LedgerImage, StoreError> {
        let journal = self.journal();
        let trust_roots = parts::all(&journal, b"t")?;
        let highest_epoch = journal.last();
        let Some(head) = journal.get(HEAD)? else {
            return Ok(LedgerImage {
                trust_roots,
                highest_epoch,
                set: None,
            });
        };
        let damaged = |what: String| journal.damaged(what);
        let head: StoredHead = read(&head).map_err(|what| damaged(format!("the head of the set: {what}")))?;
        let seal = parts::all(&journal, SEAL)?.concat();
        let head = head
            .into_domain(seal)
            .map_err(|what| damaged(format!("the head of the set: {what}")))?;
        let mut entries = BTreeMap::new();
        for payload in parts::all(&journal, b"e")? {
            let entry = read::<StoredEntry>(&payload)
                .and_then(StoredEntry::into_domain)
                .map_err(|what| damaged(format!("an entry: {what}")))?;
            entries.insert(entry.key.clone(), entry);
        }
        let mut bodies = BTreeMap::new();
        for (key, entry) in &entries {
            let body = parts::all(&journal, &body_key(key))?.concat();
            if body.is_empty() {
                continue;
            }
            if Digest::of(&body) != entry.digest {
                return Err(damaged(format!("the body of {key} does not match its digest")));
            }
            bodies.insert(key.clone(), body);
        }
        Ok(LedgerImage {
            trust_roots,
            highest_epoch,
            set: Some(HeldSet {
                head,
                entries,
                bodies,
            }),
        })
    }

    fn commit(&self, delta: &LedgerDelta) -> Result<(), StoreError> {
        let mut journal = self.journal();
        let mut changes = Changes::new();
        let mut version =
            u32::try_from(parts::all(&journal, b"t")?.len()).expect("trust roots are made by people");
        for envelope in &delta.trust_roots {
            fits(&format!("trust root {}", version + 1), envelope, MAX_PAYLOAD)?;
            version += 1;
            changes.insert(
                [b"t".as_slice(), &version.to_be_bytes()].concat(),
                Some(envelope.clone()),
            );
        }
        let mut highest = journal.last();
        if let Some(set) = &delta.set {
            if set.head.epoch < highest {
                return Err(StoreError::EpochBack {
                    offered: set.head.epoch,
                    highest,
                });
            }
            highest = set.head.epoch;
            put_set(&journal, set, &mut changes)?;
        }
        journal.commit(&changes, highest)
    }
}

fn put_set(journal: &Journal, set: &SetDelta, changes: &mut Changes) -> Result<(), StoreError> {
    let SetDelta {
        head,
        entries,
        dropped_entries,
        bodies,
        dropped_bodies,
    } = set;
    changes.insert(HEAD.to_vec(), Some(write(&StoredHead::of(head))));
    fits("the seal", &head.seal, MAX_BODY)?;
    parts::put(journal, SEAL, &head.seal, changes)?;
    for key in dropped_entries {
        changes.insert(entry_key(key), None);
    }
    for key in dropped_bodies.iter().chain(dropped_entries) {
        parts::put(journal, &body_key(key), &[], changes)?;
    }
    let mut digests = BTreeMap::new();
    for entry in entries {
        let payload = write(&StoredEntry::of(entry));
        fits(&format!("the entry of {}", entry.key), &payload, MAX_PAYLOAD)?;
        if held_digest(journal, &entry.key)?.is_some_and(|held| held != entry.digest) {
            parts::put(journal, &body_key(&entry.key), &[], changes)?;
        }
        changes.insert(entry_key(&entry.key), Some(payload));
        digests.insert(&entry.key, entry.digest);
    }
    for (key, body) in bodies {
        let named = match digests.get(key) {
            Some(digest) => Some(*digest),
            None => held_digest(journal, key)?.filter(|_| !dropped_entries.contains(key)),
        };
        match named {
            None => {
                return Err(StoreError::Unfit {
                    what: format!("{key} has a body and no entry"),
                });
            }
            Some(digest) if digest != Digest::of(body) => {
                return Err(StoreError::Unfit {
                    what: format!("the body of {key} is not the one its entry names"),
                });
            }
            Some(_) => {}
        }
        fits(&format!("the body of {key}"), body, MAX_BODY)?;
        parts::put(journal, &body_key(key), body, changes)?;
    }
    Ok(())
}

fn held_digest(journal: &Journal, key: &ObjectKey) -> Result<Option<Digest>, StoreError> {
    let Some(payload) = journal.get(&entry_key(key))? else {
        return Ok(None);
    };
    let entry = read::<StoredEntry>(&payload).and_then(StoredEntry::into_domain);
    entry
        .map(|entry| Some(entry.digest))
        .map_err(|what| journal.damaged(format!("an entry: {what}")))
}

fn fits(what: &str, bytes: &[u8], limit: usize) -> Result<(), StoreError> {
    if bytes.len() > limit {
        return Err(StoreError::TooLarge {
            what: what.to_owned(),
            bytes: bytes.len(),
            limit,
        });
    }
    Ok(())
}

fn entry_key(key: &ObjectKey) -> Vec<u8> {
    [
        b"e",
        key.kind.word().as_bytes(),
        b"\0",
        key.name.as_str().as_bytes(),
    ]
    .concat()
}

fn body_key(key: &ObjectKey) -> Vec<u8> {
    [
        b"b",
        key.kind.word().as_bytes(),
        b"\0",
        key.name.as_str().as_bytes(),
        b"\0",
    ]
    .concat()
}
