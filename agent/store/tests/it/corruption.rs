//! Damage on disk is told, or does not matter; it is never a silent difference.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use verger_agent_core::store::conformance::{bodies, finding, set, transition};
use verger_agent_core::store::{
    LedgerDelta, LedgerImage, LedgerStore, Numbered, Round, SetDelta, SpoolStore, SpoolUsage, StoreError,
};
use verger_agent_store::Options;
use verger_policy::finding::LocalFinding;

use crate::bench::open;

#[derive(Clone, Debug, PartialEq)]
struct Contents {
    image: LedgerImage,
    findings: Vec<LocalFinding>,
    waiting: Vec<Numbered>,
    usage: SpoolUsage,
}

fn options() -> Options {
    Options {
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn read(path: &Path) -> Result<Contents, StoreError> {
    let (ledger, spool) = open(path, &options())?;
    Ok(Contents {
        image: ledger.load()?,
        findings: spool.findings()?.into_values().collect(),
        waiting: spool.pending(0, usize::MAX, usize::MAX)?,
        usage: spool.usage()?,
    })
}

/// A store with a history: overwritten, acknowledged, reopened.
fn written(path: &Path) -> Contents {
    for life in 0..3 {
        let (ledger, spool) = open(path, &options()).unwrap();
        for step in 0..20 {
            let number = life * 20 + step + 1;
            if number % 5 == 0 {
                let delta = SetDelta {
                    bodies: bodies(&[number % 9]),
                    ..set(number, &[number % 9, 10 + number % 7])
                };
                ledger
                    .commit(&LedgerDelta {
                        trust_roots: vec![],
                        set: Some(delta),
                    })
                    .unwrap();
                spool.acknowledge(number - 5).unwrap();
            }
            let transitions = vec![transition(number)];
            let changed = vec![LocalFinding {
                occurrences: number,
                ..finding(number % 7)
            }];
            spool
                .commit_round(&Round {
                    changed,
                    transitions,
                    ..Round::default()
                })
                .unwrap();
        }
    }
    read(path).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

#[derive(Default, Debug)]
struct Tally {
    told: usize,
    unchanged: usize,
}

impl Tally {
    fn judge(&mut self, expected: &Contents, found: Result<Contents, StoreError>, what: &str) {
        match found {
            Ok(found) => {
                assert_eq!(
                    found, *expected,
                    "{what} changed the contents, and nothing said so"
                );
                self.unchanged += 1;
            }
            Err(StoreError::Damaged { remedy, .. }) => {
                assert!(!remedy.is_empty());
                self.told += 1;
            }
            Err(other) => panic!("{what} is damage, and was called {other:?}"),
        }
    }
}

#[test]
fn no_flipped_byte_makes_a_silent_difference() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    let expected = written(&good);
    let mut tally = Tally::default();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut trial = 0;
    for file in files(&good) {
        let length = fs::metadata(&file).unwrap().len();
        // The bytes that are in use: sled keeps the rest of its segments zero.
        let bytes = fs::read(&file).unwrap();
        let used: Vec<u64> = (0..length)
            .filter(|at| bytes[usize::try_from(*at).unwrap()] != 0)
            .collect();
        let trials = if file.ends_with("sled/db") {
            120
        } else {
            12.min(used.len())
        };
        for _ in 0..trials {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = used[usize::try_from(random >> 33).unwrap() % used.len()];
            let bad = dir.path().join(format!("bad-{trial}"));
            trial += 1;
            copy(&good, &bad);
            let damaged = fs::File::options()
                .write(true)
                .open(bad.join(file.strip_prefix(&good).unwrap()))
                .unwrap();
            let flip = 1 << (random >> 40 & 7);
            damaged
                .write_all_at(&[bytes[usize::try_from(at).unwrap()] ^ flip], at)
                .unwrap();
            drop(damaged);
            tally.judge(&expected, read(&bad), &format!("byte {at} of {}", file.display()));
            fs::remove_dir_all(bad).unwrap();
        }
    }
    assert!(trial >= 100, "{trial}");
    assert!(tally.told > 20, "{tally:?}: the flips hit nothing");
}

#[test]
fn a_lost_tail_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    let expected = written(&good);
    let mut tally = Tally::default();
    for file in files(&good) {
        let length = fs::metadata(&file).unwrap().len();
        for (trial, keep) in [0, length / 4, length / 2, length.saturating_sub(1)]
            .into_iter()
            .enumerate()
        {
            let bad = dir.path().join(format!("cut-{trial}"));
            copy(&good, &bad);
            let cut = bad.join(file.strip_prefix(&good).unwrap());
            fs::File::options()
                .write(true)
                .open(&cut)
                .unwrap()
                .set_len(keep)
                .unwrap();
            tally.judge(
                &expected,
                read(&bad),
                &format!("{} cut to {keep} of {length} bytes", file.display()),
            );
            fs::remove_dir_all(bad).unwrap();
        }
    }
    assert!(tally.told > 4, "{tally:?}");
}

#[test]
fn a_lost_file_is_told_and_never_an_empty_start() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    let expected = written(&good);
    let mut tally = Tally::default();
    for (trial, file) in files(&good).into_iter().enumerate() {
        let bad = dir.path().join(format!("lost-{trial}"));
        copy(&good, &bad);
        fs::remove_file(bad.join(file.strip_prefix(&good).unwrap())).unwrap();
        tally.judge(&expected, read(&bad), &format!("the loss of {}", file.display()));
    }
    let bad = dir.path().join("lost-sled");
    copy(&good, &bad);
    fs::remove_dir_all(bad.join("sled")).unwrap();
    assert!(matches!(read(&bad), Err(StoreError::Damaged { .. })));
    assert!(tally.told >= 3, "{tally:?}");
}

/// What sled does with a lost tail is to open without it; what an older copy of its files is, nobody but the
/// watermark can tell.
#[test]
fn an_older_copy_of_the_database_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (good, old) = (dir.path().join("good"), dir.path().join("old"));
    written(&good);
    copy(&good, &old);
    let (_ledger, spool) = open(&good, &options()).unwrap();
    for _ in 0..2 {
        let next = spool.usage().unwrap().next_sequence;
        spool
            .commit_round(&Round {
                transitions: vec![transition(next)],
                ..Round::default()
            })
            .unwrap();
    }
    drop((_ledger, spool));
    fs::remove_dir_all(good.join("sled")).unwrap();
    copy(&old.join("sled"), &good.join("sled"));
    let error = read(&good).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { what, .. } if what.contains("acknowledged")),
        "{error}"
    );
}
