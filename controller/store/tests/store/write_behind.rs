//! What stands in front of a state: what is read while rows are on their way, how much they may be, and what comes of a failure below.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use verger_controller_store::conformance::state::{Image, changes, mark};
use verger_controller_store::{
    AppliedMark, LogRecord, LogWriter, MemoryDisk, MemoryLog, MemoryState, Pump, Reached, Remedy, Row, RowOp,
    StateDb, StoreError, WriteBehind,
};

/// What a state does with the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// It keeps whoever writes.
    Shut,
    /// It takes nothing, and says so.
    Fails,
    Panics,
}

/// A state whose writes can be held up.
struct Below {
    rows: MemoryState,
    door: Mutex<Door>,
    turned: Condvar,
    /// Somebody waits at the door.
    waiting: Mutex<bool>,
    came: Condvar,
    batches: AtomicU64,
}

impl Below {
    fn behind(door: Door) -> Arc<Self> {
        Arc::new(Self {
            rows: MemoryState::new(),
            door: Mutex::new(door),
            turned: Condvar::new(),
            waiting: Mutex::new(false),
            came: Condvar::new(),
            batches: AtomicU64::new(0),
        })
    }

    fn turn(&self, door: Door) {
        *self.door.lock().unwrap() = door;
        self.turned.notify_all();
    }

    fn until_somebody_waits(&self) {
        let waiting = self.waiting.lock().unwrap();
        drop(self.came.wait_while(waiting, |waiting| !*waiting).unwrap());
    }
}

fn failure() -> StoreError {
    StoreError::Damaged {
        file: "rows".into(),
        what: "a page does not decode".to_owned(),
        remedy: Remedy::RebuildState,
    }
}

impl StateDb for Below {
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError> {
        *self.waiting.lock().unwrap() = true;
        self.came.notify_all();
        let door = self.door.lock().unwrap();
        let door = *self.turned.wait_while(door, |door| *door == Door::Shut).unwrap();
        *self.waiting.lock().unwrap() = false;
        match door {
            Door::Fails => return Err(failure()),
            Door::Panics => panic!("planted"),
            Door::Open | Door::Shut => {}
        }
        self.batches.fetch_add(1, Ordering::SeqCst);
        self.rows.apply_batch(ops, applied)
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.get(tree, key)
    }

    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.rows.scan_prefix(tree, prefix, visit)
    }

    fn applied(&self) -> Result<Option<AppliedMark>, StoreError> {
        self.rows.applied()
    }

    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.rows.visit_at(begin, visit)
    }

    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        self.rows.replace_all(rows, applied)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.rows.flush()
    }
}

fn put(key: &str, value: impl Into<Bytes>) -> RowOp {
    RowOp {
        tree: "t".to_owned(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Some(value.into()),
    }
}

fn delete(key: &str) -> RowOp {
    RowOp {
        value: None,
        ..put(key, "")
    }
}

/// A batch that is a layer by itself.
fn large(key: &str) -> RowOp {
    put(key, vec![b'x'; 200_000])
}

fn layer(names: [&str; 3]) -> Vec<RowOp> {
    names.map(large).to_vec()
}

fn scanned(state: &dyn StateDb, most: usize) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    state
        .scan_prefix("t", b"k", &mut |Row { key, value, .. }| {
            found.push((String::from_utf8(key.to_vec()).unwrap(), value.len()));
            Ok(found.len() < most)
        })
        .unwrap();
    found
}

/// In front of it, over a log that has everything.
fn over<S: StateDb + 'static>(below: &Arc<S>) -> WriteBehind {
    let below = Arc::clone(below) as Arc<dyn StateDb>;
    WriteBehind::start(below, Reached::everything()).unwrap()
}

#[test]
fn what_is_read_is_what_was_applied_wherever_the_rows_are() {
    let below = Below::behind(Door::Open);
    let state = over(&below);
    let first = ["k1", "k3", "k5", "k7"].map(|key| put(key, "below"));
    state.apply_batch(&first, &mark(1)).unwrap();
    state.flush().unwrap();
    below.turn(Door::Shut);
    // A full layer that is being written, another that waits, and one that is open.
    state
        .apply_batch(
            &[layer(["k2", "k3", "k9"]), vec![delete("k5")]].concat(),
            &mark(2),
        )
        .unwrap();
    below.until_somebody_waits();
    state
        .apply_batch(
            &[layer(["k2", "l", "m"]), vec![put("k5", "again")]].concat(),
            &mark(3),
        )
        .unwrap();
    state
        .apply_batch(&[put("k0", "open"), delete("k7"), delete("k9")], &mark(4))
        .unwrap();
    let all = [("k0", 4), ("k1", 5), ("k2", 200_000), ("k3", 200_000), ("k5", 5)];
    for _ in 0..2 {
        assert_eq!(state.applied().unwrap(), Some(mark(4)));
        for most in 1..=6 {
            let found = scanned(&state, most);
            let found: Vec<_> = found
                .iter()
                .map(|(key, length)| (key.as_str(), *length))
                .collect();
            assert_eq!(found, all[..most.min(5)]);
        }
        for (key, length) in [
            ("k1", Some(5)),
            ("k3", Some(200_000)),
            ("k7", None),
            ("k9", None),
            ("z", None),
        ] {
            let value = state.get("t", key.as_bytes()).unwrap();
            assert_eq!(value.map(|value| value.len()), length, "{key}");
        }
        // The same once they are below.
        below.turn(Door::Open);
        state.flush().unwrap();
        assert_eq!((state.held_bytes(), below.applied().unwrap()), (0, Some(mark(4))));
    }
}

