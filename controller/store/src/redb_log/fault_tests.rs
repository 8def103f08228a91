//! Faults under redb: a failed sync, a full disk, a log that is older than what was acknowledged.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;
use crate::conformance::log::{record, records, sized};
use crate::{Callback, LogWriter};

fn log_in_weather() -> (tempfile::TempDir, RedbLog) {
    let dir = tempfile::tempdir().unwrap();
    drop(RedbLog::create(dir.path()).unwrap());
    let log = RedbLog::open_in(dir.path(), Arc::default()).unwrap();
    (dir, log)
}

/// What a writer answered.
struct Results(
    SyncSender<Result<(), StoreError>>,
    Receiver<Result<(), StoreError>>,
);

impl Results {
    fn tell(&self) -> Callback {
        let send = self.0.clone();
        Box::new(move |result| send.send(result).unwrap())
    }

    fn next(&self) -> Result<(), StoreError> {
        self.1.recv().unwrap()
    }
}

/// A writer of this log, which has written four records by it.
fn written_by_a_writer(log: RedbLog) -> (Arc<RedbLog>, LogWriter, Results) {
    let log = Arc::new(log);
    let writer = LogWriter::start(log.clone()).unwrap();
    let (send, results) = sync_channel(64);
    let results = Results(send, results);
    writer.submit(records(0..=3, 1), results.tell()).unwrap();
    results.next().unwrap();
    (log, writer, results)
}

fn all(log: &RedbLog) -> Vec<LogRecord> {
    log.read_range(0..u64::MAX, usize::MAX).unwrap()
}

#[test]
fn every_write_syncs_before_it_answers() {
    let (_dir, log) = log_in_weather();
    for write in [
        &(|| log.append(&records(0..=3, 1))) as &dyn Fn() -> Result<(), StoreError>,
        &|| log.save_vote(b"v"),
        &|| log.truncate_after(Some(2)),
        &|| log.purge_to(LogId { index: 0, term: 1 }),
    ] {
        let before = log.weather.syncs();
        write().unwrap();
        assert!(log.weather.syncs() > before);
    }
}

#[test]
fn a_failed_sync_latches_every_later_call() {
    let (dir, log) = log_in_weather();
    log.append(&records(0..=3, 1)).unwrap();
    log.weather.fail_next_sync();
    assert!(matches!(
        log.append(&records(4..=4, 1)),
        Err(StoreError::Io { .. })
    ));
    assert!(matches!(
        log.append(&records(4..=4, 1)),
        Err(StoreError::Latched { .. })
    ));
    assert!(matches!(log.save_vote(b"v"), Err(StoreError::Latched { .. })));
    assert!(matches!(log.read_range(0..9, 9), Err(StoreError::Latched { .. })));
    assert!(matches!(log.last(), Err(StoreError::Latched { .. })));
    drop(log);
    // The record whose sync failed may be there or not; those before it are.
    let found = all(&RedbLog::open(dir.path()).unwrap());
    assert_eq!(found[..4], records(0..=3, 1));
    assert!(found.len() <= 5);
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let (dir, log) = log_in_weather();
    log.append(&records(0..=3, 1)).unwrap();
    log.save_vote(b"before").unwrap();
    let size = fs::metadata(dir.path().join(LOG_FILE)).unwrap().len();
    log.weather.limit_capacity(size);
    let big = sized(4, 1, 4 << 20);
    for _ in 0..3 {
        assert!(matches!(
            log.append(std::slice::from_ref(&big)),
            Err(StoreError::Full { .. })
        ));
        assert_eq!(all(&log), records(0..=3, 1));
        assert_eq!(log.vote().unwrap().unwrap(), "before");
    }
    log.weather.limit_capacity(u64::MAX);
    log.append(std::slice::from_ref(&big)).unwrap();
    drop(log);
    assert_eq!(all(&RedbLog::open(dir.path()).unwrap())[4], big);
}

