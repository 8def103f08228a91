//! The port's calls: what each writes, and what it reads.

use std::io::Write;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use raft_log::api::raft_log_writer::RaftLogWriter as _;

use super::codec::{self, MAX_NOTE_BYTES, Notes, stamped};
use super::engine::{damaged, fault};
use super::walk::Head;
use super::{ChunkedLog, SWEEP_BYTES, survey};
use crate::chunk_stream::{ChunkSink, StreamKind};
use crate::containment::contained;
use crate::frame::encode_record;
use crate::log_db::{Change, ExportSummary, LogCheck, LogDb, LogId, LogRecord};
use crate::{Remedy, StoreError};

/// Notes with the number of the commit that writes them.
fn numbered(after: &Head) -> Option<Notes> {
    Some(Notes {
        commit: after.commit,
        hint: false,
        ..after.notes.clone()
    })
}

fn small(what: &'static str, note: &[u8]) -> Result<(), StoreError> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(StoreError::TooLarge {
            what,
            size: note.len(),
            limit: MAX_NOTE_BYTES,
        });
    }
    Ok(())
}

impl LogDb for ChunkedLog {
    fn append(&self, entries: &[LogRecord]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return self.refuse_if_latched();
        }
        self.change(
            Change::Append,
            |head| {
                Ok(Some(Head {
                    bounds: head.bounds.after_append(entries)?,
                    ..head.clone()
                }))
            },
            |raft, after| raft.append(stamped(after.commit, entries)).map(drop),
        )
    }

    fn read_range(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError> {
        self.reader(|raft, head| self.records(raft, head.bounds.clip(&range), max_bytes))
    }

    fn truncate_after(&self, keep: Option<u64>) -> Result<(), StoreError> {
        self.change(
            Change::Rewrite,
            |head| {
                let read = |index| Ok(self.read_range(index..index + 1, 0)?.pop());
                let bounds = head.bounds.truncated(keep, read)?;
                Ok(bounds.map(|bounds| Head {
                    bounds,
                    ..head.clone()
                }))
            },
            |raft, after| {
                let kept = after.bounds.last.or(after.bounds.purged);
                raft.truncate(kept.map_or(0, |id| id.index + 1))?;
                raft.save_user_data(numbered(after)).map(drop)
            },
        )
    }

    fn purge_to(&self, upto: LogId) -> Result<(), StoreError> {
        self.change(
            Change::Rewrite,
            |head| {
                Ok(head.bounds.after_purge(upto).map(|bounds| Head {
                    bounds,
                    ..head.clone()
                }))
            },
            |raft, after| {
                raft.purge(codec::Id(upto))?;
                raft.save_user_data(numbered(after)).map(drop)
            },
        )
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StoreError> {
        small("a vote", vote)?;
        self.change(
            Change::Rewrite,
            |head| {
                let mut after = head.clone();
                after.notes.vote = Some(Bytes::copy_from_slice(vote));
                Ok(Some(after))
            },
            |raft, after| raft.save_user_data(numbered(after)).map(drop),
        )
    }

    fn vote(&self) -> Result<Option<Bytes>, StoreError> {
        self.refuse_if_latched()?;
        Ok(self.present_head().notes.vote)
    }

    /// Written with the next commit, or when the log is closed in order.
    fn save_committed(&self, committed: &[u8]) -> Result<(), StoreError> {
        small("the hint of what is committed", committed)?;
        let _ordered = self.committer();
        self.refuse_if_latched()?;
        self.reopen_if_closed()?;
        let mut slot = self.writing();
        let raft = slot.as_mut().ok_or(StoreError::Closed)?;
        let mut head = self.present_head();
        head.notes.committed = Some(Bytes::copy_from_slice(committed));
        let hint = Notes {
            commit: head.commit,
            hint: true,
            ..head.notes.clone()
        };
        let written = contained(&self.chunks, Remedy::RejoinUnderNewId, || {
            raft.save_user_data(Some(hint))
                .map_err(|error| fault(&self.chunks, error))
        });
        drop(slot);
        if let Err(error) = written {
            return Err(self.settle_failure(error));
        }
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(())
    }

    fn committed(&self) -> Result<Option<Bytes>, StoreError> {
        self.refuse_if_latched()?;
        Ok(self.present_head().notes.committed)
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
        // Nobody writes meanwhile, and no chunk goes: what is read is whole.
        let _ordered = self.committer();
        self.reader(|raft, head| {
            raft.wait_worker_idle()
                .map_err(|error| fault(&self.chunks, error))?;
            survey::verify(&self.chunks, head.commit)?;
            let mut check = LogCheck {
                records: 0,
                payload_bytes: 0,
                first: None,
                last: None,
                last_purged: head.bounds.purged,
            };
            self.sweep(raft, head, |record| {
                check.records += 1;
                check.payload_bytes += record.payload.len() as u64;
                check.first.get_or_insert(record.id());
                check.last = Some(record.id());
                Ok(())
            })?;
            if check.last != head.bounds.last {
                return Err(damaged(
                    &self.chunks,
                    "the last record is another than was appended",
                ));
            }
            Ok(check)
        })
    }

    fn export(&self, out: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        let mut sink = ChunkSink::begin(out, &self.chunks, StreamKind::Log, &[])?;
        // Whoever reads slowly keeps nobody from writing.
        let rewrites = || self.rewrites.load(Ordering::Acquire);
        let begun = rewrites();
        let mut rest = self.present_head().bounds.indices();
        while !rest.is_empty() {
            let records = self.read_range(rest.clone(), SWEEP_BYTES)?;
            if records.is_empty() || rewrites() != begun {
                return Err(StoreError::Refused {
                    what: "the log was cut or purged while it was exported: begin again".to_owned(),
                });
            }
            rest.start += records.len() as u64;
            for record in &records {
                sink.chunk(&encode_record(record))?;
            }
        }
        let (records, sha256) = sink.finish()?;
        Ok(ExportSummary { records, sha256 })
    }
}
