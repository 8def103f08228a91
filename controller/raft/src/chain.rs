//! The chain over what a member applies: two that applied the same to the same have the same chain, whatever openraft gives them at once.
//!
//! It is over changes of rows, and not over rows: it says that members came to the same by the same way. A row that a disk lost shows as soon
//! as anything is decided by it.

use std::collections::VecDeque;

use sha2::{Digest as _, Sha256};
use verger_controller_store::RowOp;

use crate::codec::Mark;

/// Entries between two checkpoints.
pub const CHECKPOINT_EVERY: u64 = 1_000;
/// The chain begins anew after every entry whose index is a multiple of this: who came to know it late is then where the others are.
const ERA: u64 = 20_000;
/// Checkpoints that are kept: more than the log holds entries for, so that who is behind finds those it comes to.
const KEPT: usize = 32;
/// What is hashed of an entry begins with this.
const LABEL: &[u8] = b"verger/applied/1";

const _: () = assert!(ERA.is_multiple_of(CHECKPOINT_EVERY));

/// Where the chain of a member is after an entry. Two can be compared where `index` and `from` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The entry that was applied last.
    pub index: u64,
    /// The entry after which the chain began.
    pub from: u64,
    /// The chain: SHA-256 over the chain before, the entry's index and every change of a row that it made.
    pub chain: [u8; 32],
}

impl Checkpoint {
    /// Whether the two tell of the same entries.
    pub(crate) const fn is_beside(&self, other: &Self) -> bool {
        self.index == other.index && self.from == other.from
    }

    /// The chain in hex.
    pub fn hex(&self) -> String {
        self.chain.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A chain that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) from: u64,
    pub(crate) chain: [u8; 32],
}

/// The chain as it is kept with what was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Where it is; not known in what was written before there was one, until it begins anew.
    pub(crate) now: Option<Link>,
    /// Where the one before ended: who is started again can still say so.
    pub(crate) ended: Option<Checkpoint>,
}

impl Chain {
    /// Adds an entry and what it changed, in order. Says where the chain is then, where that is noted.
    pub(crate) fn add(&mut self, index: u64, changes: &[RowOp]) -> Option<Checkpoint> {
        if let Some(link) = &mut self.now {
            link.chain = linked(&link.chain, index, changes);
        }
        if !index.is_multiple_of(CHECKPOINT_EVERY) {
            return None;
        }
        let checkpoint = self.at(index);
        if index.is_multiple_of(ERA) {
            self.ended = checkpoint;
            self.now = None;
        }
        self.now.get_or_insert(Link {
            from: index,
            chain: [0; 32],
        });
        checkpoint
    }

    /// Where it is, of a member that has applied this last.
    pub(crate) fn at(&self, index: u64) -> Option<Checkpoint> {
        self.now
            .map(|Link { from, chain }| Checkpoint { index, from, chain })
    }
}

fn linked(before: &[u8; 32], index: u64, changes: &[RowOp]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(LABEL);
    hash.update(before);
    hash.update(index.to_be_bytes());
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for RowOp { tree, key, value } in changes {
        field(tree.as_bytes());
        field(key);
        match value {
            Some(value) => {
                field(&[1]);
                field(value);
            }
            None => field(&[0]),
        }
    }
    hash.finalize().into()
}

/// What others may ask of it.
#[derive(Debug)]
pub(crate) struct Noted {
    now: Option<Checkpoint>,
    kept: VecDeque<Checkpoint>,
}

impl Noted {
    /// What is known of a member that begins here: after a start, or with a snapshot.
    pub(crate) fn begin(mark: &Mark) -> Self {
        let Mark { applied, chain, .. } = mark;
        Self {
            now: applied.and_then(|id| chain.at(id.index)),
            kept: chain.ended.into_iter().collect(),
        }
    }

