//! What a state of large rows takes of memory. By itself in its process: it is the process's that is measured.
#![allow(clippy::unwrap_used)]

use std::fs;

use bytes::Bytes;
use verger_controller_store::{AppliedMark, LogId, Row, RowOp, SledState, StateDb as _};

/// Bytes of each row, and rows.
const ROW: usize = 8 << 10;
const ROWS: u64 = 14 << 10;
/// What is held of them at most, in bytes: sled would hold all 112 MiB.
const MOST: u64 = 72 << 20;

fn row(number: u64) -> Row {
    Row {
        tree: "audit".to_owned(),
        key: number.to_be_bytes().to_vec().into(),
        value: vec![number as u8; ROW].into(),
    }
}

fn mark(index: u64) -> AppliedMark {
    AppliedMark {
        last: LogId { index, term: 1 },
        membership: Bytes::new(),
    }
}

/// A field of proc(5)'s status, in bytes.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kibibytes = line.trim_start_matches(':').split_whitespace().next().unwrap();
    kibibytes.parse::<u64>().unwrap() << 10
}

/// How much more than before is in memory at most, while something is done.
fn grows<T>(what: &str, action: impl FnOnce() -> T) -> T {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let done = action();
    // The kernel counts both roughly.
    let more = status("VmHWM").saturating_sub(before);
    assert!(more <= MOST, "{what}: {} KiB more", more >> 10);
    done
}

#[test]
fn large_rows_that_are_replaced_read_changed_and_opened_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let state = SledState::open(dir.path()).unwrap();
    grows("a snapshot's rows", || {
        let mut rows = (0..ROWS).map(|number| Ok(row(number)));
        state.replace_all(&mut rows, &mark(1)).unwrap();
    });
    let mut seen = 0;
    let mut count = |_: Row| {
        seen += 1;
        Ok(())
    };
    grows("a visit", || state.visit_all(&mut count).unwrap());
    assert_eq!(seen, ROWS);
    grows("a scan", || {
        state.scan_prefix("audit", b"", &mut |_| Ok(true)).unwrap();
    });
    grows("every row", || {
        for number in 0..ROWS {
            assert!(state.get("audit", &number.to_be_bytes()).unwrap().is_some());
        }
    });
    grows("new rows", || {
        for index in 2..=17 {
            let rows = (ROWS / 16 * (index - 2)..ROWS / 16 * (index - 1)).map(|number| row(ROWS + number));
            let ops: Vec<_> = rows
                .map(|Row { tree, key, value }| RowOp {
                    tree,
                    key,
                    value: Some(value),
                })
                .collect();
            state.apply_batch(&ops, &mark(index)).unwrap();
        }
    });
    drop(state);
    let state = grows("a start", || SledState::open(dir.path()).unwrap());
    assert_eq!(state.applied().unwrap(), Some(mark(17)));
}
