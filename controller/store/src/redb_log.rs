//! The log on redb: one transaction, one sync and one watermark per call, which is synced only now and then.
//!
//! Layout of the directory: `log.redb` (tables `records` by index, `meta` with `head`, `vote`, `committed`)
//! and `log.mark` ([`watermark`](crate::watermark)). Crash order of a commit: redb's pages, then the
//! watermark, then the answer. What is there when it is opened is made durable, and read from the disk, before any of it is believed
//! ([`settle`](verger_durable::settle)): redb syncs what it goes on with, and reads before that.

mod engine;
#[cfg(test)]
mod fault_tests;
mod head;
mod reader;

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use redb::{Database, Durability, WriteTransaction};

use self::engine::{META, RECORDS, damaged, fault};
use self::head::Head;
use self::reader::Reader;
use crate::chunk_stream::{ChunkSink, StreamKind};
use crate::containment::contained_open;
use crate::frame::{encode_record, encode_tagged, tagged_crc};
use crate::log_db::{Change, ExportSummary, LogCheck, LogDb, LogId, LogRecord};
use crate::patience::patiently;
use crate::redb_backend::Weather;
use crate::watermark::{Engine, Watermark};
use crate::{Remedy, StoreError};

const LOG_FILE: &str = "log.redb";
const MARK_FILE: &str = "log.mark";

/// The log of one member on redb. Open at most once per directory.
pub struct RedbLog {
    path: PathBuf,
    weather: Arc<Weather>,
    /// Absent after a full disk, until a reopening succeeds.
    database: RwLock<Option<Database>>,
    commit: Mutex<Committer>,
    /// The head of the last commit, for the calls that need no disk.
    head: Mutex<Head>,
    latched: OnceLock<String>,
}

struct Committer {
    mark: Watermark,
    barrier: bool,
}

