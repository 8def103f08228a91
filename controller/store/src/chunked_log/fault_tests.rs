//! Chunks that are closed every few records, power that goes in the middle of a write, and files that are missing or of another time.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tempfile::TempDir;

use std::sync::Arc;

use super::*;
use crate::conformance::log::{LogOp, LogRig, check_all, check_ops, record, records, sized};
use crate::{LogDb, LogId};

/// A log whose chunks are closed after so many records: commits lie across their borders.
struct SmallChunks {
    dir: TempDir,
    records: usize,
}

impl SmallChunks {
    fn of(records: usize) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            records,
        }
    }
}

impl LogRig for SmallChunks {
    fn open(&mut self) -> Result<Arc<dyn LogDb>, StoreError> {
        let (dir, size) = (self.dir.path(), ChunkSize::of_records(self.records));
        Ok(Arc::new(if ChunkedLog::exists(dir) {
            ChunkedLog::open_in(dir, size)?
        } else {
            ChunkedLog::create_in(dir, size)?
        }))
    }

    fn crash(&mut self, log: Arc<dyn LogDb>) -> Result<Arc<dyn LogDb>, StoreError> {
        let image = tempfile::tempdir().unwrap();
        copy(self.dir.path(), image.path());
        drop(log);
        self.dir = image;
        self.open()
    }
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

/// Copies a log that is open as it is at one moment: raft-log takes purged chunks away behind the answer, the oldest first.
fn copy(from: &Path, to: &Path) {
    let (chunks, copied) = (from.join(CHUNKS), to.join(CHUNKS));
    fs::create_dir_all(&copied).unwrap();
    fs::copy(from.join(MARK_FILE), to.join(MARK_FILE)).unwrap();
    loop {
        let before = names(&chunks);
        for name in &before {
            match fs::copy(chunks.join(name), copied.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => drop(done.unwrap()),
            }
        }
        if names(&chunks) == before {
            return;
        }
        fs::remove_dir_all(&copied).unwrap();
        fs::create_dir_all(&copied).unwrap();
    }
}

fn all(log: &ChunkedLog) -> Vec<LogRecord> {
    log.read_range(0..u64::MAX, usize::MAX).unwrap()
}

#[test]
fn the_suite_holds_where_every_commit_lies_across_chunks() {
    for size in [2, 3, 7] {
        let cases = check_all(&mut || Box::new(SmallChunks::of(size))).unwrap();
        assert_eq!(cases, 25);
    }
}

fn op() -> impl Strategy<Value = LogOp> {
    prop_oneof![
        6 => (1..20_u8, 0..3_u8, 0..60_u16).prop_map(|(count, term, size)| LogOp::Append { count, term, size }),
        2 => any::<u8>().prop_map(LogOp::Truncate),
        3 => (0..150_u8).prop_map(LogOp::Purge),
        2 => any::<u8>().prop_map(LogOp::Vote),
        1 => any::<(u8, u8, u16)>().prop_map(|(part, count, limit)| LogOp::Read(part, count, limit)),
        2 => Just(LogOp::Restart),
        2 => Just(LogOp::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_chunks_agree_with_a_vector(size in 2..12_usize, ops in prop::collection::vec(op(), 1..40)) {
        check_ops(&mut SmallChunks::of(size), &ops).map_err(|failure| TestCaseError::fail(failure.to_string()))?;
    }
}

/// A log in small chunks that has lived: commits across chunks, a truncation, a purge, a vote. Closed.
fn lived_in() -> (TempDir, ChunkedLog) {
    let dir = tempfile::tempdir().unwrap();
    let log = ChunkedLog::create_in(dir.path(), small()).unwrap();
    for batch in 0..8 {
        log.append(&records(batch * 5..=batch * 5 + 4, 1)).unwrap();
        log.save_committed(&batch.to_le_bytes()).unwrap();
    }
    log.truncate_after(Some(36)).unwrap();
    log.purge_to(LogId { index: 9, term: 1 }).unwrap();
    log.save_vote(b"a vote").unwrap();
    log.append(&records(37..=41, 2)).unwrap();
    (dir, log)
}

fn small() -> ChunkSize {
    ChunkSize::of_records(4)
}

/// The chunks of a log that is closed or idle, oldest first.
fn chunk_files(dir: &Path) -> Vec<PathBuf> {
    let chunks = dir.join(CHUNKS);
    let files = names(&chunks).into_iter().filter(|name| name != "LOCK");
    files.map(|name| chunks.join(name)).collect()
}

fn refused(dir: &Path) -> StoreError {
    ChunkedLog::open(dir).err().expect("damage is refused")
}

/// Damage that names a file with this in its name, and the remedy.
#[track_caller]
fn assert_damaged(error: &StoreError, file: &str) {
    let text = error.to_string();
    assert!(error.is_damage(), "{text}");
    assert!(text.contains(file) && text.contains("another name"), "{text}");
}

/// Where the records of a chunk end.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    while ends[ends.len() - 1] < bytes.len() {
        let at = ends[ends.len() - 1];
        ends.push(at + survey::decode(&bytes[at..]).0);
    }
    ends
}

#[test]
fn a_write_that_was_cut_short_anywhere_is_all_there_or_not_at_all() {
    let (dir, log) = lived_in();
    let before = all(&log);
    let mark = fs::read(dir.path().join(MARK_FILE)).unwrap();
    let sizes: Vec<_> = chunk_files(dir.path())
        .into_iter()
        .map(|file| (fs::metadata(&file).unwrap().len(), file))
        .collect();
    let (was, open) = sizes.last().unwrap().clone();
    log.append(&records(42..=47, 3)).unwrap();
    let after = all(&log);
    drop(log);
    let image = tempfile::tempdir().unwrap();
    copy(dir.path(), image.path());
    // The answer never came: nor did the watermark.
    fs::write(image.path().join(MARK_FILE), &mark).unwrap();
    let written: Vec<PathBuf> = chunk_files(image.path())
        .into_iter()
        .filter(|file| file.file_name() >= open.file_name())
        .collect();
    assert!(written.len() >= 2, "the write lies across chunks: {written:?}");
    let (mut cuts, mut whole) = (0, 0);
    for (number, file) in written.iter().enumerate() {
        let bytes = fs::read(file).unwrap();
        let from = if number == 0 { was as usize } else { 0 };
        let anywhere = (from..=bytes.len()).map(|cut| (cut, false));
        // Where a record ends, the files of later chunks may be there all the same, with nothing in them.
        let behind_records = ends(&bytes).into_iter().filter(|end| *end >= from);
        for (cut, is_emptied) in anywhere.chain(behind_records.map(|end| (end, true))) {
            let victim = tempfile::tempdir().unwrap();
            copy(image.path(), victim.path());
            let place = victim.path().join(CHUNKS);
            fs::write(place.join(file.file_name().unwrap()), &bytes[..cut]).unwrap();
            for later in &written[number + 1..] {
                let later = place.join(later.file_name().unwrap());
                match is_emptied {
                    true => fs::write(later, "").unwrap(),
                    false => fs::remove_file(later).unwrap(),
                }
            }
            let log = ChunkedLog::open(victim.path()).unwrap();
            let found = all(&log);
            assert!(found == before || found == after, "cut at {cut} of {file:?}");
            assert_eq!(log.vote().unwrap().unwrap(), "a vote");
            whole += usize::from(found == after);
            cuts += 1;
            // And goes on.
            let next = log.last().unwrap().unwrap().index + 1;
            log.append(&records(next..=next + 5, 4)).unwrap();
            log.check().unwrap();
        }
    }
    assert!(
        cuts > 200 && whole > 0 && whole < cuts,
        "{cuts} cuts, {whole} whole"
    );
}

#[test]
fn what_was_acknowledged_and_is_cut_short_is_refused_wherever() {
    let (dir, log) = lived_in();
    drop(log);
    let newest = chunk_files(dir.path()).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    for cut in 0..bytes.len() {
        fs::write(&newest, &bytes[..cut]).unwrap();
        let error = refused(dir.path());
        assert_damaged(&error, newest.file_name().unwrap().to_str().unwrap());
        assert!(error.to_string().contains("acknowledged"), "{error}");
    }
    fs::write(&newest, &bytes).unwrap();
    ChunkedLog::open(dir.path()).unwrap();
}

/// A power cut also takes a watermark back; damage is told from it by what stands behind.
#[test]
fn damage_behind_the_watermark_is_refused_where_a_later_commit_stands() {
    let dir = tempfile::tempdir().unwrap();
    let log = ChunkedLog::create(dir.path()).unwrap();
    let mark = fs::read(dir.path().join(MARK_FILE)).unwrap();
    let file = chunk_files(dir.path()).pop().unwrap();
    let mut borders = Vec::new();
    for batch in 0..4 {
        borders.push(fs::metadata(&file).unwrap().len() as usize);
        log.append(&records(batch * 3..=batch * 3 + 2, 1)).unwrap();
    }
    drop(log);
    let sound = fs::read(&file).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(dir.path().join(MARK_FILE), &mark).unwrap();
        fs::write(&file, bytes).unwrap();
        ChunkedLog::open(dir.path()).map(|log| all(&log).len())
    };
    let (mut refusals, mut cuts) = (0, 0);
    for at in borders[1]..sound.len() {
        for flip in [1, 0x80] {
            let mut bytes = sound.clone();
            bytes[at] ^= flip;
            // Of the last commit nobody may have been told.
            match open(&bytes) {
                Err(error) if at < borders[3] => {
                    assert_damaged(&error, "r-00");
                    refusals += 1;
                }
                Ok(records) if at >= borders[3] => {
                    assert_eq!(records, 9, "byte {at}");
                    cuts += 1;
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
    assert!(refusals > 200 && cuts > 100, "{refusals} refused, {cuts} cut");
    // The disk may bring the end of a write there before its beginning.
    let mut bytes = sound.clone();
    let record = (sound.len() - borders[3]) / 3;
    bytes[borders[3]..borders[3] + record].fill(0);
    assert_eq!(open(&bytes).unwrap(), 9);
}

#[test]
fn chunks_that_are_missing_emptied_or_of_another_time_are_refused() {
    let (dir, log) = lived_in();
    let files = chunk_files(dir.path());
    let older = fs::read(files.last().unwrap()).unwrap();
    log.append(&records(42..=60, 3)).unwrap();
    let want = all(&log);
    drop(log);
    let files_now = chunk_files(dir.path());
    let chunks = files_now.len();
    assert!(chunks > 6, "{chunks} chunks");
    let on = |what: &str, number: usize, change: &dyn Fn(&Path)| {
        let victim = tempfile::tempdir().unwrap();
        copy(dir.path(), victim.path());
        let file = chunk_files(victim.path())[number].clone();
        change(&file);
        match ChunkedLog::open(victim.path()) {
            Err(error) => {
                assert!(error.is_damage(), "{what} {number}: {error}");
                assert!(
                    error.to_string().contains("log.chunks"),
                    "{what} {number}: {error}"
                );
            }
            // The newest may hold nothing yet but where those before it ended.
            Ok(log) => assert!(number == chunks - 1 && all(&log) == want, "{what} {number}"),
        }
    };
    for number in 0..chunks {
        on("missing", number, &|file| fs::remove_file(file).unwrap());
        on("emptied", number, &|file| fs::write(file, b"").unwrap());
        on("zeroed", number, &|file| {
            let length = fs::metadata(file).unwrap().len() as usize;
            fs::write(file, vec![0; length]).unwrap();
        });
        on("renamed", number, &|file| {
            fs::rename(file, file.with_file_name("r-00_000_000_000_099_999_999.wal")).unwrap();
        });
        on("of a strange name", number, &|file| {
            fs::rename(file, file.with_extension("old")).unwrap();
        });
    }
    on("cut", chunks - 2, &|file| {
        let length = fs::metadata(file).unwrap().len() as usize;
        fs::write(file, &fs::read(file).unwrap()[..length / 2]).unwrap();
    });
    on("of another time", files.len() - 1, &|file| {
        fs::write(file, &older).unwrap()
    });
    let victim = tempfile::tempdir().unwrap();
    copy(dir.path(), victim.path());
    for file in chunk_files(victim.path()) {
        fs::remove_file(file).unwrap();
    }
    assert_damaged(&refused(victim.path()), "has no chunk");
    fs::remove_dir_all(victim.path().join(CHUNKS)).unwrap();
    assert_damaged(&refused(victim.path()), "log.chunks");
    fs::remove_file(victim.path().join(MARK_FILE)).unwrap();
    assert_damaged(&refused(victim.path()), "log.mark");
}

#[test]
fn a_write_that_fails_latches_every_later_call() {
    let (dir, log) = lived_in();
    // The name of the chunk after the next record is taken.
    let twin = tempfile::tempdir().unwrap();
    copy(dir.path(), twin.path());
    let other = ChunkedLog::open_in(twin.path(), small()).unwrap();
    let before = chunk_files(twin.path()).len();
    for index in 42..46 {
        other.append(&[record(index, 3)]).unwrap();
    }
    let next = chunk_files(twin.path())[before].clone();
    let taken = dir.path().join(CHUNKS).join(next.file_name().unwrap());
    fs::create_dir(&taken).unwrap();
    let mut index = 42;
    let error = loop {
        match log.append(&[record(index, 3)]) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    for answer in [
        log.append(&[record(index, 3)]),
        log.save_vote(b"v"),
        log.save_committed(b"c"),
        log.last().map(drop),
        log.read_range(0..9, 9).map(drop),
    ] {
        assert!(matches!(answer, Err(StoreError::Latched { .. })));
    }
    let acknowledged = index;
    drop(log);
    fs::remove_dir(taken).unwrap();
    // The record whose write failed may be there or not; those before it are.
    let found = all(&ChunkedLog::open(dir.path()).unwrap());
    assert!(
        (acknowledged - 10..=acknowledged - 9).contains(&(found.len() as u64)),
        "{}",
        found.len()
    );
}

#[test]
fn a_log_is_opened_once_and_made_once() {
    let (dir, log) = lived_in();
    assert!(matches!(
        ChunkedLog::open(dir.path()),
        Err(StoreError::InUse { .. })
    ));
    drop(log);
    assert!(matches!(
        ChunkedLog::create(dir.path()),
        Err(StoreError::Refused { .. })
    ));
    assert!(matches!(
        crate::create_log(dir.path()),
        Err(StoreError::Refused { .. })
    ));
}

/// What a program finds that knows no log but that on redb: one that is there, beside a watermark that a newer program made.
#[test]
fn an_older_program_is_told_that_a_newer_one_is_needed() {
    let (dir, log) = lived_in();
    drop(log);
    assert!(crate::RedbLog::exists(dir.path()));
    let mark = fs::read(dir.path().join(MARK_FILE)).unwrap();
    assert_eq!((&mark[..4], mark[4]), (&b"VGRM"[..], 2));
    let error = crate::RedbLog::open(dir.path()).err().unwrap();
    assert_damaged(&error, "log.mark");
    // It stays so when somebody took it away.
    fs::remove_file(dir.path().join(NOTICE)).unwrap();
    drop(crate::open_log(dir.path()).unwrap());
    assert!(
        fs::read_to_string(dir.path().join(NOTICE))
            .unwrap()
            .contains("run a newer one")
    );
}

#[test]
fn a_member_that_began_with_redb_goes_on_with_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(crate::RedbLog::create(dir.path()).unwrap());
    for round in 0..3 {
        let log = crate::open_log(dir.path()).unwrap();
        log.append(&[record(round, 1)]).unwrap();
    }
    assert!(!ChunkedLog::exists(dir.path()) && crate::log_exists(dir.path()));
    assert!(matches!(
        crate::create_log(dir.path()),
        Err(StoreError::Refused { .. })
    ));
    let log = crate::RedbLog::open(dir.path()).unwrap();
    assert_eq!(log.read_range(0..9, 999).unwrap(), records(0..=2, 1));
}

/// A file system of 256 KiB in memory, gone with this. Needs root, as the rigs do.
struct Small(TempDir);

impl Small {
    fn mounted() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "mounting a tmpfs needs root");
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: after a panic the log may still be open.
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let disk = Small::mounted();
    let dir = disk.0.path().join("log");
    let log = ChunkedLog::create(&dir).unwrap();
    log.append(&records(0..=3, 1)).unwrap();
    log.save_vote(b"before").unwrap();
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 150 << 10]).unwrap();
    let big: Vec<_> = (4..12).map(|index| sized(index, 1, 16 << 10)).collect();
    for _ in 0..3 {
        let error = log.append(&big).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert_eq!(all(&log), records(0..=3, 1));
        assert_eq!(log.vote().unwrap().unwrap(), "before");
    }
    fs::remove_file(&ballast).unwrap();
    log.append(&big).unwrap();
    log.check().unwrap();
    drop(log);
    let log = ChunkedLog::open(&dir).unwrap();
    assert_eq!(all(&log)[4..], big);
}
