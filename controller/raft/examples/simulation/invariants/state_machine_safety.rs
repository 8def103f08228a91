//! Nobody applies another entry at an index than anybody else (Raft, Figure 3), and who applied as much is the same: the entries by the logs,
//! the states by themselves where two members stand at one revision, and the way they came to it by the chain over their changes.

use std::collections::BTreeMap;

use bytes::Bytes;
use verger_controller_raft::Checkpoint;
use verger_controller_state::State;

use crate::logs::Logs;
use crate::world::Running;

/// An entry that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// By whom first.
    pub(crate) of: u64,
    pub(crate) term: u64,
    pub(crate) payload: Bytes,
}

/// Those that were applied, by index.
pub(crate) type Committed = BTreeMap<u64, Entry>;

/// What was applied by whom.
#[derive(Default)]
pub(crate) struct Applied {
    committed: Committed,
    /// Up to where each member had applied, and up to where its log was looked at for that.
    reached: BTreeMap<u64, u64>,
    looked: BTreeMap<u64, u64>,
    /// By index and beginning, who was seen with it first.
    chains: BTreeMap<(u64, u64), (u64, Checkpoint)>,
    pub(crate) found: Option<String>,
}

impl Applied {
    pub(crate) const fn committed(&self) -> &Committed {
        &self.committed
    }

    /// After how many entries chains were compared.
    pub(crate) fn chains(&self) -> u64 {
        self.chains.len() as u64
    }

    pub(crate) fn look(&mut self, running: &Running, logs: &Logs) {
        let mut states: BTreeMap<u64, (u64, State)> = BTreeMap::new();
        let mut moved = false;
        for (id, member) in running.all() {
            let applied = member.read(State::revision);
            let before = self.reached.insert(id, applied);
            moved |= before != Some(applied);
            self.takes(id, applied, logs);
            for at in member.chain().into_iter().chain(member.checkpoints()) {
                self.chain(id, at);
            }
        }
        // Nobody moved: they are as they were.
        if !moved {
            return;
        }
        for (id, member) in running.all() {
            let state = member.read(State::clone);
            let revision = state.revision();
            match states.get(&revision) {
                Some((other, same)) if *same != state => {
                    self.found
                        .get_or_insert(format!("members {other} and {id} are not the same at {revision}"));
                }
                Some(_) => {}
                None => drop(states.insert(revision, (id, state))),
            }
        }
    }

    /// Takes from a member's log what it has applied since it was looked at. Of what it applied again after a crash it is asked again.
    fn takes(&mut self, of: u64, applied: u64, logs: &Logs) {
        let from = self.looked.get(&of).map_or(0, |looked| *looked.min(&applied));
        let Some(records) = logs.of(of, |log| log.applied(from..=applied)) else {
            return;
        };
        self.looked.insert(of, applied);
        for (index, (term, payload)) in records {
            self.entry(index, Entry { of, term, payload });
        }
    }

    fn entry(&mut self, index: u64, entry: Entry) {
        let Some(known) = self.committed.get(&index) else {
            self.committed.insert(index, entry);
            return;
        };
        if known.term != entry.term || known.payload != entry.payload {
            self.found.get_or_insert(format!(
                "member {} applied another entry {index} (term {}) than member {} (term {})",
                entry.of, entry.term, known.of, known.term
            ));
        }
    }

    fn chain(&mut self, id: u64, at: Checkpoint) {
        let (other, before) = *self.chains.entry((at.index, at.from)).or_insert((id, at));
        if before != at {
            self.found.get_or_insert(format!(
                "after entry {} the chain of member {id} is {}, and that of member {other} was {}",
                at.index,
                at.hex(),
                before.hex()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_applied_at_an_index_is_one_entry() {
        let entry = |of, term, payload: &'static [u8]| Entry {
            of,
            term,
            payload: Bytes::from_static(payload),
        };
        for (other, is_safe) in [
            (entry(2, 1, b"one"), true),
            (entry(2, 1, b"other"), false),
            (entry(2, 2, b"one"), false),
        ] {
            let mut applied = Applied::default();
            applied.entry(7, entry(1, 1, b"one"));
            applied.entry(7, other.clone());
            assert_eq!(applied.found.is_none(), is_safe, "{other:?}");
        }
    }

    #[test]
    fn a_chain_after_an_entry_is_one() {
        let at = |from, first| Checkpoint {
            index: 9,
            from,
            chain: [first; 32],
        };
        let mut applied = Applied::default();
        for (id, at) in [(1, at(0, 1)), (2, at(0, 1)), (3, at(5, 2))] {
            applied.chain(id, at);
        }
        assert_eq!((applied.found.clone(), applied.chains()), (None, 2));
        applied.chain(3, at(0, 2));
        assert!(applied.found.unwrap().contains("the chain of member 3"));
    }
}
