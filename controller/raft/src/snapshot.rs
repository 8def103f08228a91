//! Rows in and out of snapshot files.

use std::cell::RefCell;
use std::path::Path;

use bytes::{Buf, Bytes};
use prost::Message as _;
use verger_controller_store::{
    AppliedMark, DurableSnapshot, Remedy, Row, SnapshotDir, SnapshotMeta, SnapshotReader, SnapshotWriter,
    StateDb, StoreError,
};
use verger_proto::stored::v1 as stored;

use crate::room::Room;

/// Bytes of rows in one chunk, about.
const CHUNK_BYTES: usize = 256 << 10;
/// The only chunk of a state that has no rows yet, an empty row: a file without any could not be told from a lost state.
const NO_ROWS: &[u8] = &[0];

/// Writes the rows as they are now into a file that is durable on return; `None` while nothing is applied. A chunk at a time is in memory,
/// and the member goes on meanwhile. What the member keeps its log with is left to it: where that is all there is, the file is given up.
pub(crate) fn write(
    db: &dyn StateDb,
    dir: &SnapshotDir,
    room: &Room,
) -> Result<Option<DurableSnapshot>, StoreError> {
    room.for_snapshots(dir)?;
    let drawn = RefCell::new(None);
    let mut begin = |mark: Option<&AppliedMark>| {
        if let Some(AppliedMark { last, membership }) = mark.cloned() {
            *drawn.borrow_mut() = Some(Drawn {
                writer: dir.begin(SnapshotMeta { last, membership })?,
                chunk: Vec::with_capacity(CHUNK_BYTES),
                is_empty: true,
            });
        }
        Ok(())
    };
    db.visit_at(&mut begin, &mut |row| match &mut *drawn.borrow_mut() {
        Some(drawn) => {
            if drawn.row(row)? {
                room.for_snapshots(dir)?;
            }
            Ok(())
        }
        // Nothing is applied, so there is none.
        None => Ok(()),
    })?;
    let Some(drawn) = drawn.into_inner() else {
        return Ok(None);
    };
    let snapshot = drawn.finish()?;
    dir.prune()?;
    Ok(Some(snapshot))
}

/// A file that is being written.
struct Drawn {
    writer: SnapshotWriter,
    chunk: Vec<u8>,
    is_empty: bool,
}

impl Drawn {
    /// Says whether it wrote a chunk.
    fn row(&mut self, row: Row) -> Result<bool, StoreError> {
        let Row { tree, key, value } = row;
        let row = stored::SnapshotRow { tree, key, value };
        row.encode_length_delimited(&mut self.chunk)
            .expect("a vector grows");
        self.is_empty = false;
        let is_full = self.chunk.len() >= CHUNK_BYTES;
        if is_full {
            self.writer.chunk(&self.chunk)?;
            self.chunk.clear();
        }
        Ok(is_full)
    }

    fn finish(mut self) -> Result<DurableSnapshot, StoreError> {
        let rest = match self.is_empty {
            true => NO_ROWS,
            false => &self.chunk,
        };
        self.writer.chunk(rest)?;
        self.writer.finish()
    }
}

/// The newest snapshot, read to its end. Where rows and log do without it, a damaged one is thrown away: another is made of the rows, before
/// a peer or the next start needs it.
pub(crate) fn newest(dir: &SnapshotDir, is_needed: bool) -> Result<Option<DurableSnapshot>, StoreError> {
    let found = dir.latest().and_then(|found| {
        if let Some(snapshot) = &found {
            dir.verify(snapshot)?;
        }
        Ok(found)
    });
    match found {
        Err(error) if error.is_damage() && !is_needed => {
            tracing::error!(%error, "making another snapshot of the rows");
            dir.discard()?;
            Ok(None)
        }
        found => found,
    }
}

/// Replaces the rows by those of a snapshot file.
pub(crate) fn restore(
    db: &dyn StateDb,
    dir: &SnapshotDir,
    snapshot: &DurableSnapshot,
) -> Result<(), StoreError> {
    let SnapshotMeta { last, membership } = snapshot.meta().clone();
    let mut rows = Rows {
        reader: dir.read(snapshot)?,
        chunk: Bytes::new(),
        path: snapshot.path(),
    };
    db.replace_all(&mut rows, &AppliedMark { last, membership })
}