impl RedbLog {
    /// Makes an empty log in `dir`. Refused where a log exists: a member never starts empty over an old one.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        verger_durable::create_dir(dir)?;
        let path = dir.join(LOG_FILE);
        if path.exists() {
            return Err(StoreError::Refused {
                what: format!("{path:?} exists: open it, or choose another directory"),
            });
        }
        let draft = dir.join("log.redb.new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io(&draft, "remove", error));
            }
            _ => {}
        }
        let head = Head {
            sequence: 1,
            ..Head::default()
        };
        let database = engine::open(&draft, true, &Arc::default())?;
        let write = || -> Result<(), redb::Error> {
            let txn = database.begin_write()?;
            txn.open_table(RECORDS)?;
            txn.open_table(META)?
                .insert("head", encode_tagged(b"head", &head.encode()).as_slice())?;
            Ok(txn.commit()?)
        };
        write().map_err(|error| fault(&draft, error))?;
        database.close().map_err(|error| fault(&draft, error.into()))?;
        Watermark::create(&dir.join(MARK_FILE), Engine::Redb, head.sequence)?;
        verger_durable::rename(&draft, &path)?;
        Self::open(dir)
    }

    /// Opens the log in `dir` and reads all of it. A missing, empty, shortened or changed file is
    /// [`StoreError::Damaged`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_in(dir, Arc::default())
    }

    /// Opens the log with its barrier taken out: nothing it acknowledges is durable. For the power-cut rig,
    /// which must catch exactly that.
    #[cfg(feature = "rig")]
    pub fn open_without_barrier(dir: &Path) -> Result<Self, StoreError> {
        let log = Self::open(dir)?;
        log.weather.leave_syncs_out();
        log.committer().barrier = false;
        Ok(log)
    }

    /// Tells whether `dir` holds a log.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join(LOG_FILE).exists()
    }

    fn open_in(dir: &Path, weather: Arc<Weather>) -> Result<Self, StoreError> {
        let path = dir.join(LOG_FILE);
        verger_durable::sync_dir(dir)?;
        let mut mark = Watermark::open(&dir.join(MARK_FILE), Engine::Redb)?;
        let (database, head) = contained_open(&path, Remedy::RejoinUnderNewId, || {
            let database = patiently(|| engine::open(&path, false, &weather))?;
            let reader = Reader::begin(&path, &database)?;
            let head = reader.head()?;
            reader.check(&head)?;
            drop(reader);
            Ok((database, head))
        })?;
        let (log, acknowledged) = (head.sequence, mark.sequence());
        if log < acknowledged {
            return Err(damaged(
                &path,
                &format!("it ends at commit {log}, but commit {acknowledged} was acknowledged"),
            ));
        }
        if log > acknowledged {
            mark.advance(log, true)?;
        }
        Ok(Self {
            path,
            weather,
            database: RwLock::new(Some(database)),
            commit: Mutex::new(Committer { mark, barrier: true }),
            head: Mutex::new(head),
            latched: OnceLock::new(),
        })
    }

    fn committer(&self) -> MutexGuard<'_, Committer> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present_head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_if_latched(&self) -> Result<(), StoreError> {
        match self.latched.get() {
            Some(cause) => Err(StoreError::Latched {
                file: self.path.clone(),
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Runs `use_it` on the open database; opens it again first if a full disk closed it.
    fn with_database<T>(
        &self,
        use_it: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let present = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = present.as_ref() {
            return use_it(database);
        }
        drop(present);
        self.reopen()?;
        match self
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            Some(database) => use_it(database),
            None => Err(StoreError::Closed),
        }
    }

    /// Replaces the database handle: redb takes no more calls after a failed write.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The lock on the file goes with the old handle.
        drop(slot.take());
        let database = contained_open(&self.path, Remedy::RejoinUnderNewId, || {
            let database = engine::open(&self.path, false, &self.weather)?;
            let found = Reader::begin(&self.path, &database)?.head()?;
            if found != self.present_head() {
                return Err(damaged(
                    &self.path,
                    "it changed while it was closed after a full disk",
                ));
            }
            Ok(database)
        })?;
        *slot = Some(database);
        Ok(())
    }

    /// Commits one change and its new head. `None` from `plan` means nothing to do.
    fn change(
        &self,
        kind: Change,
        plan: impl FnOnce(&Head) -> Result<Option<Head>, StoreError>,
        write: impl FnOnce(&WriteTransaction, &Head) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let mut committer = self.committer();
        self.refuse_if_latched()?;
        let before = self.present_head();
        let Some(planned) = plan(&before)? else {
            return Ok(());
        };
        let after = Head {
            sequence: before.sequence + 1,
            ..planned
        };
        let result = self.with_database(|database| {
            let commit = || -> Result<(), redb::Error> {
                let mut txn = database.begin_write()?;
                txn.set_durability(Durability::Immediate)?;
                write(&txn, &after)?;
                txn.open_table(META)?
                    .insert("head", encode_tagged(b"head", &after.encode()).as_slice())?;
                Ok(txn.commit()?)
            };
            commit().map_err(|error| fault(&self.path, error))
        });
        if let Err(error) = result {
            return Err(self.settle_failure(error));
        }
        // The log is on stable storage; the watermark follows by itself, and at once where much would hang on it.
        let marked = if committer.barrier {
            committer.mark.follow(after.sequence, kind == Change::Rewrite)
        } else {
            committer.mark.advance(after.sequence, false)
        };
        if let Err(error) = marked {
            return Err(self.latch(error));
        }
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(())
    }

    /// A full disk closes the handle until space returns; every other failed write is final.
    fn settle_failure(&self, error: StoreError) -> StoreError {
        if self.weather.sync_failed() || !matches!(error, StoreError::Full { .. }) {
            return self.latch(error);
        }
        if let Err(reopening) = self.reopen() {
            tracing::warn!(error = %reopening, "the log stays closed until there is space");
            if reopening.is_damage() {
                return self.latch(reopening);
            }
        }
        error
    }

    fn latch(&self, error: StoreError) -> StoreError {
        if self.latched.set(error.to_string()).is_ok() {
            tracing::error!(error = %error, "the log takes no more writes");
        }
        error
    }

    fn reader<T>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.refuse_if_latched()?;
        self.with_database(|database| read(&Reader::begin(&self.path, database)?))
    }
}

