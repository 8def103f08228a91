//! Rows that are applied in memory, and written to the state below afterwards: nobody who applies waits for a disk.
//!
//! The log has what rows are made of, so that a crash may lose them; the rows below stand at an earlier mark then. What is applied goes into
//! a layer in memory, where the last change of a row is the one that counts. A full layer is one batch of the state below, which a thread
//! writes, once the log has all that it is made of ([`Reached`]). There is no timer: what does not fill a layer is written when somebody
//! flushes or visits.

mod held;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use self::held::{Held, changes, row};
use crate::reached::Reached;
use crate::state_db::{AppliedMark, Row, RowOp, StateDb};
use crate::{StoreError, row_key};

/// A [`StateDb`] in front of another, which nobody else writes to. Dropping it loses what a crash would.
///
/// It holds 8 MiB of rows that are not below yet, about, and one batch more; then whoever applies waits. What the state below answers to a
/// write that fails stays: all later calls answer the same.
pub struct WriteBehind {
    shared: Arc<Shared>,
    /// One visit at a time, and none while everything is replaced.
    visitors: Mutex<()>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    below: Arc<dyn StateDb>,
    /// Up to where the log is durable that the rows are made of.
    log: Arc<Reached>,
    present: Mutex<Present>,
    /// A layer is full, or there will be no more.
    filled: Condvar,
    /// A layer is below, or none will be any more.
    settled: Condvar,
}

struct Present {
    held: Held,
    /// What went wrong below.
    failed: Option<StoreError>,
    is_over: bool,
}

impl Shared {
    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<MutexGuard<'_, Present>, StoreError> {
        usable(self.present())
    }

    /// Waits until one more layer is below.
    fn wait<'a>(&self, present: MutexGuard<'a, Present>) -> Result<MutexGuard<'a, Present>, StoreError> {
        usable(self.settled.wait(present).unwrap_or_else(PoisonError::into_inner))
    }

    /// Has everything that is applied written below, and waits for it. What is applied meanwhile may be, too.
    fn settle(&self) -> Result<MutexGuard<'_, Present>, StoreError> {
        let mut present = self.usable()?;
        present.held.fill();
        self.filled.notify_all();
        let last = present.held.last();
        while !present.held.is_below(last) {
            present = self.wait(present)?;
        }
        Ok(present)
    }

    /// Hands on what the state below answered; a failure stays.
    fn latched<T>(&self, present: &mut Present, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &answer {
            present.failed.get_or_insert_with(|| error.clone());
            self.settled.notify_all();
        }
        answer
    }
}

fn usable(present: MutexGuard<'_, Present>) -> Result<MutexGuard<'_, Present>, StoreError> {
    match &present.failed {
        Some(error) => Err(error.clone()),
        None => Ok(present),
    }
}

impl WriteBehind {
    /// Starts the thread. What is below counts as applied. What is applied later goes below when this log, which is nobody else's to wait
    /// for, has it.
    ///
    /// # Errors
    /// When the state below cannot say where it stands, or the system starts no thread.
    pub fn start(below: Arc<dyn StateDb>, log: Arc<Reached>) -> Result<Self, StoreError> {
        let present = Mutex::new(Present {
            held: Held::over(below.applied()?),
            failed: None,
            is_over: false,
        });
        let shared = Arc::new(Shared {
            below,
            log,
            present,
            filled: Condvar::new(),
            settled: Condvar::new(),
        });
        let of = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("rows-writer".to_owned())
            .spawn(move || write_below(&of))
            .map_err(|error| StoreError::io("rows-writer".as_ref(), "start the thread", error))?;
        Ok(Self {
            shared,
            visitors: Mutex::default(),
            thread: Some(thread),
        })
    }

    /// Bytes that are held in memory until they are below, about.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.shared.present().held.bytes()
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.shared.present().is_over = true;
        self.shared.filled.notify_all();
        self.shared.log.ends(StoreError::Closed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes rows panicked");
        }
    }
}

/// Tells those who wait that nothing more is written, however the thread ended.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut present = self.0.present();
        present.failed.get_or_insert(StoreError::Closed);
        self.0.settled.notify_all();
    }
}

/// Runs on the thread, until it is over or something goes wrong.
fn write_below(shared: &Shared) {
    let _ended = Ended(shared);
    let mut present = shared.present();
    while !present.is_over && present.failed.is_none() {
        let Some(layer) = present.held.next() else {
            present = shared
                .filled
                .wait(present)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(present);
        let written = match layer.batch() {
            Some((ops, mark)) => {
                let log = shared.log.wait_for(mark.last.index);
                log.and_then(|()| shared.below.apply_batch(&ops, mark))
            }
            None => Ok(()),
        };
        present = shared.present();
        if present.is_over {
            break;
        }
        match shared.latched(&mut present, written) {
            Ok(()) => present.held.let_go(),
            Err(error) => tracing::error!(%error, "applied rows cannot be written"),
        }
        shared.settled.notify_all();
    }
}

impl StateDb for WriteBehind {
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError> {
        let changes = changes(ops)?;
        let mut present = self.shared.usable()?;
        while !present.held.has_room() {
            present = self.shared.wait(present)?;
        }
        applied.follows(present.held.mark.as_ref())?;
        let before = present.held.last();
        present.held.take(changes, applied);
        if present.held.last() != before {
            self.shared.filled.notify_all();
        }
        Ok(())
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let full = row_key::join(tree, key)?;
        let found = self.shared.usable()?.held.find(&full);
        // What is in no layer any more is below by now.
        found.map_or_else(|| self.shared.below.get(tree, key), Ok)
    }

    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let prefix_here = row_key::join(tree, prefix)?;
        let held = self.shared.usable()?.held.within(&prefix_here);
        let mut held = held.into_iter().peekable();
        let mut goes_on = true;
        self.shared.below.scan_prefix(tree, prefix, &mut |below| {
            let full = row_key::join(&below.tree, &below.key)?;
            while let Some((key, value)) = held.next_if(|(key, _)| *key < full) {
                goes_on = value.map_or(Ok(true), |value| visit(row(&key, value)))?;
                if !goes_on {
                    return Ok(false);
                }
            }
            goes_on = match held.next_if(|(key, _)| *key == full) {
                None => visit(below),
                Some((_, None)) => Ok(true),
                Some((key, Some(value))) => visit(row(&key, value)),
            }?;
            Ok(goes_on)
        })?;
        while goes_on && let Some((key, value)) = held.next() {
            goes_on = value.map_or(Ok(true), |value| visit(row(&key, value)))?;
        }
        Ok(())
    }

    fn applied(&self) -> Result<Option<AppliedMark>, StoreError> {
        Ok(self.shared.usable()?.held.mark.clone())
    }

    /// Of what is below, once all that is applied by now is.
    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _one = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.shared.settle()?);
        self.shared.below.visit_at(begin, visit)
    }

    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        let _none = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = self.shared.settle()?;
        // A layer that is being written is held until it is: with none, and what is locked, the thread writes nothing.
        while present.held.next().is_some() {
            present = self.shared.wait(present)?;
        }
        let replaced = self.shared.below.replace_all(rows, applied);
        match (self.shared.below.applied(), replaced) {
            (Ok(mark), replaced) => {
                present.held = Held::over(mark);
                replaced
            }
            (Err(_), Err(error)) | (Err(error), Ok(())) => self.shared.latched(&mut present, Err(error)),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        drop(self.shared.settle()?);
        let flushed = self.shared.below.flush();
        self.shared.latched(&mut self.shared.present(), flushed)
    }
}
