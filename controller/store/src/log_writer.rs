//! The writer thread in front of a [`LogDb`]: what queued while a sync ran goes into the next one.
//!
//! Everything that writes passes one queue, so votes and records keep their order. A submitted batch is
//! readable when `submit` returns and durable when its callback fires. There is no timer: a lone write does
//! not wait for company.

mod view;

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::view::View;
use crate::StoreError;
use crate::log_db::{LogDb, LogId, LogRecord};
use crate::reached::Reached;

/// Says whether the work is durable. Runs on the writer thread: it must not block, nor call the writer.
pub type Callback = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Jobs that may wait. A full queue blocks the caller: the disk is then the bottleneck, and memory stays
/// bounded. Raft has few batches in flight.
const QUEUE: usize = 256;
/// Payload bytes that go into one sync at most.
const SYNC_BYTES: usize = 8 << 20;
/// How long the thread tries to write where there is no space, and how long it waits in between.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(20);

enum Work {
    Append(Vec<LogRecord>),
    Truncate(Option<u64>),
    Purge(LogId),
    Vote(Bytes),
    Committed(Bytes),
}

struct Job {
    ticket: u64,
    generation: u64,
    work: Work,
    done: Callback,
}

/// Owns the writer thread. Dropping it writes what is queued, then stops.
pub struct LogWriter {
    shared: Arc<Shared>,
    /// The lock also keeps the order of the view and of the queue the same.
    queue: Mutex<Option<Queue>>,
    thread: Option<JoinHandle<()>>,
}

struct Queue {
    jobs: SyncSender<Job>,
    next_ticket: u64,
}

struct Shared {
    db: Arc<dyn LogDb>,
    /// How long is tried where there is no space.
    patience: Duration,
    view: Mutex<View>,
    /// Up to where it is durable; set while the view is held.
    reached: Arc<Reached>,
    /// Why the last write that failed did: what was built on it is answered with that.
    failed: Mutex<Option<StoreError>>,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work that failed: whoever asked for it cannot go on, and nor can who waits for what it was to make durable. A hint is none.
    fn ended_by(&self, work: &Work, why: &StoreError) {
        if !matches!(work, Work::Committed(_)) {
            self.reached.ends(why.clone());
        }
    }
}

/// Writes what is queued when it is told to, in the place of the thread: for simulations, in which nothing happens by itself.
pub struct Pump {
    shared: Arc<Shared>,
    queued: Receiver<Job>,
    next: Option<Job>,
    over: Over,
}

/// Whoever holds it writes; dropped, nobody does any more, and nobody waits for it.
struct Over(Arc<Reached>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.ends(StoreError::Closed);
    }
}

impl Pump {
    /// Writes what goes into one sync. Says whether there was anything.
    pub fn step(&mut self) -> bool {
        let first = self.next.take().or_else(|| self.queued.try_recv().ok());
        let Some(first) = first else { return false };
        let (batch, next) = gathered(first, &self.queued);
        self.next = next;
        write_batch(&self.shared, batch);
        true
    }
}