    /// Goes on to this index.
    pub(crate) fn go_on(&mut self, chain: &Chain, index: u64, checkpoints: Vec<Checkpoint>) {
        self.now = chain.at(index);
        self.kept.extend(checkpoints);
        let over = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..over);
    }

    pub(crate) const fn now(&self) -> Option<Checkpoint> {
        self.now
    }

    /// By index, the oldest first.
    pub(crate) fn kept(&self) -> Vec<Checkpoint> {
        self.kept.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec;

    fn put(key: &'static str, value: Option<&'static str>) -> RowOp {
        RowOp {
            tree: "hosts".to_owned(),
            key: Bytes::from(key),
            value: value.map(Bytes::from),
        }
    }

    /// A chain over so many entries without changes, and what was noted.
    fn run(chain: &mut Chain, entries: std::ops::RangeInclusive<u64>) -> Vec<Checkpoint> {
        entries.filter_map(|index| chain.add(index, &[])).collect()
    }

    #[test]
    fn the_chain_of_entries_never_changes() {
        let mut chain = Chain::default();
        chain.add(0, &[]);
        assert_eq!(chain.at(0).map(|at| (at.from, at.chain)), Some((0, [0; 32])));
        chain.add(1, &[put("a", Some("1")), put("b", None)]);
        let at = chain.at(1).expect("it is known");
        assert_eq!(
            at.hex(),
            "44dc47db289aee54386d547df3ed8909f144466463f4047f5ec36a0286deef3b"
        );
    }

    #[test]
    fn any_difference_in_what_was_applied_is_one_in_the_chain() {
        let chains = [
            vec![],
            vec![put("a", Some("1"))],
            vec![put("a", Some("2"))],
            vec![put("a", Some(""))],
            vec![put("a", None)],
            vec![put("a1", Some(""))],
            vec![put("a", Some("1")), put("b", None)],
            vec![put("b", None), put("a", Some("1"))],
        ]
        .map(|changes| linked(&[0; 32], 1, &changes));
        for (at, one) in chains.iter().enumerate() {
            assert!(!chains[..at].contains(one), "case {at}");
        }
        assert_ne!(linked(&[0; 32], 1, &[]), linked(&[0; 32], 2, &[]));
        assert_ne!(linked(&[0; 32], 1, &[]), linked(&[1; 32], 1, &[]));
        // What was different once stays so.
        let (mut one, mut other) = (Chain::default(), Chain::default());
        one.add(0, &[]);
        other.add(0, &[]);
        one.add(1, &[put("a", None)]);
        other.add(1, &[]);
        assert_ne!(run(&mut one, 2..=1_000), run(&mut other, 2..=1_000));
    }

    #[test]
    fn a_new_log_is_known_from_its_first_entry_and_noted_every_thousand() {
        let mut chain = Chain::default();
        let noted = run(&mut chain, 0..=3_500);
        let at: Vec<_> = noted.iter().map(|at| (at.index, at.from)).collect();
        assert_eq!(at, [(1_000, 0), (2_000, 0), (3_000, 0)]);
    }

    #[test]
    fn what_was_written_before_begins_at_the_next_thousand_and_comes_to_the_others_with_the_next_era() {
        let (mut old, mut new) = (Chain::default(), Chain::default());
        run(&mut new, 0..=2_500);
        let places =
            |noted: &[Checkpoint]| -> Vec<_> { noted.iter().map(|at| (at.index, at.from)).collect() };
        // At 3000 nothing is known yet, and nothing is said.
        let (of_old, of_new) = (run(&mut old, 2_501..=4_000), run(&mut new, 2_501..=4_000));
        assert_eq!(places(&of_old), [(4_000, 3_000)]);
        assert_eq!(places(&of_new), [(3_000, 0), (4_000, 0)]);
        assert!(!of_old[0].is_beside(&of_new[1]), "they cannot be compared");
        let (of_old, of_new) = (run(&mut old, 4_001..=21_000), run(&mut new, 4_001..=21_000));
        assert_eq!(
            of_new.last().map(|at| (at.index, at.from)),
            Some((21_000, 20_000))
        );
        assert_eq!(of_old.last(), of_new.last());
        assert_eq!(new.ended.map(|at| (at.index, at.from)), Some((20_000, 0)));
        assert_eq!(old.now, new.now);
    }

    #[test]
    fn of_many_checkpoints_the_newest_are_kept() {
        let mut chain = Chain::default();
        chain.add(0, &[]);
        let mark = |chain, index| Mark {
            applied: Some(codec::log_id(1, index)),
            chain,
            ..Mark::default()
        };
        let mut noted = Noted::begin(&mark(chain, 0));
        for index in 1..=50_000 {
            let new = chain.add(index, &[]);
            noted.go_on(&chain, index, new.into_iter().collect());
        }
        let kept = noted.kept();
        assert_eq!((kept.len(), kept[0].index), (KEPT, 19_000));
        assert_eq!(noted.now(), chain.at(50_000));
        // Who is started again says where the chain before ended.
        let again = Noted::begin(&mark(chain, 50_000));
        let ended = kept.iter().find(|at| at.index == 40_000).copied();
        assert_eq!(again.kept(), ended.into_iter().collect::<Vec<_>>());
        assert_eq!(again.now(), noted.now());
    }
}
