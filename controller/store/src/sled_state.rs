//! The applied state on sled, which is never the only copy.
//!
//! sled neither reports damage cleanly nor syncs by itself, so: it is opened in a thread whose panic is an
//! error, every row carries a checksum, the mark carries count and digest of all rows, opening makes them durable
//! ([`settle`](verger_durable::settle)) and reads them all, and [`flush`](StateDb::flush) is sled's flush and an fdatasync of its file.

mod cache;
mod rows;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use self::cache::Touched;
use self::rows::{
    MARK_KEY, Tally, damaged, decode_mark, decode_row, decode_value, encode_mark, encode_value,
};
use crate::containment::{contained, contained_open};
use crate::patience::patiently;
use crate::state_db::{AppliedMark, Row, RowOp, StateDb};
use crate::{Remedy, StoreError, row_key};

const STATE_DIR: &str = "state.sled";
const ROWS_TREE: &str = "rows";
/// In sled's own tree while [`StateDb::replace_all`] runs.
const REPLACING_KEY: &str = "replacing";
/// sled's page cache, about (see [`cache`]). The controller reads its state from memory; rows are read at start, and those of the audit.
const CACHE_BYTES: u64 = 24 << 20;
/// Rows that a visit takes at a time, and about how many bytes: writers wait for no more.
const AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 512 << 10;
/// Bytes that are kept for a visit of what is changed meanwhile; past it writers wait until it has moved on.
const KEPT_BYTES: usize = 16 << 20;
/// Bytes of rows in one batch while a snapshot is loaded.
const LOAD_BYTES: usize = 512 << 10;

/// The rows of one member on sled. Open at most once per directory.
pub struct SledState {
    path: PathBuf,
    db: sled::Db,
    /// Kept open for the barrier.
    file: File,
    /// Off in the rig's planted defect alone.
    barrier: bool,
    present: Mutex<Present>,
    /// One visit at a time.
    visitors: Mutex<()>,
    /// A visit has moved on, or is over.
    moved: Condvar,
    touched: Touched,
}

struct Present {
    rows: sled::Tree,
    mark: Option<AppliedMark>,
    tally: Tally,
    latched: Option<String>,
    /// Who visits the rows as they were.
    view: Option<View>,
}

/// The rows as they were when a visit began: those as they are, but for what was changed since and is not visited yet.
struct View {
    /// What comes before is visited.
    next: Vec<u8>,
    /// As it was; `None` where there was no such row.
    kept: BTreeMap<Vec<u8>, Option<sled::IVec>>,
    /// Bytes of it, about.
    bytes: usize,
}

impl View {
    /// From the first key a row can have: the mark lies before.
    fn begin() -> Self {
        Self {
            next: vec![1],
            kept: BTreeMap::new(),
            bytes: 0,
        }
    }

    fn keep(&mut self, key: &[u8], stored: Option<sled::IVec>) {
        if key >= self.next.as_slice() && !self.kept.contains_key(key) {
            let (key, stored) = (key.to_owned(), stored);
            self.bytes += size((&key, &stored));
            self.kept.insert(key, stored);
        }
    }

    const fn is_full(&self) -> bool {
        self.bytes > KEPT_BYTES
    }
}

fn size((key, stored): (&Vec<u8>, &Option<sled::IVec>)) -> usize {
    key.len() + stored.as_ref().map_or(0, |stored| stored.len())
}

/// Rows as they are stored.
type StoredRows = Vec<(Vec<u8>, Option<sled::IVec>)>;

/// What is to be stored.
struct Changes {
    batch: sled::Batch,
    /// The keys of rows that are put, and the bytes of each.
    put: Vec<(Vec<u8>, usize)>,
    tally: Tally,
}

/// Ends a visit.
struct Over<'a>(&'a SledState);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut present = self.0.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.view = None;
        drop(present);
        self.0.moved.notify_all();
    }
}

