//! Flipped bytes and cut tails: a typed error or the same data, never a silent difference.

use std::fs;
use std::path::{Path, PathBuf};

use verger_controller_store::{ChunkedLog, LogId, LogRecord, RedbLog, SnapshotDir, SnapshotMeta, StoreError};

use crate::rigs::{OnDisk, copy_files};

/// The watermark's file.
const MARK: &str = "log.mark";

/// A small generator, so that a failing round can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Damages one file: a flipped bit, a zeroed or overwritten sector, or a cut tail.
fn damage(dice: &mut Dice, file: &Path, round: u64, hot: u64) -> String {
    let mut bytes = fs::read(file).unwrap();
    let length = bytes.len() as u64;
    // Every third round hits the start, where the engine keeps what everything hangs on.
    let at = if round.is_multiple_of(3) {
        dice.roll(hot.min(length))
    } else {
        dice.roll(length)
    };
    let start = at as usize;
    let end = (start + 512).min(bytes.len());
    let what = match round % 5 {
        0 | 1 => {
            bytes[start] ^= 1 << dice.roll(8);
            "flip a bit"
        }
        2 => {
            bytes[start] = bytes[start].wrapping_add(1 + dice.roll(255) as u8);
            "change a byte"
        }
        3 => {
            bytes[start..end].fill(0);
            "zero 512 bytes"
        }
        _ => {
            bytes.truncate(start);
            "cut the file"
        }
    };
    fs::write(file, bytes).unwrap();
    format!("round {round}: {what} at {at} of {length} in {file:?}")
}

type Contents = (Vec<LogRecord>, Option<bytes::Bytes>, Option<LogId>, Option<LogId>);

fn contents<L: OnDisk>(dir: &Path) -> Result<Contents, StoreError> {
    let log = L::open(dir)?;
    log.check()?;
    Ok((
        log.read_range(0..u64::MAX, usize::MAX)?,
        log.vote()?,
        log.last()?,
        log.last_purged()?,
    ))
}

fn record(index: u64) -> LogRecord {
    let payload = (0..200 + index % 300).map(|at| (at ^ index) as u8).collect();
    LogRecord {
        index,
        term: 1 + index / 50,
        payload,
    }
}

/// Makes a log that has lived: many commits, a truncation, a purge. Leaves it as a killed process does when
/// `killed`.
fn lived_in<L: OnDisk>(killed: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = L::create(dir.path()).unwrap();
    for batch in 0..60 {
        let records: Vec<_> = (batch * 5..batch * 5 + 5).map(record).collect();
        log.append(&records).unwrap();
    }
    log.truncate_after(Some(279)).unwrap();
    log.purge_to(LogId { index: 99, term: 2 }).unwrap();
    log.save_vote(b"term 6, member 2").unwrap();
    log.append(&[record(280)]).unwrap();
    if !killed {
        return dir;
    }
    let image = tempfile::tempdir().unwrap();
    copy_files(dir.path(), image.path());
    image
}

/// The files of a log that damage may hit: all but the watermark, and locks, which are empty.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 && !path.ends_with(MARK) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn no_silent_difference<L: OnDisk>(sound: &Path, records: usize, rounds: u64, seed: u64) {
    let reference = tempfile::tempdir().unwrap();
    copy_files(sound, reference.path());
    let want = contents::<L>(reference.path()).unwrap();
    assert_eq!(want.0.len(), records);
    let mut dice = Dice(seed);
    let (mut refused, mut same) = (0, 0);
    for round in 0..rounds {
        let victim = tempfile::tempdir().unwrap();
        copy_files(sound, victim.path());
        let hit = if round % 10 == 9 {
            victim.path().join(MARK)
        } else {
            let files = files(victim.path());
            files[dice.roll(files.len() as u64) as usize].clone()
        };
        let what = damage(&mut dice, &hit, round, 4096);
        match contents::<L>(victim.path()) {
            Ok(found) => {
                assert!(found == want, "{what}: a silent difference");
                same += 1;
            }
            Err(error) => {
                assert!(error.is_damage(), "{what}: {error}");
                refused += 1;
            }
        }
    }
    // The rounds must have reached what matters.
    assert!(
        refused > rounds / 4,
        "only {refused} of {rounds} were noticed, {same} changed nothing"
    );
}

#[test]
fn damage_to_a_closed_log_is_refused_or_harmless() {
    no_silent_difference::<RedbLog>(lived_in::<RedbLog>(false).path(), 181, 200, 0x5EED_0001);
    no_silent_difference::<ChunkedLog>(lived_in::<ChunkedLog>(false).path(), 181, 200, 0x5EED_0001);
}

#[test]
fn damage_to_a_killed_log_is_refused_or_harmless() {
    no_silent_difference::<RedbLog>(lived_in::<RedbLog>(true).path(), 181, 200, 0x5EED_0002);
    no_silent_difference::<ChunkedLog>(lived_in::<ChunkedLog>(true).path(), 181, 200, 0x5EED_0002);
}

/// The commit slots of the engine: every byte, because a lost newest slot is how a log goes back in time.
#[test]
fn every_byte_of_the_engines_header_is_refused_or_harmless() {
    let sound = lived_in::<RedbLog>(true);
    let reference = tempfile::tempdir().unwrap();
    copy_files(sound.path(), reference.path());
    let want = contents::<RedbLog>(reference.path()).unwrap();
    let (mut acknowledged, mut refused) = (0, 0);
    for at in 0..320_usize {
        let victim = tempfile::tempdir().unwrap();
        copy_files(sound.path(), victim.path());
        let file = victim.path().join("log.redb");
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, bytes).unwrap();
        match contents::<RedbLog>(victim.path()) {
            Ok(found) => assert!(found == want, "byte {at}: a silent difference"),
            Err(error) => {
                assert!(error.is_damage(), "byte {at}: {error}");
                refused += 1;
                acknowledged += usize::from(error.to_string().contains("acknowledged"));
            }
        }
    }
    assert!(refused > 30, "only {refused} bytes were noticed");
    assert!(
        acknowledged > 0,
        "the watermark never spoke: this test does not reach the older slot"
    );
}

#[test]
fn damage_to_a_snapshot_is_always_refused() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(dir.path()).unwrap();
    let meta = SnapshotMeta {
        last: LogId { index: 9, term: 2 },
        membership: "members".into(),
    };
    let mut writer = snapshots.begin(meta).unwrap();
    for chunk in 0..20_u64 {
        writer.chunk(&record(chunk).payload).unwrap();
    }
    let snapshot = writer.finish().unwrap();
    let sound = fs::read(snapshot.path()).unwrap();
    assert_eq!(snapshots.verify(&snapshot).unwrap(), 20);
    let mut dice = Dice(0x5EED_0003);
    for round in 0..300 {
        let what = damage(&mut dice, snapshot.path(), round, 64);
        if fs::read(snapshot.path()).unwrap() != sound {
            let error = snapshots.verify(&snapshot).expect_err(&what);
            assert!(error.is_damage(), "{what}: {error}");
        }
        fs::write(snapshot.path(), &sound).unwrap();
    }
    fs::write(snapshot.path(), [&sound[..], b"x"].concat()).unwrap();
    assert!(snapshots.verify(&snapshot).unwrap_err().is_damage());
}
