//! Threads that are not like the first of their process.
//!
//! On Linux ids, capabilities, NoNewPrivs, seccomp and all namespaces but pid and user belong to a thread, not to a process
//! (credentials(7), namespaces(7)): what the first thread shows proves nothing about the others. Which cgroup a thread is in
//! is not looked at: only who may write to the host's cgroup file system can move one out.

use std::io;

use verger_policy::facts::{Evidence, ProcessFacts, proc};

use super::budget::MOST_THREADS_OF_ONE;
use super::membership::Bond;
use super::source::{ProcessDir, ThreadDir, has_ended};
use super::{STATUS_LIMIT, Scan};

/// Threads of one process that all differ from each other: more are not shown in part.
const MOST_KINDS: usize = 64;

/// What the process's other threads are, each kind once, with what joins it to instances. `cgroup` and `bonds` are the
/// process's.
///
/// # Errors
/// When one is there and cannot be read, or there are too many. A thread that ends meanwhile is left out.
pub(super) fn unlike(
    scan: &mut Scan,
    process: &ProcessDir,
    first: &ProcessFacts,
    cgroup: &str,
    bonds: &[Bond],
) -> io::Result<Vec<(ProcessFacts, Vec<Bond>)>> {
    let mut kinds: Vec<ProcessFacts> = Vec::new();
    let places = || bonds.iter().map(|bond| bond.place);
    let too_many = || {
        let reason = format!("its instance has more than {MOST_THREADS_OF_ONE} threads");
        io::Error::new(io::ErrorKind::FileTooLarge, reason)
    };
    // Of an instance that has too many nothing more is read, not even how many.
    if !scan.threads.take(places(), 0) {
        return Err(too_many());
    }
    let (tasks, ids) = process.other_threads()?;
    if !scan.threads.take(places(), ids.len()) {
        return Err(too_many());
    }
    for id in ids {
        let seen = match tasks.open(id).and_then(|thread| facts(scan, &thread, first)) {
            Ok(seen) => seen,
            Err(error) if has_ended(&error) => continue,
            Err(error) => return Err(error),
        };
        let is_like = |known: &ProcessFacts| {
            ProcessFacts {
                thread: known.thread,
                ..seen.clone()
            } == *known
        };
        if is_like(first) || kinds.iter().any(is_like) {
            continue;
        }
        if kinds.len() == MOST_KINDS {
            let reason = format!("its threads differ in more than {MOST_KINDS} ways");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        kinds.push(ProcessFacts {
            thread: Some(id),
            ..seen
        });
    }
    let bonds = |facts: ProcessFacts| {
        let bonds = scan.homes.bonds(cgroup, facts.namespaces.seen());
        (facts, bonds)
    };
    Ok(kinds.into_iter().map(bonds).collect())
}

fn facts(scan: &mut Scan, thread: &ThreadDir, first: &ProcessFacts) -> io::Result<ProcessFacts> {
    thread.read(c"status", STATUS_LIMIT, &mut scan.buffer)?;
    let invalid =
        |error: verger_policy::facts::InvalidFacts| io::Error::new(io::ErrorKind::InvalidData, error);
    let status = proc::status(&scan.buffer).map_err(invalid)?;
    let namespaces = match &first.namespaces {
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
        Evidence::Seen(ids) => match thread.namespaces(ids) {
            Ok(ids) => Evidence::Seen(ids),
            Err(error) if has_ended(&error) => return Err(error),
            Err(error) => Evidence::Missing(format!(
                "the namespaces of a thread of pid {} cannot be read: {error}",
                first.pid
            )),
        },
    };
    Ok(ProcessFacts {
        namespaces,
        uids: status.uids,
        gids: status.gids,
        groups: status.groups,
        caps: status.caps,
        no_new_privs: status.no_new_privs,
        seccomp: status.seccomp,
        // The name, the limits and the user namespace are the process's.
        ..first.clone()
    })
}
