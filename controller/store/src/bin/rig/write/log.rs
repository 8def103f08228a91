//! Appends records in batches of 1 to 16; every 64th batch is followed by a vote, and each by a hint of what is committed, as a member's are.

use verger_controller_store::{ChunkedLog, LogDb, RedbLog};

use crate::log_content::record;
use crate::{Dice, Failure, Wish, say};

/// Chunks that are closed every few records, every few commits, and seldom.
const CHUNK_RECORDS: [usize; 3] = [5, 100, 10_000];

pub(crate) fn chunked(mut wish: Wish) -> Result<(), Failure> {
    if !ChunkedLog::exists(&wish.dir) {
        drop(ChunkedLog::create(&wish.dir)?);
    }
    let records = match wish.small_chunks {
        true => CHUNK_RECORDS[wish.dice.roll(3) as usize],
        false => CHUNK_RECORDS[2],
    };
    write(
        &ChunkedLog::open_for_rig(&wish.dir, wish.barrier, records)?,
        wish.dice,
    )
}

pub(crate) fn redb(wish: Wish) -> Result<(), Failure> {
    if !RedbLog::exists(&wish.dir) {
        drop(RedbLog::create(&wish.dir)?);
    }
    let log = if wish.barrier {
        RedbLog::open(&wish.dir)?
    } else {
        RedbLog::open_without_barrier(&wish.dir)?
    };
    write(&log, wish.dice)
}

fn write(log: &dyn LogDb, mut dice: Dice) -> Result<(), Failure> {
    let mut next = log.last()?.map_or(0, |last| last.index + 1);
    for batch in 1_u64.. {
        let records: Vec<_> = (next..=next + dice.roll(16)).map(record).collect();
        next += records.len() as u64;
        log.append(&records)?;
        say("ack", next - 1)?;
        log.save_committed(&next.to_le_bytes())?;
        if batch % 64 == 0 {
            log.save_vote(&next.to_le_bytes())?;
            say("vote", next)?;
        }
    }
    Ok(())
}