impl LogWriter {
    /// Starts the thread.
    pub fn start(db: Arc<dyn LogDb>) -> Result<Self, StoreError> {
        let (mut writer, pump) = Self::pumped_with(db, PATIENCE)?;
        let Pump {
            shared, queued, over, ..
        } = pump;
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                let _over = over;
                write_all(&shared, &queued);
            })
            .map_err(|error| StoreError::io("log-writer".as_ref(), "start the thread", error))?;
        writer.thread = Some(thread);
        Ok(writer)
    }

    /// One without a thread: nothing is written but by the pump. A pump that is dropped writes nothing more, and fires no callback.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn pumped(db: Arc<dyn LogDb>) -> Result<(Self, Pump), StoreError> {
        Self::pumped_with(db, Duration::ZERO)
    }

    fn pumped_with(db: Arc<dyn LogDb>, patience: Duration) -> Result<(Self, Pump), StoreError> {
        let view = View::of(&*db)?;
        let reached = Arc::new(Reached::at(view.stored()));
        let shared = Arc::new(Shared {
            db,
            patience,
            view: Mutex::new(view),
            reached,
            failed: Mutex::default(),
        });
        let (jobs, queued) = sync_channel(QUEUE);
        let writer = Self {
            shared: Arc::clone(&shared),
            queue: Mutex::new(Some(Queue { jobs, next_ticket: 0 })),
            thread: None,
        };
        let pump = Pump {
            over: Over(Arc::clone(&shared.reached)),
            shared,
            queued,
            next: None,
        };
        Ok((writer, pump))
    }

    /// Submits records. An error is returned at once, without the callback, when they do not follow the log.
    /// Blocks while the queue is full.
    pub fn submit(&self, batch: Vec<LogRecord>, done: Callback) -> Result<(), StoreError> {
        self.enqueue(done, |view, ticket, _| {
            view.append(ticket, &batch)?;
            Ok(Work::Append(batch))
        })
    }

    /// Removes the records after `keep`, or all; they are unreadable on return.
    pub fn truncate_after(&self, keep: Option<u64>, done: Callback) -> Result<(), StoreError> {
        self.enqueue(done, |view, _, db| {
            view.truncate(keep, |index| {
                Ok(db
                    .read_range(index..index + 1, 0)?
                    .pop()
                    .map(|record| record.id()))
            })?;
            Ok(Work::Truncate(keep))
        })
    }

    /// Removes the records up to `upto`; they are unreadable on return. See [`LogDb::purge_to`].
    pub fn purge_to(&self, upto: LogId, done: Callback) -> Result<(), StoreError> {
        self.enqueue(done, |view, _, _| {
            view.purge(upto);
            Ok(Work::Purge(upto))
        })
    }

    /// Stores the vote. Answer no peer before the callback.
    pub fn save_vote(&self, vote: Bytes, done: Callback) -> Result<(), StoreError> {
        self.enqueue(done, |_, _, _| Ok(Work::Vote(vote)))
    }

    /// Stores the hint of what is committed; not durable by itself.
    pub fn save_committed(&self, committed: Bytes, done: Callback) -> Result<(), StoreError> {
        self.enqueue(done, |_, _, _| Ok(Work::Committed(committed)))
    }

    /// Reads records, those on their way to the disk included. See [`LogDb::read_range`].
    pub fn read_range(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError> {
        loop {
            let (stored, pending, rewrites) = {
                let view = self.shared.view();
                let (stored, pending) = view.split(&range);
                (stored, pending, view.rewrites)
            };
            let wanted = stored.end.saturating_sub(stored.start);
            let mut found = if wanted == 0 {
                Vec::new()
            } else {
                self.shared.db.read_range(stored, max_bytes)?
            };
            if self.shared.view().rewrites != rewrites {
                continue;
            }
            if found.len() as u64 == wanted {
                let mut bytes = found.iter().map(|record| record.payload.len()).sum::<usize>();
                for record in pending {
                    bytes = bytes.saturating_add(record.payload.len());
                    if bytes > max_bytes && !found.is_empty() {
                        break;
                    }
                    found.push(record);
                }
            }
            return Ok(found);
        }
    }

    /// Reads the stored vote: one whose callback has not fired is not seen.
    pub fn vote(&self) -> Result<Option<Bytes>, StoreError> {
        self.shared.db.vote()
    }

    /// Reads the stored hint of what is committed.
    pub fn committed(&self) -> Result<Option<Bytes>, StoreError> {
        self.shared.db.committed()
    }

    /// Gives up to where the log is durable, as it goes on.
    #[must_use]
    pub fn reached(&self) -> Arc<Reached> {
        Arc::clone(&self.shared.reached)
    }

    /// Gives the last record, on its way or stored.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.shared.view().bounds.last
    }

    /// Gives up to where the log is purged.
    #[must_use]
    pub fn last_purged(&self) -> Option<LogId> {
        self.shared.view().bounds.purged
    }

    fn enqueue(
        &self,
        done: Callback,
        prepare: impl FnOnce(&mut View, u64, &dyn LogDb) -> Result<Work, StoreError>,
    ) -> Result<(), StoreError> {
        let mut slot = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = slot.as_mut().ok_or(StoreError::Closed)?;
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let (work, generation) = {
            let mut view = self.shared.view();
            let work = prepare(&mut view, ticket, &*self.shared.db)?;
            // Less where it cuts records off, which others at the same indices may follow.
            self.shared.reached.moves(view.stored());
            (work, view.generation)
        };
        queue
            .jobs
            .send(Job {
                ticket,
                generation,
                work,
                done,
            })
            .map_err(|_| StoreError::Closed)
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log writer thread panicked");
        }
    }
}

/// Runs on the thread until the queue closes.
fn write_all(shared: &Shared, queued: &Receiver<Job>) {
    let mut next = queued.recv().ok();
    while let Some(job) = next.take() {
        let (batch, left) = gathered(job, queued);
        write_batch(shared, batch);
        next = left.or_else(|| queued.recv().ok());
    }
}

