//! One fault of the cluster from its rows per host.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::badness;
use super::{Acknowledgement, Finding, FindingUid, HostCount, Lifecycle, MAX_SAMPLES, Transition};
use crate::model::AgentId;

/// Folds the last transition of every host into one finding; `None` when there is no row. The order in which hosts
/// reported is immaterial.
///
/// Open on one host is open; acknowledged is open that a person has seen; resolved is resolved everywhere. Whoever keeps
/// the acknowledgement drops it when a host reports that the finding opened.
pub fn fold(
    uid: FindingUid,
    revision: u64,
    rows: &BTreeMap<AgentId, Transition>,
    acknowledged: Option<&Acknowledgement>,
) -> Option<Finding> {
    let worst = rows
        .values()
        .max_by_key(|row| (rank(row.lifecycle), badness(&row.check), row.at))?;
    let lifecycle = match worst.lifecycle {
        Lifecycle::Open | Lifecycle::Acknowledged if acknowledged.is_some() => Lifecycle::Acknowledged,
        Lifecycle::Open | Lifecycle::Acknowledged => Lifecycle::Open,
        other => other,
    };
    // Hosts where it is over say nothing about how it is; where it is over everywhere, all say how it was.
    let over = lifecycle == Lifecycle::Resolved;
    let lasting = || {
        rows.values()
            .filter(move |row| over || row.lifecycle != Lifecycle::Resolved)
    };
    let samples: BTreeSet<_> = lasting().flat_map(|row| &row.samples).cloned().collect();
    Some(Finding {
        uid,
        revision,
        control: worst.check.control,
        rule: worst.check.rule.clone(),
        subject: worst.subject.clone(),
        image: worst.image,
        check: worst.check.clone(),
        lifecycle,
        acknowledged: acknowledged.cloned(),
        wanted: lasting().map(|row| row.wanted).max()?,
        effective: lasting().map(|row| row.effective).min()?,
        hosts: rows
            .iter()
            .map(|(agent, row)| {
                let affected = if row.lifecycle == Lifecycle::Resolved {
                    0
                } else {
                    row.affected
                };
                (
                    agent.clone(),
                    HostCount {
                        affected,
                        evaluated: row.evaluated,
                    },
                )
            })
            .collect(),
        samples: samples.into_iter().take(MAX_SAMPLES).collect(),
        first_seen: rows.values().map(|row| row.first_seen).min()?,
        changed: rows.values().map(|row| row.at).max()?,
        reopened: rows.values().fold(0, |sum, row| sum.saturating_add(row.reopened)),
        occurrences: rows
            .values()
            .fold(0, |sum, row| sum.saturating_add(row.occurrences)),
    })
}

const fn rank(lifecycle: Lifecycle) -> u8 {
    match lifecycle {
        Lifecycle::Open | Lifecycle::Acknowledged => 2,
        Lifecycle::Suppressed => 1,
        Lifecycle::Resolved => 0,
    }
}
