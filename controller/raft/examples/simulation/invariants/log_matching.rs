//! Where two logs have an entry of one index and term, they are the same up to it (Raft, Figure 3): looked at of every entry that comes to a
//! disk. The entry is what it is elsewhere, and so is the term of the one before it; up to the beginning that follows step by step.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Every entry that ever was on a disk.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    by_id: BTreeMap<(u64, u64), Entry>,
    pub(crate) found: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// Who had it first.
    of: u64,
    payload: Bytes,
    /// The term of the entry before it; not known where that was purged.
    after: Option<u64>,
}

impl Entries {
    /// Takes in an entry of a member's disk, and the term of the one before it there.
    pub(crate) fn has(&mut self, of: u64, (index, term): (u64, u64), payload: &Bytes, after: Option<u64>) {
        let Some(known) = self.by_id.get_mut(&(index, term)) else {
            let payload = payload.clone();
            self.by_id.insert((index, term), Entry { of, payload, after });
            return;
        };
        if known.payload != *payload {
            self.found.get_or_insert(format!(
                "members {} and {of} have different entries {index} of term {term}",
                known.of
            ));
        }
        match (known.after, after) {
            (Some(one), Some(other)) if one != other => {
                self.found.get_or_insert(format!(
                    "before entry {index} of term {term} member {} has one of term {one}, and member {of} one of term {other}",
                    known.of
                ));
            }
            (None, _) => known.after = after,
            _ => {}
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.by_id.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_index_and_term_are_one_and_come_after_the_same() {
        let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
        let entries = |second: (u64, &Bytes, Option<u64>)| {
            let mut entries = Entries::default();
            entries.has(1, (7, 2), &one, Some(1));
            let (term, payload, after) = second;
            entries.has(2, (7, term), payload, after);
            entries.found
        };
        for same in [(2, &one, Some(1)), (2, &one, None), (3, &other, Some(2))] {
            assert_eq!(entries(same), None, "{same:?}");
        }
        assert!(
            entries((2, &other, Some(1)))
                .unwrap()
                .contains("different entries 7")
        );
        assert!(entries((2, &one, Some(2))).unwrap().contains("before entry 7"));
    }
}