/// What goes into one sync with a job: appends that queued meanwhile share it, anything else waits its turn.
fn gathered(first: Job, queued: &Receiver<Job>) -> (Vec<Job>, Option<Job>) {
    let mut bytes = append_bytes(&first).unwrap_or(usize::MAX);
    let mut batch = vec![first];
    while bytes < SYNC_BYTES {
        let Ok(job) = queued.try_recv() else { break };
        match append_bytes(&job) {
            Some(more) => {
                bytes = bytes.saturating_add(more);
                batch.push(job);
            }
            None => return (batch, Some(job)),
        }
    }
    (batch, None)
}

fn append_bytes(job: &Job) -> Option<usize> {
    match &job.work {
        Work::Append(entries) => Some(entries.iter().map(|entry| entry.payload.len()).sum()),
        _ => None,
    }
}

/// Writes, and again where there is no space: what is kept back is given up at once ([`Space`](crate::Space)), and whoever asked for this
/// cannot go on without it.
fn with_space(patience: Duration, write: impl Fn() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        match write() {
            Err(StoreError::Full { .. }) if began.elapsed() < patience => std::thread::sleep(AGAIN),
            result => return result,
        }
    }
}

fn write_batch(shared: &Shared, batch: Vec<Job>) {
    let generation = shared.view().generation;
    // Jobs that were built on records a failure has taken back.
    let (live, stale): (Vec<Job>, Vec<Job>) = batch.into_iter().partition(|job| job.generation == generation);
    for job in stale {
        let failed = shared
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let what = match failed {
            Some(cause) => {
                format!("an earlier write of the log failed, and this one was built on it: {cause}")
            }
            None => "an earlier write of the log failed, and this one was built on it".to_owned(),
        };
        let error = StoreError::Refused { what };
        shared.ended_by(&job.work, &error);
        (job.done)(Err(error));
    }
    let Some(first) = live.first() else { return };
    let db = &*shared.db;
    let entries: Vec<LogRecord> = live
        .iter()
        .filter_map(|job| match &job.work {
            Work::Append(entries) => Some(entries.iter().cloned()),
            _ => None,
        })
        .flatten()
        .collect();
    let result = with_space(shared.patience, || match &first.work {
        Work::Append(_) => db.append(&entries),
        Work::Truncate(keep) => db.truncate_after(*keep),
        Work::Purge(upto) => db.purge_to(*upto),
        Work::Vote(vote) => db.save_vote(vote),
        Work::Committed(committed) => db.save_committed(committed),
    });
    {
        let mut view = shared.view();
        match &result {
            Ok(()) => live.iter().for_each(|job| {
                if let Work::Append(entries) = &job.work
                    && let (Some(first), Some(last)) = (entries.first(), entries.last())
                {
                    view.settle(job.ticket, first.index..last.index + 1);
                }
            }),
            Err(error) => {
                if !view.reset(db) {
                    // What the view has of the end may never have been written.
                    shared.reached.ends(error.clone());
                }
                *shared.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                shared.ended_by(&first.work, error);
            }
        }
        shared.reached.moves(view.stored());
    }
    for job in live {
        (job.done)(result.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use super::*;

    fn failure(kind: io::ErrorKind) -> StoreError {
        StoreError::io("log".as_ref(), "write", kind.into())
    }

    /// Writes where the first so many attempts find no space; says how often it was tried.
    fn tried(patience: Duration, full: usize, kind: io::ErrorKind) -> (Result<(), StoreError>, usize) {
        let count = Cell::new(0);
        let result = with_space(patience, || {
            count.set(count.get() + 1);
            match count.get() > full {
                true => Ok(()),
                false => Err(failure(kind)),
            }
        });
        (result, count.get())
    }

    #[test]
    fn what_finds_no_space_is_tried_again_for_a_while_and_nothing_else_is() {
        let long = Duration::from_secs(60);
        let (written, count) = tried(long, 3, io::ErrorKind::StorageFull);
        assert!(written.is_ok() && count == 4, "{written:?} after {count}");
        let (written, count) = tried(long, 3, io::ErrorKind::PermissionDenied);
        assert!(
            matches!(written, Err(StoreError::Io { .. })) && count == 1,
            "{written:?}"
        );
        // No space comes in time, or none is waited for.
        let (written, count) = tried(3 * AGAIN, usize::MAX, io::ErrorKind::StorageFull);
        assert!(
            matches!(written, Err(StoreError::Full { .. })) && count > 1,
            "{written:?}"
        );
        let (written, count) = tried(Duration::ZERO, usize::MAX, io::ErrorKind::StorageFull);
        assert!(
            matches!(written, Err(StoreError::Full { .. })) && count == 1,
            "{written:?}"
        );
    }
}
