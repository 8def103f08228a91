//! Every record from 0 on, as it was written, and the vote.

use verger_controller_store::{ChunkedLog, LogDb, RedbLog, StoreError};

use crate::log_content::record;
use crate::{Found, Wish, shown};

pub(crate) fn chunked(wish: &Wish) -> Result<Found, StoreError> {
    verify(&ChunkedLog::open(&wish.dir)?, wish)
}

pub(crate) fn redb(wish: &Wish) -> Result<Found, StoreError> {
    verify(&RedbLog::open(&wish.dir)?, wish)
}

fn verify(log: &dyn LogDb, wish: &Wish) -> Result<Found, StoreError> {
    let check = log.check()?;
    let mut matches = true;
    let mut next = check.first.map_or(0, |first| first.index);
    let end = check.last.map_or(0, |last| last.index + 1);
    while next < end {
        let records = log.read_range(next..end, 1 << 20)?;
        matches &= !records.is_empty() && records.iter().all(|found| *found == record(found.index));
        next = records.last().map_or(end, |record| record.index + 1);
    }
    let vote = log
        .vote()?
        .and_then(|vote| vote.as_ref().try_into().ok().map(u64::from_le_bytes));
    let last = check.last.map(|last| last.index);
    Ok(Found {
        line: format!(
            "first {} last {} records {} vote {}",
            shown(check.first.map(|first| first.index)),
            shown(last),
            check.records,
            shown(vote)
        ),
        sound: matches
            && check.first.is_none_or(|first| first.index == 0)
            && wish.acked.is_none_or(|acked| last >= Some(acked))
            && wish.voted.is_none_or(|voted| vote >= Some(voted)),
    })
}