impl SledState {
    /// Opens the state under `dir`, making an empty one if there is none, and verifies every row. After
    /// [`StoreError::Damaged`], [`discard`](Self::discard) it and rebuild. A lock that is still held after
    /// some seconds is another process's: [`StoreError::InUse`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        verger_durable::create_dir(dir)?;
        let path = dir.join(STATE_DIR);
        let (db, present) = patiently(|| Self::open_engine(&path))?;
        let blocks = path.join("db");
        let file = File::open(&blocks).map_err(|error| StoreError::io(&blocks, "open", error))?;
        verger_durable::sync_dir(&path)?;
        verger_durable::sync_dir(dir)?;
        let this = Self {
            path,
            db,
            file,
            barrier: true,
            present: Mutex::new(present),
            visitors: Mutex::default(),
            moved: Condvar::new(),
            touched: Touched::default(),
        };
        if !verger_durable::is_settling_left_out() {
            // What the engine moved while it was opened, too.
            contained(&this.path, Remedy::RebuildState, || this.settle())?;
        }
        Ok(this)
    }

    /// Opens the state with the barrier taken out: a flush is sled's alone. For the power-cut rig, which must
    /// catch exactly that.
    #[cfg(feature = "rig")]
    pub fn open_without_barrier(dir: &Path) -> Result<Self, StoreError> {
        let mut state = Self::open(dir)?;
        state.barrier = false;
        Ok(state)
    }

    fn open_engine(path: &Path) -> Result<(sled::Db, Present), StoreError> {
        if path.exists() {
            verger_durable::settle(path)?;
        }
        contained_open(path, Remedy::RebuildState, || {
            let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES);
            let db = config.open().map_err(|error| fault(path, error))?;
            let present = Present::load(path, &db)?;
            Ok((db, present))
        })
    }

    /// Removes the state under `dir`, so that it can be rebuilt. It must not be open.
    pub fn discard(dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(STATE_DIR);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io(&path, "remove", error))
            }
            _ => Ok(verger_durable::sync_dir(dir)?),
        }
    }

    fn present(&self) -> Result<MutexGuard<'_, Present>, StoreError> {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        match &present.latched {
            Some(cause) => Err(StoreError::Latched {
                file: self.path.clone(),
                cause: cause.clone(),
            }),
            None => Ok(present),
        }
    }

    /// Runs one writing call; a failure of the engine or of a sync stays until the state is opened again.
    fn write<T>(
        &self,
        present: &mut Present,
        call: impl FnOnce(&mut Present) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = contained(&self.path, Remedy::RebuildState, || call(present));
        // A row iterator's own failure (a damaged snapshot) names another file and does not stay.
        if let Err(
            error @ (StoreError::Io { file, .. }
            | StoreError::Full { file, .. }
            | StoreError::Damaged { file, .. }),
        ) = &result
            && file.starts_with(&self.path)
        {
            present.latched = Some(error.to_string());
        }
        result
    }

    /// Waits until the writes of the batch before are in the file. sled hands each batch to its threads and goes on;
    /// once seven of them wait for its table of segments, and that waits for a truncation queued behind them, sled
    /// 0.34 stands still for good (<https://github.com/spacejam/sled/pull/1269>, released for no 0.34). Nor would
    /// its queue have a bound.
    ///
    /// And they are on the disk then: sled moves what is left of an old segment and takes its space again, whenever it likes. If
    /// the power is cut before what was moved is on the disk, and what took its place is, rows are gone that a barrier had made
    /// durable long ago (once in some 240 cuts, measured).
    fn settle(&self) -> Result<(), StoreError> {
        let flushed = self.db.flush();
        flushed.map_err(|error| fault(&self.path, error))?;
        if !self.barrier {
            return Ok(());
        }
        self.file
            .sync_data()
            .map_err(|error| StoreError::io(&self.path, "sync", error))
    }
}

impl Present {
    fn load(path: &Path, db: &sled::Db) -> Result<Self, StoreError> {
        let failed = |error| fault(path, error);
        if db.contains_key(REPLACING_KEY).map_err(failed)? {
            tracing::warn!("the state was being replaced when the member stopped: it is rebuilt");
            db.drop_tree(ROWS_TREE).map_err(failed)?;
            db.flush().map_err(failed)?;
            db.remove(REPLACING_KEY).map_err(failed)?;
        }
        let rows = db.open_tree(ROWS_TREE).map_err(failed)?;
        let (mark, expected) = match rows.get(MARK_KEY).map_err(failed)? {
            Some(stored) => {
                let (mark, tally) = decode_mark(path, &stored)?;
                (Some(mark), tally)
            }
            None => (None, Tally::default()),
        };
        let mut tally = Tally::default();
        let touched = Touched::default();
        for pair in rows.iter() {
            let (key, stored) = pair.map_err(failed)?;
            touched.add(&rows, &key, stored.len()).map_err(failed)?;
            if key != MARK_KEY {
                tally.add(decode_row(path, &key, &stored)?.0);
            }
        }
        if tally != expected {
            let what = format!(
                "it holds {} rows where {} were stored, or others",
                tally.rows, expected.rows
            );
            return Err(damaged(path, &what));
        }
        Ok(Self {
            rows,
            mark,
            tally,
            latched: None,
            view: None,
        })
    }

