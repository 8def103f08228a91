//! A state in memory that can lose what was not flushed, for simulation and to test the tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::state_db::{AppliedMark, Row, RowOp, StateDb};
use crate::{StoreError, row_key};

/// More batches than this become durable by themselves, the oldest first, as a real engine writes back: the memory
/// of a simulation that never flushes stays bounded.
const MAX_UNFLUSHED: usize = 1024;

/// The rows under their joined keys, and their mark.
#[derive(Debug, Clone, Default)]
struct Image {
    rows: BTreeMap<Vec<u8>, Bytes>,
    mark: Option<AppliedMark>,
}

#[derive(Debug, Clone)]
struct Batch {
    changes: Vec<(Vec<u8>, Option<Bytes>)>,
    mark: AppliedMark,
}

impl Image {
    fn apply(&mut self, batch: &Batch) {
        for (key, value) in &batch.changes {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(key),
            };
        }
        self.mark = Some(batch.mark.clone());
    }
}

/// `now` is `durable` with every unflushed batch applied.
#[derive(Debug, Clone, Default)]
struct Held {
    now: Image,
    durable: Image,
    unflushed: VecDeque<Batch>,
}

impl Held {
    fn durable(image: Image) -> Self {
        Self {
            durable: image.clone(),
            now: image,
            unflushed: VecDeque::new(),
        }
    }
}

/// The rows of one simulated member.
#[derive(Debug, Default)]
pub struct MemoryState {
    /// Held by a writer for all of its call; taken before `held`.
    writing: Mutex<()>,
    held: Mutex<Held>,
}

impl MemoryState {
    /// Makes an empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives what a new process finds if this one crashes now: of the batches that were not flushed, the oldest
    /// `kept` are there. This state goes on by itself; drop it to play the crash. May be called from within
    /// [`replace_all`](StateDb::replace_all), by its rows.
    #[must_use]
    pub fn crash(&self, kept: usize) -> Self {
        let held = lock(&self.held);
        let mut image = held.durable.clone();
        held.unflushed
            .iter()
            .take(kept)
            .for_each(|batch| image.apply(batch));
        Self {
            writing: Mutex::default(),
            held: Mutex::new(Held::durable(image)),
        }
    }

    /// Gives how many batches a crash may lose.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        lock(&self.held).unflushed.len()
    }
}

impl StateDb for MemoryState {
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        let mut held = lock(&self.held);
        applied.follows(held.now.mark.as_ref())?;
        let changes = ops.iter().map(|RowOp { tree, key, value }| {
            value.as_deref().map_or(Ok(()), row_key::limit_value)?;
            Ok((row_key::join(tree, key)?, value.clone()))
        });
        let batch = Batch {
            changes: changes.collect::<Result<_, StoreError>>()?,
            mark: applied.clone(),
        };
        held.now.apply(&batch);
        held.unflushed.push_back(batch);
        if held.unflushed.len() > MAX_UNFLUSHED
            && let Some(oldest) = held.unflushed.pop_front()
        {
            held.durable.apply(&oldest);
        }
        Ok(())
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = row_key::join(tree, key)?;
        Ok(lock(&self.held).now.rows.get(&key).cloned())
    }

    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let prefix = row_key::join(tree, prefix)?;
        // A copy: a visitor may call back.
        let rows: Vec<_> = {
            let held = lock(&self.held);
            let from = held.now.rows.range(prefix.clone()..);
            from.take_while(|(key, _)| key.starts_with(&prefix))
                .map(row)
                .collect()
        };
        for row in rows {
            if !visit(row)? {
                break;
            }
        }
        Ok(())
    }

    fn applied(&self) -> Result<Option<AppliedMark>, StoreError> {
        Ok(lock(&self.held).now.mark.clone())
    }

    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Image { rows, mark } = lock(&self.held).now.clone();
        begin(mark.as_ref())?;
        rows.iter().map(row).try_for_each(visit)
    }

    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        *lock(&self.held) = Held::default();
        let mut image = Image {
            rows: BTreeMap::new(),
            mark: Some(applied.clone()),
        };
        for row in rows {
            let Row { tree, key, value } = row?;
            row_key::limit_value(&value)?;
            image.rows.insert(row_key::join(&tree, &key)?, value);
        }
        *lock(&self.held) = Held::durable(image);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        let mut held = lock(&self.held);
        for batch in std::mem::take(&mut held.unflushed) {
            held.durable.apply(&batch);
        }
        Ok(())
    }
}

fn row((full, value): (&Vec<u8>, &Bytes)) -> Row {
    let (tree, key) = row_key::split(full).expect("it was joined when it was stored");
    Row {
        tree: tree.to_owned(),
        key: Bytes::copy_from_slice(key),
        value: value.clone(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
