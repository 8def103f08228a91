//! Snapshot files: durable before they exist, never fallen back from, pruned to two.

use std::fs;

use verger_controller_store::{LogId, SnapshotDir, SnapshotMeta, StoreError};

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last: LogId { index, term: 3 },
        membership: "m".into(),
    }
}

fn write(dir: &SnapshotDir, index: u64, chunks: &[&[u8]]) -> verger_controller_store::DurableSnapshot {
    let mut writer = dir.begin(meta(index)).unwrap();
    for chunk in chunks {
        writer.chunk(chunk).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn the_bytes_of_a_snapshot_are_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = write(&SnapshotDir::open(dir.path()).unwrap(), 7, &[b"ab", b"c"]);
    assert_eq!(
        snapshot.path().file_name().unwrap(),
        "00000000000000000007-00000000000000000003.vsnap"
    );
    let hex: String = fs::read(snapshot.path())
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "564752534e415001110000001d13fe87070000000000000003000000000000006d020000008fae1ef06162010000007dde4d3d6300000000020000000000000093df8c9444f329eedb16743c16101786ee209322b131791f04b9544e9eaf7075"
    );
}

#[test]
fn chunks_come_back_and_the_newest_is_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(dir.path()).unwrap();
    assert_eq!(snapshots.latest().unwrap(), None);
    write(&snapshots, 9, &[b"old"]);
    let newest = write(&snapshots, 10, &[b"one", b"", b"two"]);
    let found = SnapshotDir::open(dir.path()).unwrap().latest().unwrap().unwrap();
    assert_eq!(found, newest);
    let mut reader = snapshots.read(&found).unwrap();
    assert_eq!(*reader.meta(), meta(10));
    assert_eq!(reader.next_chunk().unwrap().unwrap(), b"one");
    assert_eq!(reader.next_chunk().unwrap().unwrap(), b"two");
    assert_eq!(reader.next_chunk().unwrap(), None);
}

#[test]
fn a_durable_snapshot_covers_up_to_its_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = write(&SnapshotDir::open(dir.path()).unwrap(), 10, &[b"x"]);
    assert!(snapshot.covers(LogId { index: 10, term: 3 }));
    assert!(!snapshot.covers(LogId { index: 11, term: 3 }));
    assert!(!snapshot.covers(LogId { index: 9, term: 4 }));
}

#[test]
fn an_unfinished_snapshot_does_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(dir.path()).unwrap();
    let mut writer = snapshots.begin(meta(4)).unwrap();
    writer.chunk(b"half").unwrap();
    assert_eq!(snapshots.latest().unwrap(), None);
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    fs::write(dir.path().join("left-by-a-crash.vsnap.draft"), b"x").unwrap();
    SnapshotDir::open(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_snapshot_without_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(dir.path()).unwrap();
    let mut writer = snapshots.begin(meta(4)).unwrap();
    writer.chunk(b"").unwrap();
    assert!(matches!(writer.finish(), Err(StoreError::Refused { .. })));
    assert_eq!(snapshots.latest().unwrap(), None);
}

#[test]
fn pruning_keeps_the_last_two() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(dir.path()).unwrap();
    for index in [8, 9, 10, 101] {
        write(&snapshots, index, &[b"x"]);
    }
    assert_eq!(snapshots.prune().unwrap(), 2);
    assert_eq!(snapshots.prune().unwrap(), 0);
    assert_eq!(snapshots.latest().unwrap().unwrap().meta().last.index, 101);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_damaged_newest_snapshot_is_an_error_and_stops_pruning() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(dir.path()).unwrap();
    for index in [8, 9, 10] {
        write(&snapshots, index, &[b"x"]);
    }
    let newest = snapshots.latest().unwrap().unwrap();
    let mut bytes = fs::read(newest.path()).unwrap();
    let middle = bytes.len() - 60;
    bytes[middle] ^= 1;
    fs::write(newest.path(), &bytes).unwrap();
    assert!(snapshots.prune().unwrap_err().is_damage());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    fs::write(newest.path(), b"").unwrap();
    let error = snapshots.latest().unwrap_err();
    assert!(error.is_damage());
    assert!(error.to_string().contains("join again"), "{error}");
}

#[test]
fn a_newer_format_is_told_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(dir.path()).unwrap();
    let snapshot = write(&snapshots, 8, &[b"x"]);
    let mut bytes = fs::read(snapshot.path()).unwrap();
    bytes[7] = 2;
    fs::write(snapshot.path(), bytes).unwrap();
    assert!(matches!(
        snapshots.latest(),
        Err(StoreError::Newer { found: 2, .. })
    ));
}
