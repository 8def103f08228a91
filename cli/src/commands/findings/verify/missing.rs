//! Hosts that a controller does not show, and that there must be. Pure.
//!
//! Who hides a host hides all that is found on it, and shows nothing that is false. There must be those that this person saw before,
//! those that the audit has enrolled, and those that another controller shows.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::model::AgentId;

use super::enrolments::Enrolments;
use super::memory::Seen;

/// Why a host is missed, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The audit has it enrolled, by this row.
    Enrolled(u64),
    /// It was seen before, and no row of the audit takes it out.
    Seen,
    /// It was seen before, and whether a row takes it out cannot be told.
    SeenUnknown,
    /// It was seen before, or members signed that it is enrolled; a row takes it out that they have not signed.
    TakenOutUnsigned(u64),
    /// It was seen before, and the audit has it taken out.
    TakenOut,
    /// This controller shows it.
    Elsewhere(String),
}

/// What is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Problem(String),
    Doubt(String),
    Note(String),
}

impl Missing {
    /// In a sentence that begins with the host.
    pub(super) fn say(&self) -> Said {
        match self {
            Self::Enrolled(row) => Said::Problem(format!(
                "is hidden: row {row} of the audit has it enrolled, none takes it out, and it is not shown"
            )),
            Self::Seen => Said::Problem(
                "is hidden: you saw it before, and no row of the audit takes it out".to_owned(),
            ),
            Self::SeenUnknown => Said::Doubt(
                "is not shown, and you saw it before: it is hidden, or was taken out by a row of the audit that you cannot see. Somebody \
                 who may read all of it finds out which"
                    .to_owned(),
            ),
            Self::TakenOutUnsigned(row) => Said::Doubt(format!(
                "is not shown: row {row} of the audit takes it out, and a majority of the members has not signed that the row is there. \
                 Run this again, or take it over with --accept-shown if you know of it"
            )),
            Self::TakenOut => Said::Note("was taken out, by the audit; it is forgotten here".to_owned()),
            Self::Elsewhere(address) => Said::Doubt(format!(
                "is not shown, and {address} shows it: this one is behind, or hides it. Run this again"
            )),
        }
    }
}

/// The hosts that are missing among those shown. With `accept`, a row that takes a host out counts although nobody signed it.
pub(super) fn missing(
    shown: &BTreeSet<AgentId>,
    before: &Seen,
    enrolments: &Enrolments,
    accept: bool,
) -> BTreeMap<AgentId, Missing> {
    let mut missing = BTreeMap::new();
    for agent in before.agents() {
        let why = if enrolments.would_show_removal() {
            Missing::Seen
        } else {
            Missing::SeenUnknown
        };
        missing.insert(agent.clone(), why);
    }
    for (agent, row) in enrolments.enrolled() {
        missing.insert(agent.clone(), Missing::Enrolled(row));
    }
    for (agent, row) in enrolments.removed() {
        let is_signed = enrolments.is_signed(row);
        let is_seen = before.has(agent);
        let why = match (is_signed || accept, is_seen) {
            (true, true) => Missing::TakenOut,
            // Where members sign, the next run tells.
            (false, seen) if seen || enrolments.has_signature() => Missing::TakenOutUnsigned(row),
            _ => continue,
        };
        missing.insert(agent.clone(), why);
    }
    missing.retain(|agent, _| !shown.contains(agent));
    missing
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{enrolments, seen_hosts};
    use super::*;

    fn agents(names: &[&str]) -> BTreeSet<AgentId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_host_that_was_seen_or_is_enrolled_is_missed_until_a_signed_row_takes_it_out() {
        // Rows 1 to 4 are signed.
        let rows = [
            ("enrol", "web-1"),
            ("enrol", "web-2"),
            ("enrol", "gone-1"),
            ("remove-host", "gone-1"),
            ("enrol", "late-1"),
            ("remove-host", "web-2"),
        ];
        let audit = enrolments(&rows, Some(4));
        let mut before = seen_hosts(&["web-1", "gone-1"]);
        before.headless.insert("old-1".parse().unwrap());
        let of = |shown: &[&str], before: &Seen, accept| {
            let missing = missing(&agents(shown), before, &audit, accept);
            let text = |(agent, why): (AgentId, Missing)| (agent.to_string(), why);
            missing.into_iter().map(text).collect::<Vec<_>>()
        };
        let wanted = [
            ("gone-1", Missing::TakenOut),
            ("late-1", Missing::Enrolled(5)),
            ("old-1", Missing::Seen),
            ("web-1", Missing::Enrolled(1)),
            ("web-2", Missing::TakenOutUnsigned(6)),
        ];
        let wanted = wanted.map(|(agent, why)| (agent.to_owned(), why));
        assert_eq!(of(&[], &before, false), wanted);
        // What is shown is not missing, and of what nobody saw nobody need know that it was taken out.
        let all = ["late-1", "old-1", "web-1", "web-2"];
        assert_eq!(of(&all, &Seen::default(), false), []);
        assert_eq!(of(&["late-1", "web-1"], &Seen::default(), true), []);
        // Without the audit it is not known whether it was taken out.
        let unread = missing(&agents(&[]), &before, &Enrolments::default(), false);
        assert!(
            unread.len() == 3 && unread.values().all(|why| *why == Missing::SeenUnknown),
            "{unread:?}"
        );
        // Where nobody signs, a row that takes out what was seen is a controller's word.
        let unsigned = missing(
            &agents(&["late-1", "web-1"]),
            &before,
            &enrolments(&rows, None),
            false,
        );
        assert_eq!(unsigned[&"gone-1".parse().unwrap()], Missing::TakenOutUnsigned(4));
        assert!(!unsigned.contains_key(&"web-2".parse().unwrap()), "{unsigned:?}");
    }

    #[test]
    fn each_reason_is_a_mismatch_a_doubt_or_a_note() {
        let kinds = [
            Missing::Enrolled(1),
            Missing::Seen,
            Missing::SeenUnknown,
            Missing::TakenOutUnsigned(1),
            Missing::Elsewhere("c2:1".to_owned()),
            Missing::TakenOut,
        ]
        .map(|why| match why.say() {
            Said::Problem(_) => 1,
            Said::Doubt(_) => 3,
            Said::Note(_) => 0,
        });
        assert_eq!(kinds, [1, 1, 3, 3, 3, 0]);
    }
}
