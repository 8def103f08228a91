//! How many findings an agent keeps. Containers decide how many faults there are; the table stays bounded all the same.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::fault::{Fault, badness};
use super::{FindingUid, Lifecycle, Table};
use crate::drift::{Check, Outcome};
use crate::model::{Control, RuleId, Severity};

/// The most findings an agent keeps, resolved ones included, and without the one that says that there are more.
pub const MAX_FINDINGS: usize = 20_000;
/// How long a resolved finding is kept, so that the same fault again is known to be a repetition.
pub const KEEP_RESOLVED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The rule that an agent has room for every finding.
pub const ROOM: RuleId = RuleId::builtin("host/findings-room");

/// Resolved findings to forget: the old ones, and the oldest where the faults of this round need room.
pub(super) fn outdated(
    table: &Table,
    faults: &BTreeMap<FindingUid, Fault<'_>>,
    at: Timestamp,
) -> BTreeSet<FindingUid> {
    let over = (table.len() + fresh(table, faults).count()).saturating_sub(MAX_FINDINGS);
    let is_over = |changed: Timestamp| at.duration_since(changed) >= KEEP_RESOLVED;
    if over == 0
        && !table
            .values()
            .any(|finding| finding.lifecycle == Lifecycle::Resolved && is_over(finding.changed))
    {
        return BTreeSet::new();
    }
    let mut resolved: Vec<(Timestamp, FindingUid)> = table
        .values()
        .filter(|finding| finding.lifecycle == Lifecycle::Resolved && !faults.contains_key(&finding.uid))
        .map(|finding| (finding.changed, finding.uid))
        .collect();
    resolved.sort_unstable();
    let dropped = resolved
        .into_iter()
        .enumerate()
        .filter(|(place, (changed, _))| *place < over || is_over(*changed));
    dropped.map(|(_, (_, uid))| uid).collect()
}

fn fresh<'a>(
    table: &'a Table,
    faults: &'a BTreeMap<FindingUid, Fault<'_>>,
) -> impl Iterator<Item = &'a FindingUid> {
    faults.keys().filter(|uid| !table.contains_key(uid))
}

/// Takes out the faults there is no room for beside the `kept`, the least bad first; says how many.
pub(super) fn admit(
    kept: usize,
    table: &Table,
    faults: &mut BTreeMap<FindingUid, Fault<'_>>,
) -> Option<usize> {
    let room = MAX_FINDINGS.saturating_sub(kept);
    let mut new: Vec<_> = fresh(table, faults)
        .map(|uid| (Reverse(badness(faults[uid].check)), *uid))
        .collect();
    let over = new.len().checked_sub(room).filter(|over| *over > 0)?;
    new.sort_unstable();
    for (_, uid) in &new[room..] {
        faults.remove(uid);
    }
    Some(over)
}

/// What is said of those left out.
pub(super) fn left_out_check(count: usize) -> Check {
    Check {
        control: Control::Host,
        rule: ROOM,
        field: Cow::Borrowed("findings"),
        result: Outcome::Fail,
        expected: Some(format!("at most {MAX_FINDINGS} findings on a host")),
        actual: Some(format!("{count} more")),
        reason: Cow::Borrowed(
            "the agent keeps no more findings of one host, and leaves out the least bad: correct some of the faults",
        ),
        severity: Severity::High,
        decided_by: None,
    }
}