    /// The next rows of the view, in order, with their stored values, and whether they are the last. Without a value a row was not there.
    fn next_of_view(&mut self, path: &Path, touched: &Touched) -> Result<(StoredRows, bool), StoreError> {
        let Some(view) = &mut self.view else {
            return Ok((Vec::new(), true));
        };
        let mut rows = BTreeMap::new();
        let mut last = None;
        let mut bytes = 0;
        for pair in self.rows.range(view.next.clone()..) {
            let (key, stored) = pair.map_err(|error| fault(path, error))?;
            touched
                .add(&self.rows, &key, stored.len())
                .map_err(|error| fault(path, error))?;
            bytes += key.len() + stored.len();
            rows.insert(key.to_vec(), Some(stored));
            if rows.len() == AT_ONCE || bytes >= BYTES_AT_ONCE {
                last = Some(key.to_vec());
                break;
            }
        }
        let kept = match last {
            Some(last) => {
                view.next = [last.as_slice(), &[0]].concat();
                let rest = view.kept.split_off(&view.next);
                let kept = std::mem::replace(&mut view.kept, rest);
                view.bytes -= kept.iter().map(size).sum::<usize>();
                kept
            }
            // What was taken away since may lie behind the last row that is there.
            None => self.view.take().map(|view| view.kept).unwrap_or_default(),
        };
        rows.extend(kept);
        Ok((rows.into_iter().collect(), self.view.is_none()))
    }

    /// Encodes the last value per row, and what the tally becomes.
    fn plan(&mut self, path: &Path, ops: &[RowOp]) -> Result<Changes, StoreError> {
        let mut last: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for op in ops {
            let key = row_key::join(&op.tree, &op.key)?;
            let value = op
                .value
                .as_ref()
                .map(|value| encode_value(&key, value))
                .transpose()?;
            last.insert(key, value);
        }
        let mut tally = self.tally;
        let mut batch = sled::Batch::default();
        let mut put = Vec::new();
        for (key, value) in last {
            let stored = self.rows.get(&key).map_err(|error| fault(path, error))?;
            if let Some(stored) = &stored {
                tally.remove(decode_value(path, &key, stored)?.0);
            }
            if let Some(view) = &mut self.view {
                view.keep(&key, stored);
            }
            match value {
                Some(value) => {
                    tally.add(crate::frame::u32_at(&value, 1));
                    put.push((key.clone(), value.len()));
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
        }
        Ok(Changes { batch, put, tally })
    }
}

impl StateDb for SledState {
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError> {
        let mut present = self.present()?;
        while present.view.as_ref().is_some_and(View::is_full) {
            present = self.moved.wait(present).unwrap_or_else(PoisonError::into_inner);
        }
        applied.follows(present.mark.as_ref())?;
        self.write(&mut present, |present| {
            let changes = present.plan(&self.path, ops)?;
            let mark = encode_mark(applied, changes.tally);
            self.store(present, changes, Some(mark))?;
            present.mark = Some(applied.clone());
            Ok(())
        })
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = row_key::join(tree, key)?;
        let rows = self.present()?.rows.clone();
        contained(&self.path, Remedy::RebuildState, || {
            let failed = |error| fault(&self.path, error);
            let stored = rows.get(&key).map_err(failed)?;
            let bytes = stored.as_ref().map_or(0, |stored| stored.len());
            self.touched.add(&rows, &key, bytes).map_err(failed)?;
            stored
                .map(|stored| Ok(decode_value(&self.path, &key, &stored)?.1))
                .transpose()
        })
    }

    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let prefix = row_key::join(tree, prefix)?;
        let rows = self.present()?.rows.clone();
        let mut pairs = rows.scan_prefix(prefix);
        while let Some(row) = self.next_row(&rows, &mut pairs)? {
            if !visit(row)? {
                break;
            }
        }
        Ok(())
    }

    fn applied(&self) -> Result<Option<AppliedMark>, StoreError> {
        Ok(self.present()?.mark.clone())
    }

    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _one = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = {
            let mut present = self.present()?;
            present.view = Some(View::begin());
            present.mark.clone()
        };
        let _over = Over(self);
        begin(mark.as_ref())?;
        loop {
            let (rows, is_over) = {
                let mut present = self.present()?;
                contained(&self.path, Remedy::RebuildState, || {
                    present.next_of_view(&self.path, &self.touched)
                })?
            };
            self.moved.notify_all();
            for (key, stored) in rows {
                if let Some(stored) = stored {
                    visit(decode_row(&self.path, &key, &stored)?.1)?;
                }
            }
            if is_over {
                return Ok(());
            }
        }
    }

    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        // What is being visited is of the rows that go.
        let _none = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = self.present()?;
        self.write(&mut present, |present| {
            let loaded = self
                .empty(present)
                .and_then(|()| self.load(present, rows, applied));
            if loaded.is_err() {
                self.empty(present)?;
            }
            self.settle()?;
            self.db
                .remove(REPLACING_KEY)
                .map_err(|error| fault(&self.path, error))?;
            self.settle()?;
            loaded
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut present = self.present()?;
        self.write(&mut present, |_| self.settle())
    }
}

impl SledState {
    fn next_row(&self, rows: &sled::Tree, pairs: &mut sled::Iter) -> Result<Option<Row>, StoreError> {
        let path = &self.path;
        contained(path, Remedy::RebuildState, || match pairs.next() {
            None => Ok(None),
            Some(pair) => {
                let (key, stored) = pair.map_err(|error| fault(path, error))?;
                self.touched
                    .add(rows, &key, stored.len())
                    .map_err(|error| fault(path, error))?;
                Ok(Some(decode_row(path, &key, &stored)?.1))
            }
        })
    }

