//! Cases over the log itself.

use super::{Case, LogRig, everything, record, records, sized};
use crate::StoreError;
use crate::conformance::{Outcome, holds, same};
use crate::log_db::{LogCheck, LogId};

pub(super) const CASES: &[(&str, Case)] = &[
    ("a_fresh_log_is_empty", fresh_is_empty),
    ("records_read_back_in_order", reads_back),
    ("a_gap_is_refused_and_writes_nothing", gap_refused),
    ("a_log_starts_at_any_index", starts_anywhere),
    ("a_range_stops_at_its_end_and_at_its_bytes", range_limits),
    ("payloads_of_every_size_survive", sizes),
    ("truncated_records_are_gone_and_replaceable", truncate),
    ("truncating_everything_leaves_the_purged_mark", truncate_all),
    ("nothing_purged_can_be_kept", truncate_below_purge),
    ("purging_keeps_what_follows", purge),
    ("purging_behind_the_end_empties_the_log", purge_behind_the_end),
    ("the_last_vote_survives", vote),
    ("acknowledged_records_survive_a_crash", crash_after_append),
    ("truncation_and_purge_survive_a_crash", crash_after_removal),
    ("a_restart_changes_nothing", restart),
    ("the_committed_hint_is_never_torn", committed),
    ("a_check_counts_what_is_there", check),
    ("an_export_is_repeatable_and_tells_changes", export),
];

fn id(index: u64, term: u64) -> LogId {
    LogId { index, term }
}

fn fresh_is_empty(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    same("last", log.last()?, None)?;
    same("purged", log.last_purged()?, None)?;
    same("vote", log.vote()?, None)?;
    same("committed", log.committed()?, None)?;
    same("records", everything(&*log)?, vec![])
}

fn reads_back(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=0, 0))?;
    log.append(&records(1..=9, 1))?;
    log.append(&[])?;
    log.append(&records(10..=10, 3))?;
    let mut want = records(0..=0, 0);
    want.extend(records(1..=9, 1));
    want.push(record(10, 3));
    same("last", log.last()?, Some(id(10, 3)))?;
    same("records", everything(&*log)?, want)
}

fn gap_refused(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=3, 1))?;
    for wrong in [
        vec![record(5, 1)],
        vec![record(3, 1)],
        vec![record(4, 1), record(6, 1)],
    ] {
        let answer = log.append(&wrong);
        holds(
            "a gap must be refused as out of order",
            matches!(answer, Err(StoreError::OutOfOrder { .. })),
        )?;
    }
    same("records", everything(&*log)?, records(0..=3, 1))?;
    let log = rig.crash(log)?;
    same("records after a crash", everything(&*log)?, records(0..=3, 1))?;
    Ok(log.append(&records(4..=4, 1))?)
}

fn starts_anywhere(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(7..=8, 2))?;
    let log = rig.restart(log)?;
    same("records", everything(&*log)?, records(7..=8, 2))
}

fn range_limits(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let all: Vec<_> = (3..13).map(|index| sized(index, 1, 100)).collect();
    log.append(&all)?;
    same("inside", log.read_range(5..8, usize::MAX)?, all[2..5].to_vec())?;
    same(
        "clipped on both sides",
        log.read_range(0..99, usize::MAX)?,
        all.clone(),
    )?;
    same("behind the end", log.read_range(13..20, usize::MAX)?, vec![])?;
    same("before the start", log.read_range(0..3, usize::MAX)?, vec![])?;
    same("empty", log.read_range(5..5, usize::MAX)?, vec![])?;
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "what a caller's bad arithmetic gives"
    )]
    let reversed = 8..5;
    same("reversed", log.read_range(reversed, usize::MAX)?, vec![])?;
    same(
        "three fit in 399 bytes",
        log.read_range(5..12, 399)?,
        all[2..5].to_vec(),
    )?;
    same(
        "four fit in 400 bytes",
        log.read_range(5..12, 400)?,
        all[2..6].to_vec(),
    )?;
    same(
        "the first comes whatever its size",
        log.read_range(5..12, 0)?,
        all[2..3].to_vec(),
    )
}

fn sizes(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let all: Vec<_> = (0..)
        .zip([0, 1, 255, 4096, 65_537, 1 << 20, 3])
        .map(|(index, size)| sized(index, 1, size))
        .collect();
    log.append(&all)?;
    let log = rig.crash(log)?;
    same("records are equal", everything(&*log)? == all, true)
}

fn truncate(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=9, 1))?;
    log.truncate_after(Some(9))?;
    log.truncate_after(Some(50))?;
    same("nothing behind the end", log.last()?, Some(id(9, 1)))?;
    log.truncate_after(Some(5))?;
    same("last", log.last()?, Some(id(5, 1)))?;
    same("records", everything(&*log)?, records(0..=5, 1))?;
    log.append(&records(6..=7, 4))?;
    let log = rig.restart(log)?;
    let mut want = records(0..=5, 1);
    want.extend(records(6..=7, 4));
    same("records after new ones", everything(&*log)?, want)
}

