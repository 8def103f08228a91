//! In a term at most one member leads (Raft, Figure 3).

use std::collections::BTreeMap;

use crate::world::Running;

/// Who led when.
#[derive(Default)]
pub(crate) struct Leaders {
    by_term: BTreeMap<u64, u64>,
    pub(crate) found: Option<String>,
}

impl Leaders {
    /// Gives who leads now, each with its term.
    pub(crate) fn look(&mut self, running: &Running) -> Vec<(u64, u64)> {
        let mut leading = Vec::new();
        for (id, member) in running.all() {
            let standing = member.standing();
            if standing.leader == Some(id) && member.is_leading() {
                leading.push((id, standing.term));
                self.leads(id, standing.term);
            }
        }
        leading
    }

    fn leads(&mut self, id: u64, term: u64) {
        let before = *self.by_term.entry(term).or_insert(id);
        if before != id {
            self.found
                .get_or_insert(format!("members {before} and {id} both lead in term {term}"));
        }
    }

    /// Terms in which somebody was seen to lead.
    pub(crate) fn count(&self) -> u64 {
        self.by_term.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_has_one_leader() {
        let mut leaders = Leaders::default();
        for (id, term) in [(1, 1), (1, 1), (2, 2), (1, 3)] {
            leaders.leads(id, term);
        }
        assert_eq!((leaders.found.clone(), leaders.count()), (None, 3));
        leaders.leads(3, 2);
        let found = leaders.found.unwrap();
        assert_eq!(found, "members 2 and 3 both lead in term 2");
    }
}