    /// Gives a batch to sled.
    fn store(
        &self,
        present: &mut Present,
        changes: Changes,
        mark: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let Changes {
            mut batch,
            put,
            tally,
        } = changes;
        if let Some(mark) = mark {
            batch.insert(MARK_KEY, mark);
        }
        self.settle()?;
        let failed = |error| fault(&self.path, error);
        present.rows.apply_batch(batch).map_err(failed)?;
        present.tally = tally;
        for (key, bytes) in put {
            self.touched.add(&present.rows, &key, bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// Drops all rows, after a durable note that they are going.
    fn empty(&self, present: &mut Present) -> Result<(), StoreError> {
        let failed = |error| fault(&self.path, error);
        self.db.insert(REPLACING_KEY, &[1]).map_err(failed)?;
        self.settle()?;
        present.mark = None;
        present.tally = Tally::default();
        self.db.drop_tree(ROWS_TREE).map_err(failed)?;
        present.rows = self.db.open_tree(ROWS_TREE).map_err(failed)?;
        Ok(())
    }

    fn load(
        &self,
        present: &mut Present,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        let mut bytes = 0;
        let write = |present: &mut Present, ops: &mut Vec<RowOp>, last: bool| {
            let changes = present.plan(&self.path, ops)?;
            let mark = last.then(|| encode_mark(applied, changes.tally));
            if last {
                present.mark = Some(applied.clone());
            }
            ops.clear();
            self.store(present, changes, mark)
        };
        for row in rows {
            let Row { tree, key, value } = row?;
            bytes += key.len() + value.len();
            ops.push(RowOp {
                tree,
                key,
                value: Some(value),
            });
            if bytes >= LOAD_BYTES {
                write(present, &mut ops, false)?;
                bytes = 0;
            }
        }
        write(present, &mut ops, true)
    }
}

fn fault(path: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            StoreError::InUse {
                file: path.to_owned(),
            }
        }
        sled::Error::Io(source) => match source.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => damaged(
                path,
                &format!(
                    "sled cannot read its files: {}",
                    source.to_string().escape_debug()
                ),
            ),
            _ => StoreError::io(path, "read or write", source),
        },
        other => damaged(path, &other.to_string().escape_debug().to_string()),
    }
}
