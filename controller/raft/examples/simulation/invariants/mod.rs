//! What holds of a cluster, whatever goes wrong: an invariant a file.

pub(crate) mod election_safety;
pub(crate) mod leader_completeness;
pub(crate) mod linearizability;
pub(crate) mod log_matching;
pub(crate) mod recovery;
pub(crate) mod state_machine_safety;
pub(crate) mod watches;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::logs::Logs;
use crate::world::Running;
use election_safety::Leaders;
use leader_completeness::Completeness;
use state_machine_safety::Applied;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    ElectionSafety,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    Linearizability,
    Watches,
    Recovery,
}

impl Invariant {
    pub(crate) const ALL: [Self; 7] = [
        Self::ElectionSafety,
        Self::LogMatching,
        Self::LeaderCompleteness,
        Self::StateMachineSafety,
        Self::Linearizability,
        Self::Watches,
        Self::Recovery,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ElectionSafety => "election safety",
            Self::LogMatching => "log matching",
            Self::LeaderCompleteness => "leader completeness",
            Self::StateMachineSafety => "state machine safety",
            Self::Linearizability => "linearizability",
            Self::Watches => "watches",
            Self::Recovery => "recovery",
        }
    }
}

/// What was broken, of each invariant the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken(pub(crate) BTreeMap<Invariant, String>);

impl Broken {
    pub(crate) fn add(&mut self, invariant: Invariant, found: Option<String>) {
        if let Some(found) = found {
            self.0.entry(invariant).or_insert(found);
        }
    }
}

/// What was seen of the members while they ran.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) leaders: Leaders,
    pub(crate) applied: Applied,
    completeness: Completeness,
    pub(crate) broken: Broken,
}

impl Seen {
    fn look(&mut self, running: &Running, logs: &Logs) {
        let leading = self.leaders.look(running);
        self.broken
            .add(Invariant::ElectionSafety, self.leaders.found.clone());
        self.applied.look(running, logs);
        self.broken
            .add(Invariant::StateMachineSafety, self.applied.found.clone());
        let found = self.completeness.look(&leading, self.applied.committed(), logs);
        self.broken.add(Invariant::LeaderCompleteness, found);
        self.broken.add(Invariant::LogMatching, logs.unmatched());
    }
}

/// Looks until nobody wants to know any more.
pub(crate) async fn watch(seen: Rc<RefCell<Seen>>, running: Running, logs: Logs) {
    loop {
        seen.borrow_mut().look(&running, &logs);
        sleep(LOOK).await;
    }
}
