//! Appends records in batches of 1 to 16; every 64th batch is followed by a vote.

use verger_controller_store::{LogDb, RedbLog};

use crate::log_content::record;
use crate::{Failure, Wish, say};

pub(crate) fn write(
    Wish {
        dir,
        barrier,
        mut dice,
    }: Wish,
) -> Result<(), Failure> {
    let exists = RedbLog::exists(&dir);
    let log = match (exists, barrier) {
        (true, true) => RedbLog::open(&dir)?,
        (false, true) => RedbLog::create(&dir)?,
        (exists, false) => {
            if !exists {
                drop(RedbLog::create(&dir)?);
            }
            RedbLog::open_without_barrier(&dir)?
        }
    };
    let mut next = log.last()?.map_or(0, |last| last.index + 1);
    for batch in 1_u64.. {
        let records: Vec<_> = (next..=next + dice.roll(16)).map(record).collect();
        next += records.len() as u64;
        log.append(&records)?;
        say("ack", next - 1)?;
        if batch % 64 == 0 {
            log.save_vote(&next.to_le_bytes())?;
            say("vote", next)?;
        }
    }
    Ok(())
}
