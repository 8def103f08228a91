//! The policy in force, as this host needs it.

use std::collections::BTreeMap;

use verger_agent_core::ledger::LedgerState;
use verger_policy::compile::{Compiled, compile};
use verger_policy::drift::wishes;
use verger_policy::model::{Control, Labels, Mode};

/// A set, compiled for this host.
pub(crate) struct InForce {
    /// Epoch of the set, and the labels it was compiled for.
    place: (u64, Labels),
    pub(crate) compiled: Compiled,
    /// What anything of it asks for, whether that runs now or not.
    pub(crate) wishes: BTreeMap<Control, Mode>,
}

impl InForce {
    /// Compiles what the ledger holds.
    pub(crate) fn of(ledger: &LedgerState) -> Self {
        let place = place(ledger);
        let compiled = match ledger.set() {
            Some(set) => compile(set.objects(), &place.1, place.0),
            None => compile([], &place.1, place.0),
        };
        Self {
            place,
            wishes: wishes(&compiled),
            compiled,
        }
    }

    /// Whether it is what the ledger holds.
    pub(crate) fn is_of(&self, ledger: &LedgerState) -> bool {
        self.place == place(ledger)
    }
}

fn place(ledger: &LedgerState) -> (u64, Labels) {
    (
        ledger.position().map_or(0, |(epoch, _)| epoch),
        ledger.host_labels(),
    )
}
