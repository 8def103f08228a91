//! What holds at every instant: one leader in a term, and members that have applied as much are the same. And over all of them: whoever has
//! applied an entry has the one chain that there is after it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;
use verger_controller_raft::Checkpoint;
use verger_controller_state::State;

use crate::world::Running;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);

/// What was seen, and the first thing that may not be.
#[derive(Default)]
pub(crate) struct Seen {
    leaders: BTreeMap<u64, u64>,
    /// By index and beginning, who was seen with it first.
    chains: BTreeMap<(u64, u64), (u64, Checkpoint)>,
    pub(crate) found: Option<String>,
}

impl Seen {
    pub(crate) fn leaders(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// After how many entries chains were compared.
    pub(crate) fn chains(&self) -> u64 {
        self.chains.len() as u64
    }

    fn look(&mut self, running: &Running) {
        let mut states: BTreeMap<u64, (u64, State)> = BTreeMap::new();
        for (id, member) in running.all() {
            let standing = member.standing();
            if standing.leader == Some(id) && member.is_leading() {
                let before = *self.leaders.entry(standing.term).or_insert(id);
                if before != id {
                    self.found.get_or_insert(format!(
                        "members {before} and {id} both lead in term {}",
                        standing.term
                    ));
                }
            }
            for at in member.chain().into_iter().chain(member.checkpoints()) {
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
}

/// Looks until something may not be, or nobody wants to know any more.
pub(crate) async fn watch(seen: Rc<RefCell<Seen>>, running: Running) {
    while seen.borrow().found.is_none() {
        seen.borrow_mut().look(&running);
        sleep(LOOK).await;
    }
}
