//! Cases over the log behind a [`LogWriter`]: when records are readable, and when callbacks fire.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;

use super::{Case, LogRig, everything, record, records};
use crate::StoreError;
use crate::conformance::{Broken, Outcome, holds, same};
use crate::log_db::{LogDb, LogId};
use crate::log_writer::{Callback, LogWriter};

pub(super) const CASES: &[(&str, Case)] = &[
    ("submitted_records_are_readable_at_once", readable_at_once),
    ("callbacks_fire_in_order_and_after_the_sync", callback_order),
    ("what_was_called_back_survives_a_crash", called_back_survives),
    ("votes_and_records_keep_their_order", vote_order),
    ("a_truncation_shows_at_once_and_in_the_end", writer_truncate),
    ("a_batch_that_does_not_follow_is_refused_at_once", writer_gap),
    ("stopping_the_writer_writes_what_is_queued", drop_drains),
];

/// Longer than any sync takes: reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

type Report = (u64, Result<(), StoreError>, Option<LogId>);

/// A callback that said yes: its number, and the last record stored by then.
type Done = (u64, Option<LogId>);

/// More reports than any case makes: no callback ever blocks the writer.
const REPORTS: usize = 4096;

/// A callback that reports its number and what the log held when it fired.
fn reporting(number: u64, log: &Arc<dyn LogDb>, reports: &SyncSender<Report>) -> Callback {
    let (log, reports) = (Arc::clone(log), reports.clone());
    Box::new(move |result| {
        let last = log.last().ok().flatten();
        // A case that failed early no longer listens.
        let _ = reports.send((number, result, last));
    })
}

fn next(reports: &Receiver<Report>) -> Result<Done, Broken> {
    let late = |_| Broken("no callback in a minute".to_owned());
    let (number, result, last) = reports.recv_timeout(DEADLINE).map_err(late)?;
    result?;
    Ok((number, last))
}

fn readable_at_once(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let writer = LogWriter::start(Arc::clone(&log))?;
    let (send, reports) = sync_channel(REPORTS);
    for batch in 0..40_u64 {
        let (first, last) = (batch * 5, batch * 5 + 4);
        writer.submit(records(first..=last, 1), reporting(batch, &log, &send))?;
        same("last", writer.last(), Some(LogId { index: last, term: 1 }))?;
        same(
            "the batch",
            writer.read_range(first..last + 1, usize::MAX)?,
            records(first..=last, 1),
        )?;
        same(
            "all before",
            writer.read_range(0..u64::MAX, usize::MAX)?.len() as u64,
            last + 1,
        )?;
        same(
            "cut by bytes",
            writer.read_range(0..u64::MAX, 24 * 3)?,
            records(0..=2, 1),
        )?;
    }
    for _ in 0..40 {
        next(&reports)?;
    }
    same("stored", everything(&*log)?, records(0..=199, 1))
}

fn callback_order(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let writer = LogWriter::start(Arc::clone(&log))?;
    let (send, reports) = sync_channel(REPORTS);
    for batch in 0..60_u64 {
        writer.submit(
            records(batch * 2..=batch * 2 + 1, 1),
            reporting(batch, &log, &send),
        )?;
    }
    for batch in 0..60_u64 {
        let (number, last) = next(&reports)?;
        same("callback", number, batch)?;
        let last = last.map(|id| id.index);
        holds(
            "a callback fired before its records were stored",
            last >= Some(batch * 2 + 1),
        )?;
    }
    Ok(())
}

fn called_back_survives(rig: &mut dyn LogRig) -> Outcome {
    let mut log = rig.open()?;
    let mut index = 0;
    for _ in 0..4 {
        let writer = LogWriter::start(Arc::clone(&log))?;
        let (send, reports) = sync_channel(REPORTS);
        for _ in 0..5 {
            writer.submit(vec![record(index, 1)], reporting(index, &log, &send))?;
            index += 1;
        }
        for _ in 0..5 {
            next(&reports)?;
        }
        drop(writer);
        log = rig.crash(log)?;
        same("records", everything(&*log)?, records(0..=index - 1, 1))?;
    }
    Ok(())
}

fn vote_order(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let writer = LogWriter::start(Arc::clone(&log))?;
    let (send, reports) = sync_channel(REPORTS);
    for round in 0..10_u64 {
        writer.submit(vec![record(round, 1)], reporting(round * 3, &log, &send))?;
        writer.save_vote(
            Bytes::from(vec![round as u8]),
            reporting(round * 3 + 1, &log, &send),
        )?;
        writer.save_committed(Bytes::from_static(b"c"), reporting(round * 3 + 2, &log, &send))?;
    }
    for number in 0..30 {
        same("callback", next(&reports)?.0, number)?;
    }
    drop(writer);
    let log = rig.crash(log)?;
    same("vote", log.vote()?.as_deref(), Some(&[9_u8][..]))
}

fn writer_truncate(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let writer = LogWriter::start(Arc::clone(&log))?;
    let (send, reports) = sync_channel(REPORTS);
    for round in 0..10_u64 {
        let term = round + 1;
        writer.submit(
            records(round * 10..=round * 10 + 19, term),
            reporting(round * 3, &log, &send),
        )?;
        writer.truncate_after(Some(round * 10 + 9), reporting(round * 3 + 1, &log, &send))?;
        same(
            "last",
            writer.last(),
            Some(LogId {
                index: round * 10 + 9,
                term,
            }),
        )?;
        let found = writer.read_range(round * 10..u64::MAX, usize::MAX)?;
        same("records", found, records(round * 10..=round * 10 + 9, term))?;
        if round > 0 {
            let upto = LogId {
                index: round * 10 - 1,
                term: round,
            };
            writer.purge_to(upto, reporting(round * 3 + 2, &log, &send))?;
            same("purged", writer.last_purged(), Some(upto))?;
        }
        same(
            "the first left",
            writer.read_range(0..u64::MAX, 0)?,
            vec![record(round * 10, term)],
        )?;
    }
    for _ in 0..29 {
        next(&reports)?;
    }
    drop(writer);
    let log = rig.restart(log)?;
    same("in the end", everything(&*log)?, records(90..=99, 10))
}

fn writer_gap(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let writer = LogWriter::start(Arc::clone(&log))?;
    let (send, reports) = sync_channel(REPORTS);
    writer.submit(records(0..=4, 1), reporting(0, &log, &send))?;
    let answer = writer.submit(records(6..=6, 1), reporting(1, &log, &send));
    holds(
        "a gap must be refused",
        matches!(
            answer,
            Err(StoreError::OutOfOrder {
                expected: 5,
                found: 6
            })
        ),
    )?;
    writer.submit(records(5..=5, 1), reporting(2, &log, &send))?;
    same("first callback", next(&reports)?.0, 0)?;
    same("second callback", next(&reports)?.0, 2)
}

fn drop_drains(rig: &mut dyn LogRig) -> Outcome {
    let log = rig.open()?;
    let writer = LogWriter::start(Arc::clone(&log))?;
    let (send, reports) = sync_channel(REPORTS);
    for index in 0..50 {
        writer.submit(vec![record(index, 1)], reporting(index, &log, &send))?;
    }
    drop(writer);
    same(
        "callbacks",
        reports.try_iter().filter(|(_, result, _)| result.is_ok()).count(),
        50,
    )?;
    let log = rig.crash(log)?;
    same("records", everything(&*log)?, records(0..=49, 1))
}