#[test]
fn a_full_disk_fails_the_queued_batches_and_the_writer_recovers() {
    let (dir, log) = log_in_weather();
    let (log, writer, results) = written_by_a_writer(log);
    log.weather
        .limit_capacity(fs::metadata(dir.path().join(LOG_FILE)).unwrap().len());
    writer.submit(vec![sized(4, 1, 4 << 20)], results.tell()).unwrap();
    assert!(matches!(results.next(), Err(StoreError::Full { .. })));
    assert_eq!(writer.last(), Some(LogId { index: 3, term: 1 }));
    // Whoever waits for a record that failed waits for nothing.
    writer.reached().wait_for(3).unwrap();
    let waited = writer.reached().wait_for(4);
    assert!(matches!(waited, Err(StoreError::Full { .. })), "{waited:?}");
    log.weather.limit_capacity(u64::MAX);
    writer.submit(vec![record(4, 2)], results.tell()).unwrap();
    results.next().unwrap();
    assert_eq!(writer.read_range(4..5, 99).unwrap(), [record(4, 2)]);
}

#[test]
fn nobody_takes_for_durable_what_a_log_that_cannot_be_read_any_more_was_to_write() {
    let (_dir, log) = log_in_weather();
    let (log, writer, results) = written_by_a_writer(log);
    log.weather.fail_next_sync();
    writer.submit(vec![record(4, 1)], results.tell()).unwrap();
    results.next().unwrap_err();
    // It does not say any more where it ends, and whoever asks the writer is told what was to be.
    log.last().unwrap_err();
    assert_eq!(writer.last(), Some(LogId { index: 4, term: 1 }));
    writer.reached().wait_for(3).unwrap();
    writer.reached().wait_for(4).unwrap_err();
    // Nor does it get on by what is asked of it afterwards.
    drop(writer.submit(vec![record(5, 1)], Box::new(|_| ())));
    writer.reached().wait_for(4).unwrap_err();
}

#[test]
fn a_log_behind_its_watermark_is_refused() {
    let (dir, log) = log_in_weather();
    log.append(&records(0..=3, 1)).unwrap();
    drop(log);
    let file = dir.path().join(LOG_FILE);
    let older = fs::read(&file).unwrap();
    let log = RedbLog::open(dir.path()).unwrap();
    log.save_vote(b"a vote that must not be forgotten").unwrap();
    drop(log);
    fs::write(&file, older).unwrap();
    let error = RedbLog::open(dir.path()).err().unwrap();
    assert!(
        matches!(&error, StoreError::Damaged { what, .. } if what.contains("acknowledged")),
        "{error}"
    );
}

#[test]
fn a_commit_whose_watermark_was_cut_off_by_a_crash_is_kept() {
    let (dir, log) = log_in_weather();
    log.append(&records(0..=3, 1)).unwrap();
    let mark = fs::read(dir.path().join(MARK_FILE)).unwrap();
    log.append(&records(4..=4, 1)).unwrap();
    drop(log);
    fs::write(dir.path().join(MARK_FILE), mark).unwrap();
    for _ in 0..2 {
        assert_eq!(all(&RedbLog::open(dir.path()).unwrap()), records(0..=4, 1));
    }
}

#[test]
fn a_missing_or_empty_file_is_no_fresh_start() {
    let (dir, log) = log_in_weather();
    assert!(matches!(RedbLog::open(dir.path()), Err(StoreError::InUse { .. })));
    drop(log);
    assert!(matches!(
        RedbLog::create(dir.path()),
        Err(StoreError::Refused { .. })
    ));
    let (log, mark) = (dir.path().join(LOG_FILE), dir.path().join(MARK_FILE));
    let sound = fs::read(&mark).unwrap();
    fs::remove_file(&mark).unwrap();
    assert!(RedbLog::open(dir.path()).err().unwrap().is_damage());
    fs::write(&mark, sound).unwrap();
    fs::write(&log, b"").unwrap();
    assert!(RedbLog::open(dir.path()).err().unwrap().is_damage());
    fs::remove_file(&log).unwrap();
    let error = RedbLog::open(dir.path()).err().unwrap();
    assert!(error.is_damage());
    assert!(error.to_string().contains("log.redb"), "{error}");
    assert!(error.to_string().contains("another name"), "{error}");
}