impl LogDb for RedbLog {
    fn append(&self, entries: &[LogRecord]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return self.refuse_if_latched();
        }
        self.change(
            Change::Append,
            |head| {
                Ok(Some(Head {
                    bounds: head.bounds.after_append(entries)?,
                    ..*head
                }))
            },
            |txn, _| {
                let mut records = txn.open_table(RECORDS)?;
                for entry in entries {
                    records.insert(entry.index, encode_record(entry).as_slice())?;
                }
                Ok(())
            },
        )
    }

    fn read_range(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError> {
        self.reader(|reader| reader.records(reader.head()?.bounds.clip(&range), max_bytes))
    }

    fn truncate_after(&self, keep: Option<u64>) -> Result<(), StoreError> {
        self.change(
            Change::Rewrite,
            |head| {
                let read = |index| Ok(self.read_range(index..index + 1, 0)?.pop());
                let bounds = head.bounds.truncated(keep, read)?;
                Ok(bounds.map(|bounds| Head { bounds, ..*head }))
            },
            |txn, after| {
                let end = after.bounds.last.map_or(0, |last| last.index + 1);
                txn.open_table(RECORDS)?.retain_in(end.., |_, _| false)?;
                Ok(())
            },
        )
    }

    fn purge_to(&self, upto: LogId) -> Result<(), StoreError> {
        self.change(
            Change::Rewrite,
            |head| {
                Ok(head
                    .bounds
                    .after_purge(upto)
                    .map(|bounds| Head { bounds, ..*head }))
            },
            |txn, _| {
                txn.open_table(RECORDS)?.retain_in(..=upto.index, |_, _| false)?;
                Ok(())
            },
        )
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StoreError> {
        self.change(
            Change::Rewrite,
            |head| {
                Ok(Some(Head {
                    vote_crc: Some(tagged_crc(b"vote", vote)),
                    ..*head
                }))
            },
            |txn, _| {
                txn.open_table(META)?
                    .insert("vote", encode_tagged(b"vote", vote).as_slice())?;
                Ok(())
            },
        )
    }

    fn vote(&self) -> Result<Option<Bytes>, StoreError> {
        self.reader(|reader| reader.vote(&reader.head()?))
    }

    fn save_committed(&self, committed: &[u8]) -> Result<(), StoreError> {
        let _ordered = self.committer();
        self.refuse_if_latched()?;
        let result = self.with_database(|database| {
            let commit = || -> Result<(), redb::Error> {
                let mut txn = database.begin_write()?;
                txn.set_durability(Durability::None)?;
                txn.open_table(META)?
                    .insert("committed", encode_tagged(b"committed", committed).as_slice())?;
                Ok(txn.commit()?)
            };
            commit().map_err(|error| fault(&self.path, error))
        });
        result.map_err(|error| self.settle_failure(error))
    }

    fn committed(&self) -> Result<Option<Bytes>, StoreError> {
        self.reader(|reader| Ok(reader.meta("committed")?.map(|(_, payload)| payload)))
    }

    fn last(&self) -> Result<Option<LogId>, StoreError> {
        self.refuse_if_latched()?;
        Ok(self.present_head().bounds.last)
    }

    fn last_purged(&self) -> Result<Option<LogId>, StoreError> {
        self.refuse_if_latched()?;
        Ok(self.present_head().bounds.purged)
    }

    fn check(&self) -> Result<LogCheck, StoreError> {
        self.reader(|reader| reader.check(&reader.head()?))
    }

    fn export(&self, out: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        self.reader(|reader| {
            let bounds = reader.head()?.bounds;
            let mut sink = ChunkSink::begin(out, &self.path, StreamKind::Log, &[])?;
            reader.sweep(&bounds, |record| sink.chunk(&encode_record(record)))?;
            let (records, sha256) = sink.finish()?;
            Ok(ExportSummary { records, sha256 })
        })
    }
}