#[test]
fn nobody_waits_for_a_disk_that_stands_still_until_too_much_is_held() {
    const BATCHES: u64 = 64;
    /// Of three large rows.
    const BATCH: usize = 3 * (200_000 + 200);
    const MOST: usize = 8 << 20;
    let below = Below::behind(Door::Shut);
    let state = over(&below);
    let names = |index: u64| [0, 1, 2].map(|part| format!("k{index:02}{part}"));
    let apply = |index: u64| {
        let names = names(index);
        state.apply_batch(&layer([&names[0], &names[1], &names[2]]), &mark(index))
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (1..=BATCHES).try_fold(0, |most, index| {
                apply(index)?;
                Ok::<_, StoreError>(most.max(state.held_bytes()))
            })
        });
        while state.held_bytes() <= MOST && !writer.is_finished() {
            std::thread::yield_now();
        }
        // Whoever applies waits now, and has every chance to show that it does not.
        let at = state.applied().unwrap().unwrap().last.index;
        for _ in 0..10_000 {
            std::thread::yield_now();
        }
        assert_eq!(state.applied().unwrap(), Some(mark(at)));
        assert_eq!(at, (MOST / BATCH) as u64 + 1);
        below.turn(Door::Open);
        let most = writer.join().unwrap().unwrap();
        assert!(most > MOST && most <= MOST + BATCH, "{most} bytes were held");
    });
    state.flush().unwrap();
    assert_eq!(scanned(&*below, usize::MAX).len() as u64, 3 * BATCHES);
    assert_eq!(below.applied().unwrap(), Some(mark(BATCHES)));
}

#[test]
fn what_is_changed_again_and_again_is_written_once() {
    let below = Below::behind(Door::Open);
    let state = over(&below);
    for index in 1..=1_000 {
        state
            .apply_batch(&[put("head", index.to_string())], &mark(index))
            .unwrap();
    }
    assert_eq!(below.applied().unwrap(), None);
    state.flush().unwrap();
    assert_eq!(below.batches.load(Ordering::SeqCst), 1);
    assert_eq!(below.get("t", b"head").unwrap().as_deref(), Some(&b"1000"[..]));
    // A planned stop with nothing new writes nothing.
    state.flush().unwrap();
    assert_eq!(below.batches.load(Ordering::SeqCst), 1);
}

#[test]
fn a_crash_leaves_what_is_below() {
    let below = Below::behind(Door::Open);
    let state = over(&below);
    for index in 1..=20 {
        state.apply_batch(&changes(index), &mark(index)).unwrap();
    }
    state.flush().unwrap();
    below.turn(Door::Shut);
    state.apply_batch(&layer(["a", "b", "c"]), &mark(21)).unwrap();
    below.until_somebody_waits();
    // Between the two: the layer is on its way, and none of it is there.
    let left = below.rows.crash(usize::MAX);
    below.turn(Door::Open);
    state.apply_batch(&changes(22), &mark(22)).unwrap();
    drop(state);
    let mut rows = Vec::new();
    let at = left
        .visit_all(&mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    assert_eq!((Image::of(&rows), at), (Image::at(20), Some(mark(20))));
    // One that is dropped writes the layer it has begun at most, and not the one that is open.
    let at = below.applied().unwrap().unwrap().last.index;
    assert!((20..=21).contains(&at), "{at}");
}

#[test]
fn a_failure_below_is_what_all_are_told_from_then_on() {
    for (door, told) in [
        (Door::Fails, failure().to_string()),
        (Door::Panics, StoreError::Closed.to_string()),
    ] {
        let below = Below::behind(Door::Open);
        let state = over(&below);
        state.apply_batch(&[put("k", "1")], &mark(1)).unwrap();
        state.flush().unwrap();
        below.turn(door);
        state.apply_batch(&[put("k", "2")], &mark(2)).unwrap();
        let answers = [
            state.flush(),
            state.apply_batch(&[], &mark(3)),
            state.get("t", b"k").map(drop),
            state.scan_prefix("t", b"", &mut |_| Ok(true)),
            state.applied().map(drop),
            state.visit_all(&mut |_| Ok(())).map(drop),
            state.replace_all(&mut std::iter::empty(), &mark(9)),
            state.flush(),
        ];
        for answer in answers {
            assert_eq!(answer.unwrap_err().to_string(), told, "{door:?}");
        }
        // It stands where it stood, and whoever opens it again goes on there.
        below.turn(Door::Open);
        drop(state);
        let again = over(&below);
        assert_eq!(again.applied().unwrap(), Some(mark(1)));
        again.apply_batch(&[put("k", "2")], &mark(2)).unwrap();
    }
}

#[test]
fn who_waits_for_room_is_told_of_a_failure_below() {
    let below = Below::behind(Door::Shut);
    let state = over(&below);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (1..=64).try_for_each(|index| {
                let name = format!("k{index:02}");
                state.apply_batch(
                    &layer([&name, &format!("{name}a"), &format!("{name}b")]),
                    &mark(index),
                )
            })
        });
        while state.held_bytes() <= 8 << 20 {
            std::thread::yield_now();
        }
        below.turn(Door::Fails);
        let told = writer.join().unwrap().unwrap_err();
        assert_eq!(told.to_string(), failure().to_string());
    });
}