fn truncate_all(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.truncate_after(None)?;
    log.append(&records(0..=9, 1))?;
    log.purge_to(id(4, 1))?;
    log.truncate_after(None)?;
    same("last", log.last()?, None)?;
    same("purged", log.last_purged()?, Some(id(4, 1)))?;
    holds(
        "records must follow the purged mark",
        log.append(&[record(6, 2)]).is_err(),
    )?;
    log.append(&[record(5, 2)])?;
    log.truncate_after(Some(4))?;
    same("records", everything(&*log)?, vec![])
}

fn truncate_below_purge(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=9, 1))?;
    log.purge_to(id(4, 1))?;
    holds(
        "keeping a purged record must be refused",
        log.truncate_after(Some(2)).is_err(),
    )?;
    same("records", everything(&*log)?, records(5..=9, 1))
}

fn purge(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=9, 1))?;
    log.purge_to(id(3, 1))?;
    log.purge_to(id(2, 1))?;
    same("purged", log.last_purged()?, Some(id(3, 1)))?;
    same("records", everything(&*log)?, records(4..=9, 1))?;
    same("a purged record", log.read_range(2..3, usize::MAX)?, vec![])?;
    log.append(&records(10..=10, 1))?;
    let log = rig.restart(log)?;
    same("records after a restart", everything(&*log)?, records(4..=10, 1))
}

fn purge_behind_the_end(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=9, 1))?;
    log.purge_to(id(40, 3))?;
    same("last", log.last()?, None)?;
    holds(
        "a record before the mark must be refused",
        log.append(&[record(10, 3)]).is_err(),
    )?;
    let log = rig.crash(log)?;
    same("purged", log.last_purged()?, Some(id(40, 3)))?;
    log.append(&records(41..=42, 3))?;
    same("records", everything(&*log)?, records(41..=42, 3))
}

fn vote(rig: &mut dyn LogRig) -> Outcome {
    let mut log = rig.open()?;
    for round in 0..12_u8 {
        let vote = vec![round; usize::from(round) * 7];
        log.save_vote(&vote)?;
        same("vote", log.vote()?.map(|vote| vote.to_vec()), Some(vote.clone()))?;
        log = if round % 2 == 0 {
            rig.crash(log)?
        } else {
            rig.restart(log)?
        };
        same(
            "vote after a stop",
            log.vote()?.map(|vote| vote.to_vec()),
            Some(vote),
        )?;
        log.append(&[record(u64::from(round), 1)])?;
    }
    Ok(())
}

fn crash_after_append(rig: &mut dyn LogRig) -> Outcome {
    let mut log = rig.open()?;
    let mut next = 0;
    for batch in [1_u64, 3, 1, 16, 64] {
        log.append(&records(next..=next + batch - 1, 1))?;
        next += batch;
        log = rig.crash(log)?;
        same("last after a crash", log.last()?, Some(id(next - 1, 1)))?;
    }
    same("records", everything(&*log)?, records(0..=next - 1, 1))
}

fn crash_after_removal(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=19, 1))?;
    log.truncate_after(Some(14))?;
    let log = rig.crash(log)?;
    same("truncated", everything(&*log)?, records(0..=14, 1))?;
    log.purge_to(id(9, 1))?;
    let log = rig.crash(log)?;
    same("purged", everything(&*log)?, records(10..=14, 1))
}

fn restart(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=30, 1))?;
    log.purge_to(id(10, 1))?;
    log.save_vote(b"vote")?;
    let before = (
        everything(&*log)?,
        log.last()?,
        log.last_purged()?,
        log.vote()?,
        log.check()?,
    );
    let log = rig.restart(log)?;
    same(
        "everything",
        (
            everything(&*log)?,
            log.last()?,
            log.last_purged()?,
            log.vote()?,
            log.check()?,
        ),
        before,
    )
}

fn committed(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=1, 1))?;
    log.save_committed(b"first")?;
    same("committed", log.committed()?.as_deref(), Some(&b"first"[..]))?;
    log.append(&records(2..=2, 1))?;
    log.save_committed(b"second, longer")?;
    let log = rig.crash(log)?;
    let found = log.committed()?;
    let known = [None, Some(&b"first"[..]), Some(&b"second, longer"[..])];
    holds(
        "the hint must be one that was stored",
        known.contains(&found.as_deref()),
    )?;
    same("records", everything(&*log)?, records(0..=2, 1))
}

fn check(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=9, 2))?;
    log.purge_to(id(3, 2))?;
    let want = LogCheck {
        records: 6,
        payload_bytes: 6 * 24,
        first: Some(id(4, 2)),
        last: Some(id(9, 2)),
        last_purged: Some(id(3, 2)),
    };
    same("check", log.check()?, want)
}

fn export(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    log.append(&records(0..=9, 2))?;
    let export = || -> Result<_, StoreError> {
        let mut bytes = Vec::new();
        Ok((log.export(&mut bytes)?, bytes))
    };
    let (first, bytes) = export()?;
    same("records", first.records, 10)?;
    same("the trailer", &bytes[bytes.len() - 32..], &first.sha256[..])?;
    same("a second export", export()?, (first, bytes.clone()))?;
    log.append(&records(10..=10, 2))?;
    holds("an export must tell a change", export()?.1 != bytes)
}
