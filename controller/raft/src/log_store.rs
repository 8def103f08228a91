//! openraft's log port over ours.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;
use verger_controller_store::{LogId as StoredId, LogRecord, LogWriter, StoreError};

use crate::codec;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Bytes one read returns at most, unless a single record is larger.
const READ_BYTES: usize = 4 << 20;
/// Bytes of entries that are sent to a peer at once, unless a single one is larger: it has to take them within a moment.
const SENT_BYTES: usize = 1 << 20;

/// The log of this member. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogStore(pub(crate) Arc<LogWriter>);

fn io_error(error: StoreError) -> io::Error {
    io::Error::other(error)
}

fn log_id(id: StoredId) -> LogId {
    codec::log_id(id.term, id.index)
}

/// Hands the writer a job and waits until it is durable.
async fn durable(
    submit: impl FnOnce(verger_controller_store::Callback) -> Result<(), StoreError>,
) -> io::Result<()> {
    let (done, answer) = oneshot::channel();
    // A caller that went away needs no answer.
    submit(Box::new(move |result| drop(done.send(result)))).map_err(io_error)?;
    answer
        .await
        .map_err(|_| io_error(StoreError::Closed))?
        .map_err(io_error)
}

impl LogStore {
    /// Removes all that is not purged.
    pub(crate) async fn drop_tail(&self) -> io::Result<()> {
        let keep = self.0.last_purged().map(|id| id.index);
        durable(|done| self.0.truncate_after(keep, done)).await
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + openraft::OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        // openraft wants the whole range; memory stays bounded by its own bounds on entries in flight.
        let mut entries = Vec::new();
        let mut next = start;
        while next < end {
            let records = self.0.read_range(next..end, READ_BYTES).map_err(io_error)?;
            let Some(last) = records.last() else { break };
            next = last.index + 1;
            for record in &records {
                entries.push(codec::decode_entry(record.term, record.index, &record.payload)?);
            }
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let records = self.0.read_range(start..end, SENT_BYTES).map_err(io_error)?;
        let entry = |record: &LogRecord| codec::decode_entry(record.term, record.index, &record.payload);
        records.iter().map(entry).collect()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.0
            .vote()
            .map_err(io_error)?
            .map(|bytes| codec::decode_vote(&bytes))
            .transpose()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.0.last_purged().map(log_id);
        Ok(LogState {
            last_purged_log_id,
            last_log_id: self.0.last().map(log_id).or(last_purged_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = codec::encode_vote(vote).into();
        durable(|done| self.0.save_vote(bytes, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        let bytes = codec::encode_committed(&committed).into();
        // A hint: it rides with the next sync, and nobody waits for it.
        self.0
            .save_committed(
                bytes,
                Box::new(|result| {
                    if let Err(error) = result {
                        tracing::warn!(%error, "the hint of what is committed was not stored");
                    }
                }),
            )
            .map_err(io_error)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.0
            .committed()
            .map_err(io_error)?
            .map(|bytes| codec::decode_committed(&bytes))
            .transpose()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + openraft::OptionalSend,
        I::IntoIter: openraft::OptionalSend,
    {
        let records = entries
            .into_iter()
            .map(|entry| LogRecord {
                index: entry.log_id().index,
                term: entry.log_id().leader_id.term,
                payload: codec::encode_payload(&entry.payload),
            })
            .collect();
        let done =
            Box::new(move |result: Result<(), StoreError>| callback.io_completed(result.map_err(io_error)));
        self.0.submit(records, done).map_err(io_error)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        durable(|done| self.0.truncate_after(last.map(|id| id.index), done)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        durable(|done| self.0.purge_to(codec::stored_id(&upto), done)).await
    }
}