struct Rows<'a> {
    reader: SnapshotReader,
    chunk: Bytes,
    path: &'a Path,
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.chunk.has_remaining() {
            match self.reader.next_chunk() {
                Ok(Some(chunk)) if chunk == NO_ROWS => {}
                Ok(Some(chunk)) => self.chunk = chunk.into(),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(
            match stored::SnapshotRow::decode_length_delimited(&mut self.chunk) {
                Ok(stored::SnapshotRow { tree, key, value }) => Ok(Row { tree, key, value }),
                Err(error) => Err(StoreError::Damaged {
                    file: self.path.to_owned(),
                    what: format!("a row cannot be read: {error}"),
                    remedy: Remedy::FetchSnapshot,
                }),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use verger_controller_store::{LogId, MemoryState, RowOp, SledState, Space};

    use super::*;
    use crate::member::{Member, MemberError};
    use crate::testing::{PATIENCE, open};

    /// A member that is stopped, whose log begins behind its snapshot; and the snapshot's file.
    async fn purged() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        let member = open(dir.path()).await.unwrap();
        member.wait_until_leading(PATIENCE).await.unwrap();
        member.catch_up().await.unwrap();
        member.snapshot_and_purge().await.unwrap();
        while member.standing().purged == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        member.stop().await;
        let file = fs::read_dir(dir.path().join("snapshots"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        (dir, file)
    }

    /// A file system with less space than the log is to have, gone with this. Needs root, as the rigs do.
    struct Small(tempfile::TempDir);

    impl Small {
        fn mounted() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut mount = std::process::Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]);
            assert!(
                mount.arg(dir.path()).status().unwrap().success(),
                "mounting a tmpfs needs root"
            );
            Self(dir)
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let mut umount = std::process::Command::new("umount");
            let _ = umount.arg("--lazy").arg(self.0.path()).status();
        }
    }

    #[test]
    fn a_snapshot_takes_no_space_that_the_log_needs() {
        let small = Small::mounted();
        let place = small.0.path();
        let dir = SnapshotDir::open(&place.join("snapshots")).unwrap();
        let rows = MemoryState::new();
        let put = RowOp {
            tree: "t".to_owned(),
            key: "k".into(),
            value: Some("v".into()),
        };
        let mark = AppliedMark {
            last: LogId { index: 1, term: 1 },
            membership: Bytes::new(),
        };
        rows.apply_batch(&[put], &mark).unwrap();
        let full = Room::of(Space::watch(place).unwrap());
        let refused = write(&rows, &dir, &full).unwrap_err();
        assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
        let told = refused.to_string();
        assert!(
            told.contains("the disk is full") && told.contains(place.to_str().unwrap()),
            "{told}"
        );
        assert_eq!(dir.latest().unwrap(), None);
        // There is enough for it.
        let made = write(&rows, &dir, &Room::of(Space::endless())).unwrap().unwrap();
        assert_eq!(dir.verify(&made).unwrap(), 1);
    }

    fn flip(file: &Path, at: usize) {
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    #[tokio::test]
    async fn a_damaged_snapshot_that_nothing_needs_is_made_again() {
        let (dir, file) = purged().await;
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(3) {
            let snapshots = SnapshotDir::open(&dir.path().join("snapshots")).unwrap();
            snapshots.discard().unwrap();
            fs::write(&file, &whole).unwrap();
            flip(&file, at);
            open(dir.path()).await.unwrap().stop().await;
            let made = snapshots.latest().unwrap().unwrap();
            snapshots.verify(&made).unwrap();
        }
    }

    #[tokio::test]
    async fn a_damaged_snapshot_that_the_rows_need_is_refused_with_the_remedy() {
        let (dir, file) = purged().await;
        let last = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap() - 1;
        flip(&file, last);
        SledState::discard(dir.path()).unwrap();
        let MemberError::Store(error) = open(dir.path()).await.err().unwrap() else {
            panic!("it is of a store");
        };
        let error = error.to_string();
        assert!(
            error.contains(file.to_str().unwrap()) && error.contains("another name"),
            "{error}"
        );
    }
}
