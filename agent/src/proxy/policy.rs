//! The policy that decides, as the ledger holds it now.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use verger_agent_core::ledger::LedgerState;
use verger_agent_proxy::Policy;
use verger_policy::compile::compile;
use verger_policy::model::{Labels, PolicyObject};
use verger_policy::roles::CompiledRoles;

/// What a policy was made of: the epoch and root of the set, the labels of the host, and whether it is behind.
type Made = (Option<(u64, verger_policy::digest::Digest)>, Labels, bool);

/// The policy, made anew when the ledger changes.
pub(super) struct InForce {
    ledger: watch::Receiver<Arc<LedgerState>>,
    held: Mutex<Option<(Made, Arc<Policy>)>>,
}

impl InForce {
    pub(super) fn new(ledger: watch::Receiver<Arc<LedgerState>>) -> Self {
        Self {
            ledger,
            held: Mutex::default(),
        }
    }

    /// The policy now.
    pub(super) fn now(&self) -> Arc<Policy> {
        let ledger = Arc::clone(&self.ledger.borrow());
        let made = (
            ledger.position(),
            ledger.host_labels(),
            ledger.set_back().is_some(),
        );
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((of, policy)) if *of == made => Arc::clone(policy),
            _ => {
                let policy = Arc::new(policy(&ledger));
                *held = Some((made, Arc::clone(&policy)));
                policy
            }
        }
    }
}

fn policy(ledger: &LedgerState) -> Policy {
    let host = ledger.host_labels();
    let set = ledger.set();
    let objects: Vec<&PolicyObject> = set.into_iter().flat_map(|set| set.objects()).collect();
    let epoch = ledger.position().map_or(0, |(epoch, _)| epoch);
    let withheld = match (ledger.set_back(), set) {
        (Some(floor), _) => Some(format!(
            "the policy that this host holds is older than what it had accepted (epoch {}): its ledger was lost or set back. Until a controller has sent what is newer, root may look, and nothing else is done",
            floor.epoch
        )),
        (None, None) => Some(
            "this host has no policy yet: until a controller has sent one, root may look, and nothing else is done".to_owned(),
        ),
        (None, Some(_)) => None,
    };
    Policy {
        compiled: compile(objects.iter().copied(), &host, epoch),
        roles: CompiledRoles::compile(objects),
        host,
        withheld,
    }
}
