//! A member's disk: its log, its rows and its snapshots. A crash takes what was not synced.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use verger_controller_raft::Stores;
use verger_controller_store::{
    AppliedMark, ExportSummary, LogCheck, LogDb, LogId, LogRecord, LogWriter, MemoryDisk, MemoryLog,
    MemoryState, Pump, Row, RowOp, SnapshotDir, Space, StateDb, StoreError,
};

use verger_controller_state::Tree;
use verger_proto::stored::v1::RaftMark;

use crate::defects::Defect;
use crate::logs::{Logs, Recorded};
use crate::pauses::Pauses;

/// How long a sync takes at most, microseconds.
const SYNC_MICROS: u64 = 4_000;
/// How long one takes at most that stands still, and one of how many does: others commit meanwhile what is not durable here.
const STILL_MICROS: u64 = 400_000;
const STILL_ONE_OF: u32 = 50;
/// How often a writer that has nothing to do looks.
const IDLE: Duration = Duration::from_millis(1);

pub(crate) struct Disk {
    /// Of which member.
    id: u64,
    logs: Logs,
    pauses: Pauses,
    log: MemoryDisk,
    state: Arc<MemoryState>,
    snapshots: TempDir,
    defect: Option<Defect>,
    /// Whether its power was cut: some defects show from then on.
    was_cut: bool,
}

impl Disk {
    pub(crate) fn new(id: u64, logs: &Logs, pauses: &Pauses, defect: Option<Defect>) -> Self {
        let log = MemoryDisk::new();
        log.lie_about_syncs(defect == Some(Defect::SkippedSync));
        Self {
            id,
            logs: logs.clone(),
            pauses: pauses.clone(),
            log,
            state: Arc::default(),
            snapshots: tempfile::tempdir().unwrap(),
            defect,
            was_cut: false,
        }
    }

    /// The stores as a new process finds them, and who writes to them.
    pub(crate) fn open(&self, mut lots: StdRng) -> (Stores, JoinHandle<()>) {
        let log = self.logs.before(self.id, MemoryLog::open(&self.log));
        let log: Arc<dyn LogDb> = match self.defect {
            Some(Defect::LostVote) => Arc::new(Flawed(log, Flaw::KeepsNoVote)),
            Some(Defect::SwappedEntries) => Arc::new(Flawed(log, Flaw::Swaps)),
            _ => Arc::new(log),
        };
        let (log, mut pump): (LogWriter, Pump) = LogWriter::pumped(log).unwrap();
        let (id, pauses) = (self.id, self.pauses.clone());
        let writing = tokio::spawn(async move {
            loop {
                pauses.awake(id).await;
                let most = match lots.random_ratio(1, STILL_ONE_OF) {
                    true => STILL_MICROS,
                    false => SYNC_MICROS,
                };
                match pump.step() {
                    true => sleep(Duration::from_micros(lots.random_range(0..most))).await,
                    false => sleep(IDLE).await,
                }
            }
        });
        let rows = Arc::clone(&self.state);
        let state: Arc<dyn StateDb> = match (self.defect, self.was_cut) {
            (Some(Defect::LostRow), _) => Arc::new(Faulty(rows, Fault::LosesLogins)),
            (Some(Defect::DoubledApply), true) => Arc::new(Faulty(rows, Fault::SetBack)),
            (Some(Defect::OtherChain), true) => Arc::new(Faulty(rows, Fault::OtherChain)),
            _ => rows,
        };
        let stores = Stores {
            log,
            state,
            snapshots: SnapshotDir::open(self.snapshots.path()).unwrap(),
            place: self.snapshots.path().to_owned(),
            space: Space::endless(),
        };
        (stores, writing)
    }

    /// Cuts the power. Of rows that were not flushed some may be there, but none of records that are not: they are written behind them, and
    /// so are snapshots that are made of them. One that came from a peer and was not taken in is gone as well.
    pub(crate) fn crash(&mut self, lots: &mut StdRng) {
        self.log.crash();
        let unflushed = self.state.unflushed();
        let mut kept = lots.random_range(0..=unflushed);
        if self.defect == Some(Defect::RowsOutlast) {
            kept = unflushed;
        }
        let log = MemoryLog::open(&self.log);
        let logged = log.last().unwrap().max(log.last_purged().unwrap());
        let logged = logged.map(|id| id.index);
        let mut state = self.state.crash(kept);
        while self.defect != Some(Defect::RowsOutlast) && kept > 0 && applied(&state) > logged {
            kept -= 1;
            state = self.state.crash(kept);
        }
        let snapshots = SnapshotDir::open(self.snapshots.path()).unwrap();
        while let Some(newest) = snapshots.latest().unwrap()
            && Some(newest.meta().last.index) > logged.max(applied(&state))
        {
            std::fs::remove_file(newest.path()).unwrap();
        }
        self.state = Arc::new(state);
        self.was_cut = true;
    }
}

