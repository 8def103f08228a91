//! Fuzz targets: framed records, stored forms and the watermark, as a disk may hold them.

#![allow(clippy::unwrap_used)]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bolero::check;
use verger_agent_core::store::conformance::{finding, transition};
use verger_agent_core::store::{LedgerStore as _, SetHead, SpoolStore as _, StoreError};
use verger_fuzz::Damaged;
use verger_policy::digest::Digest;
use verger_policy::model::{Kind, Labels, ObjectKey, printable};
use verger_policy::set::Entry;

use crate::barrier::Barrier;
use crate::journal::{Changes, Journal};
use crate::stored::{StoredEntry, StoredFinding, StoredHead, StoredQueue, StoredTransition, read, write};
use crate::watermark::Watermark;
use crate::{Options, SledLedger, SledSpool, record};

#[track_caller]
fn assert_shown(text: &str) {
    assert!(text.lines().all(|line| printable(line) == line), "{text:?}");
    assert!(text.len() < 8 << 10, "{} bytes: {text:.200}", text.len());
}

/// Damage, told in words that a terminal shows as they are.
#[track_caller]
fn assert_damage(error: &StoreError) {
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_shown(&error.to_string());
}

fn told<T>(result: Result<T, String>) -> Option<T> {
    result.map_err(|what| assert_shown(&what)).ok()
}

fn entry() -> Entry {
    Entry {
        key: ObjectKey {
            kind: Kind::Workload,
            name: "payments/web".parse().unwrap(),
        },
        epoch: 7,
        digest: Digest::of(b"body"),
        hosts: Labels([("zone".to_owned(), "eu-1".to_owned())].into()),
    }
}

fn head() -> SetHead {
    SetHead {
        epoch: 7,
        root: Digest::of(b"root"),
        not_after: "2026-12-24T10:00:00.123456789Z".parse().unwrap(),
        seal: b"{}".to_vec(),
    }
}

#[test]
fn hostile_records_are_refused_or_framed_again_to_the_same_bytes() {
    check!()
        .with_generator((
            Damaged::bytes([record::seal(b"key", b"payload")])
                .framed(|record| record::open(b"key", record).is_ok()),
            Damaged::bytes([b"key"]),
        ))
        .with_iterations(10_000)
        .for_each(|(value, key)| {
            if let Some(payload) = told(record::open(b"key", value)) {
                assert_eq!(record::seal(b"key", payload), value.to_vec());
            }
            let sealed = record::seal(key, value);
            assert_eq!(record::open(key, &sealed), Ok(&**value));
            assert!(record::open(&[key, b"x".as_slice()].concat(), &sealed).is_err());
            let _ = record::weight(value);
        });
}

#[test]
fn hostile_findings_and_transitions_are_refused_or_stored_again_to_the_same() {
    check!()
        .with_generator((
            Damaged::json([write(&StoredFinding::of(&finding(1)))]),
            Damaged::json([write(&StoredTransition::of(&transition(1)))]),
        ))
        .with_iterations(3_000)
        .for_each(|(finding, transition)| {
            if let Some(finding) = told(read::<StoredFinding>(finding).and_then(StoredFinding::into_domain)) {
                let stored = write(&StoredFinding::of(&finding));
                assert_eq!(read::<StoredFinding>(&stored).unwrap().into_domain(), Ok(finding));
            }
            if let Some(transition) =
                told(read::<StoredTransition>(transition).and_then(StoredTransition::into_domain))
            {
                let stored = write(&StoredTransition::of(&transition));
                assert_eq!(
                    read::<StoredTransition>(&stored).unwrap().into_domain(),
                    Ok(transition)
                );
            }
        });
}

