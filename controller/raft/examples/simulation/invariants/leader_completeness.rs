//! Whoever leads has every entry that was committed in an earlier term (Raft, Figure 3), in its log or in a snapshot.

use std::collections::BTreeMap;

use super::state_machine_safety::Committed;
use crate::logs::{Logs, OnDisk};

/// Up to where which leader was looked at.
#[derive(Default)]
pub(crate) struct Completeness {
    /// By member and term: how many entries were known to be committed then.
    looked: BTreeMap<(u64, u64), usize>,
}

impl Completeness {
    /// What a leader does not have.
    pub(crate) fn look(
        &mut self,
        leading: &[(u64, u64)],
        committed: &Committed,
        logs: &Logs,
    ) -> Option<String> {
        for (id, term) in leading {
            let looked = self.looked.entry((*id, *term)).or_default();
            if *looked == committed.len() {
                continue;
            }
            *looked = committed.len();
            if let Some(found) = logs.of(*id, |log| lacks(*id, *term, log, committed)) {
                return Some(found);
            }
        }
        None
    }
}

fn lacks(id: u64, term: u64, log: &OnDisk, committed: &Committed) -> Option<String> {
    let lacking = committed.iter().find(|(index, entry)| {
        entry.term < term && **index > log.purged && log.term_of(**index) != Some(entry.term)
    });
    lacking.map(|(index, entry)| {
        format!(
            "member {id} leads in term {term} without entry {index} of term {}, which member {} had applied",
            entry.term, entry.of
        )
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::invariants::state_machine_safety::Entry;

    #[test]
    fn who_leads_has_what_was_committed_before() {
        let committed: Committed = (1..=3)
            .map(|index| {
                let entry = Entry {
                    of: 1,
                    term: if index == 3 { 2 } else { 1 },
                    payload: Bytes::new(),
                };
                (index, entry)
            })
            .collect();
        let log = |purged, indices: &[(u64, u64)]| OnDisk {
            records: indices
                .iter()
                .map(|(index, term)| (*index, (*term, Bytes::new())))
                .collect(),
            purged,
        };
        for (term, log, is_whole) in [
            (2, log(0, &[(1, 1), (2, 1)]), true),
            (2, log(1, &[(2, 1)]), true),
            (3, log(0, &[(1, 1), (2, 1), (3, 2)]), true),
            // What it lost, or has in place of it.
            (2, log(0, &[(1, 1)]), false),
            (3, log(0, &[(1, 1), (2, 1)]), false),
            (3, log(1, &[(2, 2), (3, 2)]), false),
        ] {
            let found = lacks(2, term, &log, &committed);
            assert_eq!(found.is_none(), is_whole, "{term} {log:?}: {found:?}");
        }
    }
}
