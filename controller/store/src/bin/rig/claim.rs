//! Opens a store as a member does, says what it takes for durable, and holds it open.

use std::io::Write as _;
use std::path::Path;

use verger_controller_store::{ChunkedLog, LogDb, RedbLog, SledState, SnapshotDir, StateDb as _};

use crate::Failure;

pub(crate) fn claim(kind: &str, dir: &Path) -> Result<(), Failure> {
    match kind {
        "log" => of_log(&ChunkedLog::open(dir)?),
        "redb-log" => of_log(&RedbLog::open(dir)?),
        "state" => {
            let state = SledState::open(dir)?;
            hold(None, state.applied()?.map(|mark| mark.last.index))
        }
        _ => {
            let snapshots = SnapshotDir::open(&dir.join("snapshots"))?;
            hold(None, snapshots.latest()?.map(|latest| latest.meta().last.index))
        }
    }
}

fn of_log(log: &dyn LogDb) -> Result<(), Failure> {
    let vote = log.vote()?;
    let vote = vote.and_then(|vote| vote.as_ref().try_into().ok().map(u64::from_le_bytes));
    hold(vote, log.last()?.map(|last| last.index))
}

/// Says all of it in one write, and waits for its end.
fn hold(vote: Option<u64>, last: Option<u64>) -> Result<(), Failure> {
    let mut lines = vote.map_or_else(String::new, |vote| format!("vote {vote}\n"));
    lines += &last.map_or("nothing 0\n".to_owned(), |last| format!("ack {last}\n"));
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}