#[test]
fn hostile_entries_and_heads_are_refused_or_stored_again_to_the_same() {
    check!()
        .with_generator((
            Damaged::json([write(&StoredEntry::of(&entry()))]),
            Damaged::json([write(&StoredHead::of(&head()))]),
        ))
        .with_iterations(4_000)
        .for_each(|(entry, head)| {
            if let Some(entry) = told(read::<StoredEntry>(entry).and_then(StoredEntry::into_domain)) {
                let stored = write(&StoredEntry::of(&entry));
                assert_eq!(read::<StoredEntry>(&stored).unwrap().into_domain(), Ok(entry));
            }
            let into_domain = |head: StoredHead| head.into_domain(b"{}".to_vec());
            if let Some(head) = told(read::<StoredHead>(head).and_then(into_domain)) {
                let stored = write(&StoredHead::of(&head));
                assert_eq!(read::<StoredHead>(&stored).and_then(into_domain), Ok(head));
            }
        });
}

#[test]
fn a_hostile_watermark_is_damage_or_says_what_one_of_its_slots_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.watermark");
    Watermark::create(&path).unwrap();
    let mut mark = Watermark::open(&path).unwrap();
    let next = crate::watermark::Mark {
        commit: 3,
        last: 9,
        head: 7,
    };
    mark.advance(next, |_| Ok(())).unwrap();
    let whole = std::fs::read(&path).unwrap();
    check!()
        .with_generator(Damaged::bytes([whole]).framed(|bytes| bytes.starts_with(b"VERGERWM")))
        .with_iterations(700)
        .for_each(|bytes| {
            std::fs::write(&path, &**bytes).unwrap();
            match Watermark::open(&path) {
                Ok(mark) => {
                    let commit = mark.mark().commit.to_le_bytes();
                    assert!(
                        bytes
                            .chunks(4096)
                            .any(|slot| slot.starts_with(b"VERGERWM") && slot[12..20] == commit)
                    );
                }
                Err(error) => assert_damage(&error),
            }
        });
}

/// A database for many stores, one after the other: it is opened once, as an agent does. What is opened again and again grows, by
/// what sled keeps of each time.
struct Ground {
    dir: tempfile::TempDir,
    barrier: Arc<Barrier>,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            reserve_bytes: 0,
            ..Options::default()
        };
        let barrier = Barrier::open(&dir.path().join("sled"), &options).unwrap();
        Self {
            dir,
            barrier: Arc::new(barrier),
        }
    }

    /// An empty journal; what was in the one before is gone.
    fn journal(&self) -> Journal {
        self.barrier.check().unwrap();
        self.barrier.guard(|db| db.open_tree("test")?.clear()).unwrap();
        let watermark = self.dir.path().join("watermark");
        if watermark.exists() {
            std::fs::remove_file(&watermark).unwrap();
        }
        Watermark::create(&watermark).unwrap();
        Journal::open(Arc::clone(&self.barrier), "test", &watermark).unwrap()
    }
}