fn applied(state: &MemoryState) -> Option<u64> {
    state.applied().unwrap().map(|mark| mark.last.index)
}

/// What is wrong with a log.
#[derive(PartialEq, Eq)]
enum Flaw {
    KeepsNoVote,
    /// Of what comes together, the last two are in each other's place.
    Swaps,
}

/// A log with a flaw.
struct Flawed(Recorded, Flaw);

impl LogDb for Flawed {
    fn append(&self, entries: &[LogRecord]) -> Result<(), StoreError> {
        let mut entries = entries.to_vec();
        if let (Flaw::Swaps, [.., one, other]) = (&self.1, &mut *entries) {
            std::mem::swap(&mut one.payload, &mut other.payload);
        }
        self.0.append(&entries)
    }

    fn read_range(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StoreError> {
        self.0.read_range(range, max_bytes)
    }

    fn truncate_after(&self, keep: Option<u64>) -> Result<(), StoreError> {
        self.0.truncate_after(keep)
    }

    fn purge_to(&self, upto: LogId) -> Result<(), StoreError> {
        self.0.purge_to(upto)
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StoreError> {
        // But the first: without any a log that is not empty would not be one.
        match self.0.vote()? {
            Some(_) if self.1 == Flaw::KeepsNoVote => Ok(()),
            _ => self.0.save_vote(vote),
        }
    }

    fn vote(&self) -> Result<Option<Bytes>, StoreError> {
        self.0.vote()
    }

    fn save_committed(&self, committed: &[u8]) -> Result<(), StoreError> {
        self.0.save_committed(committed)
    }

    fn committed(&self) -> Result<Option<Bytes>, StoreError> {
        self.0.committed()
    }

    fn last(&self) -> Result<Option<LogId>, StoreError> {
        self.0.last()
    }

    fn last_purged(&self) -> Result<Option<LogId>, StoreError> {
        self.0.last_purged()
    }

    fn check(&self) -> Result<LogCheck, StoreError> {
        self.0.check()
    }

    fn export(&self, out: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        self.0.export(out)
    }
}

/// What is wrong with rows.
#[derive(PartialEq, Eq)]
enum Fault {
    /// They say that they stand one entry before where they do.
    SetBack,
    /// What somebody's login became is not kept, but for the first.
    LosesLogins,
    /// What they say of how they came about is something else.
    OtherChain,
}

/// Rows with a fault.
struct Faulty(Arc<MemoryState>, Fault);

impl StateDb for Faulty {
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError> {
        let mut kept = Vec::new();
        for op in ops {
            let is_lost = self.1 == Fault::LosesLogins
                && op.tree == Tree::Logins.name()
                && self.0.get(&op.tree, &op.key)?.is_some();
            if !is_lost {
                kept.push(op.clone());
            }
        }
        self.0.apply_batch(&kept, applied)
    }

    fn applied(&self) -> Result<Option<AppliedMark>, StoreError> {
        let mark = self.0.applied()?;
        Ok(match self.1 {
            Fault::SetBack => mark.map(one_before),
            Fault::LosesLogins => mark,
            Fault::OtherChain => mark.map(otherwise),
        })
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(tree, key)
    }

    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.0.scan_prefix(tree, prefix, visit)
    }

    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.0.visit_at(begin, visit)
    }

    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        self.0.replace_all(rows, applied)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }
}

fn otherwise(mark: AppliedMark) -> AppliedMark {
    let mut stored = RaftMark::decode(mark.membership.clone()).unwrap();
    if !stored.chain.is_empty() {
        stored.chain = stored.chain.iter().map(|byte| !byte).collect();
    }
    AppliedMark {
        membership: stored.encode_to_vec().into(),
        ..mark
    }
}

fn one_before(mark: AppliedMark) -> AppliedMark {
    let mut stored = RaftMark::decode(mark.membership.clone()).unwrap();
    if let Some(applied) = &mut stored.applied {
        applied.index -= 1;
    }
    AppliedMark {
        last: LogId {
            index: mark.last.index - 1,
            term: mark.last.term,
        },
        membership: stored.encode_to_vec().into(),
    }
}