#[test]
fn a_visit_sees_one_mark_while_layers_go_below() {
    let below = Below::behind(Door::Open);
    let state = over(&below);
    for index in 1..=30 {
        state.apply_batch(&changes(index), &mark(index)).unwrap();
    }
    let (mut at, mut rows) = (None, Vec::new());
    state
        .visit_at(
            &mut |mark| {
                at = mark.cloned();
                Ok(())
            },
            &mut |row| {
                // More goes below than one layer is, meanwhile.
                let index = 31 + rows.len() as u64;
                state.apply_batch(&layer(["x", "y", "z"]), &mark(index))?;
                rows.push(row);
                Ok(())
            },
        )
        .unwrap();
    assert_eq!((Image::of(&rows), at), (Image::at(30), Some(mark(30))));
    assert_eq!(state.applied().unwrap(), Some(mark(30 + rows.len() as u64)));
}

/// A log without a thread, and rows of it.
struct Pumped {
    log: LogWriter,
    pump: Pump,
    below: Arc<MemoryState>,
    state: WriteBehind,
}

impl Pumped {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let (log, pump) = LogWriter::pumped(Arc::new(MemoryLog::open(&disk))).unwrap();
        let below = Arc::new(MemoryState::new());
        let state = WriteBehind::start(Arc::clone(&below) as Arc<dyn StateDb>, log.reached()).unwrap();
        Self {
            log,
            pump,
            below,
            state,
        }
    }

    fn append(&self, term: u64, indices: std::ops::RangeInclusive<u64>) {
        let record = |index| LogRecord {
            index,
            term,
            payload: Bytes::from_static(b"r"),
        };
        let written = Box::new(|result: Result<(), StoreError>| result.unwrap());
        self.log.submit(indices.map(record).collect(), written).unwrap();
    }

    fn apply(&self, index: u64) {
        self.state
            .apply_batch(&[put("k", index.to_string())], &mark(index))
            .unwrap();
    }

    /// Has all that is applied written below: nothing of it is, with every chance, while the log has made so many steps less than it needs.
    fn flush_in(&mut self, steps: usize) {
        std::thread::scope(|scope| {
            let flushed = scope.spawn(|| self.state.flush());
            for _ in 1..steps {
                assert!(self.pump.step());
            }
            for _ in 0..10_000 {
                std::thread::yield_now();
            }
            assert!(!flushed.is_finished());
            assert_eq!(self.below.applied().unwrap(), None);
            assert!(self.pump.step());
            flushed.join().unwrap().unwrap();
        });
    }
}

#[test]
fn rows_go_below_when_the_log_has_what_they_are_made_of() {
    let mut rows = Pumped::new();
    rows.append(1, 0..=2);
    // Committed by others, and not durable here.
    rows.apply(2);
    rows.flush_in(1);
    assert_eq!(rows.below.applied().unwrap(), Some(mark(2)));
}

#[test]
fn records_that_were_cut_off_are_not_those_that_follow_at_their_place() {
    let mut rows = Pumped::new();
    rows.append(1, 0..=5);
    assert!(rows.pump.step());
    // Others led meanwhile: what follows is not durable, though there was something durable in its place.
    rows.log
        .truncate_after(Some(2), Box::new(Result::unwrap))
        .unwrap();
    rows.append(2, 3..=4);
    rows.apply(4);
    rows.flush_in(2);
    assert_eq!(rows.below.applied().unwrap(), Some(mark(4)));
}

#[test]
fn nobody_waits_for_a_log_that_nobody_writes_any_more() {
    let rows = Pumped::new();
    rows.append(1, 0..=2);
    rows.apply(2);
    let Pumped {
        log,
        pump,
        below,
        state,
    } = rows;
    std::thread::scope(|scope| {
        let flushed = scope.spawn(|| state.flush());
        drop((pump, log));
        assert!(matches!(flushed.join().unwrap(), Err(StoreError::Closed)));
    });
    // Nor does who drops it, whoever else has the log.
    drop(state);
    assert_eq!(below.applied().unwrap(), None);
    let rows = Pumped::new();
    rows.append(1, 0..=2);
    rows.apply(2);
    drop(rows.state);
    drop(rows.log);
}