/// Records whose checksums are right: what reads them must not trust them for that.
#[test]
fn hostile_records_behind_good_checksums_are_damage_or_a_store_that_can_be_read() {
    let entry = entry();
    let transition = write(&StoredTransition::of(&transition(1)));
    let queue = |next, acknowledged| StoredQueue {
        next,
        acknowledged,
        bytes: transition.len() as u64,
        refused_rounds: 0,
        anew: 0,
        chain: (acknowledged == 0).then(|| Digest::of(b"chain")),
    };
    let kept = finding(1);
    let uid = [b"f", kept.uid.0.as_bytes().as_slice(), &[0, 0]].concat();
    let told = [b"d", kept.uid.0.as_bytes().as_slice()].concat();
    let records: [(&[u8], Vec<u8>); 10] = [
        (b"h", write(&StoredHead::of(&head()))),
        (b"s\0\0", b"{}".to_vec()),
        (b"eWorkload\0payments/web", write(&StoredEntry::of(&entry))),
        (b"bWorkload\0payments/web\0\0\0", b"body".to_vec()),
        (b"t\0\0\0\x01", b"{}".to_vec()),
        (b"m", write(&queue(2, 0))),
        (b"q\0\0\0\0\0\0\0\x01", transition.clone()),
        (&uid, write(&StoredFinding::of(&kept))),
        (&told, [7; 32].to_vec()),
        (b"m", write(&queue(u64::MAX, u64::MAX))),
    ];
    let (keys, values): (Vec<_>, Vec<_>) = records.iter().cloned().unzip();
    let key = || Damaged::bytes(&keys);
    let ground = AssertUnwindSafe(Ground::new());
    check!()
        .with_generator((
            0..records.len(),
            [(key(), Damaged::json(&values)), (key(), Damaged::json(&values))],
            bolero::produce::<[bool; 2]>(),
        ))
        .with_iterations(60)
        .for_each(|(left_out, hostile, under_own_key)| {
            let mut changes: Changes = records
                .iter()
                .map(|(key, value)| (key.to_vec(), Some(value.clone())))
                .collect();
            changes.remove(records[*left_out].0);
            for (at, (key, value)) in hostile.iter().enumerate() {
                let key = if under_own_key[at] {
                    keys[(left_out + at) % keys.len()].to_vec()
                } else {
                    key.to_vec()
                };
                changes.insert(key, Some(value.to_vec()));
            }
            for spool in [false, true] {
                let mut journal = ground.journal();
                if changes.contains_key(b"\0head".as_slice()) || journal.commit(&changes, 1).is_err() {
                    return;
                }
                if spool {
                    match SledSpool::open(journal, 1 << 20) {
                        Ok(spool) => {
                            let usage = spool.usage().unwrap();
                            assert_eq!(
                                spool.pending(1, usize::MAX, usize::MAX).unwrap().len() as u64,
                                usage.pending()
                            );
                            spool.acknowledge(usage.next_sequence - 1).unwrap();
                        }
                        Err(error) => assert_damage(&error),
                    }
                } else {
                    match SledLedger::open(journal) {
                        Ok(ledger) => {
                            let image = ledger.load().unwrap();
                            assert!(image.set.is_none_or(|set| {
                                set.bodies
                                    .iter()
                                    .all(|(key, body)| set.entries[key].digest == Digest::of(body))
                            }));
                        }
                        Err(error) => assert_damage(&error),
                    }
                }
            }
        });
}

/// A store that holds one record behind a good checksum.
fn holding(key: &[u8], value: &[u8]) -> (Ground, Journal) {
    let ground = Ground::new();
    let mut journal = ground.journal();
    let changes = Changes::from([(key.to_vec(), Some(value.to_vec()))]);
    journal.commit(&changes, 0).unwrap();
    (ground, journal)
}

#[test]
fn a_queue_that_cannot_be_and_a_finding_without_a_part_are_damage() {
    let queue = |next, acknowledged| {
        write(&StoredQueue {
            next,
            acknowledged,
            bytes: 0,
            refused_rounds: 0,
            anew: 0,
            chain: None,
        })
    };
    for (key, value) in [
        (b"m".as_slice(), queue(0, 0)),
        (b"m", queue(1, 1)),
        (b"m", queue(u64::MAX, u64::MAX)),
        (b"f", b"{}".to_vec()),
        (b"fx", b"{}".to_vec()),
        (b"d", [7; 32].to_vec()),
        (b"dx", b"{}".to_vec()),
        (&[b'd'; 33], [7; 31].to_vec()),
    ] {
        let (_ground, journal) = holding(key, &value);
        assert_damage(&SledSpool::open(journal, 1 << 20).err().unwrap());
    }
}

#[test]
fn what_a_record_says_is_escaped_and_cut_in_the_error_about_it() {
    let (_ground, journal) = holding(
        b"m",
        format!("{{\"\\u001b[2J{}\":1}}", "x".repeat(5_000)).as_bytes(),
    );
    let error = SledSpool::open(journal, 1 << 20).err().unwrap();
    assert_damage(&error);
    assert!(error.to_string().contains("\\u{1b}[2J"), "{error}");
}
