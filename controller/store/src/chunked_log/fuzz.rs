//! Fuzz target: a chunk, as a disk may hold it, and whatever stands in its records.

#![allow(clippy::unwrap_used)]

use bolero::check;
use codeq::Encode as _;
use verger_fuzz::Damaged;

use super::survey::{Record, decode};
use super::*;
use crate::conformance::log::records;
use crate::fuzz::assert_damage;
use crate::{LogDb as _, LogId};

/// The bytes of a chunk with records of every kind, and the watermark beside it.
fn lived_in(dir: &Path) -> (PathBuf, Vec<u8>) {
    let log = ChunkedLog::create(dir).unwrap();
    log.append(&records(0..=3, 1)).unwrap();
    log.save_committed(b"a hint").unwrap();
    log.truncate_after(Some(2)).unwrap();
    log.purge_to(LogId { index: 0, term: 1 }).unwrap();
    log.save_vote(b"a vote").unwrap();
    log.append(&records(3..=4, 2)).unwrap();
    drop(log);
    let chunk = dir.join(CHUNKS).join("r-00_000_000_000_000_000_000.wal");
    let bytes = fs::read(&chunk).unwrap();
    (chunk, bytes)
}

#[test]
fn a_hostile_chunk_is_damage_or_reads_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (chunk, sound) = lived_in(dir.path());
    let mark = fs::read(dir.path().join(MARK_FILE)).unwrap();
    let want = ChunkedLog::open(dir.path())
        .unwrap()
        .read_range(0..9, 999)
        .unwrap();
    check!()
        .with_generator(Damaged::bytes([&sound]).framed(|bytes| decode(bytes).1.is_ok()))
        .with_iterations(1_000)
        .for_each(|bytes| {
            fs::write(&chunk, &**bytes).unwrap();
            fs::write(dir.path().join(MARK_FILE), &mark).unwrap();
            match ChunkedLog::open(dir.path()) {
                Ok(log) => {
                    assert_eq!(log.read_range(0..9, 999).unwrap(), want);
                    assert_eq!(log.vote().unwrap().unwrap(), "a vote");
                }
                Err(error) => assert_damage(&error, &chunk),
            }
        });
}

#[test]
fn a_hostile_record_is_refused_or_written_again_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, sound) = lived_in(dir.path());
    let mut seeds = Vec::new();
    let mut at = 0;
    while at < sound.len() {
        let taken = decode(&sound[at..]).0;
        seeds.push(sound[at..at + taken].to_vec());
        at += taken;
    }
    assert!(seeds.len() > 10);
    check!()
        .with_generator(Damaged::bytes(seeds).framed(|bytes| decode(bytes).1.is_ok()))
        .with_iterations(10_000)
        .for_each(|bytes| {
            let (taken, record) = decode(bytes);
            assert!(taken <= bytes.len());
            if let Ok(record) = record {
                let mut again = Vec::new();
                Record::encode(&record, &mut again).unwrap();
                assert_eq!(again, bytes[..taken]);
            }
        });
}
