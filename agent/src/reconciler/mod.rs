//! The reconciler: looks at the whole host, judges it, and keeps the findings. It takes no argument; events only wake it,
//! and the next activation is the retry.

mod blind_spots;
mod closing;
mod fresh_checks;
mod glass_checks;
mod host_checks;
mod kept_checks;
mod observation;
mod refused_sets;
mod status;
mod stray_checks;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use verger_agent_core::freshness::Freshness;
use verger_agent_core::ledger::LedgerState;
use verger_agent_core::mode::{Capabilities, effective_modes, unsupported_checks};
use verger_agent_core::runtime::{Runtime, RuntimeEvent};
use verger_agent_core::session::Offers;
use verger_agent_core::store::{Round as SpoolRound, SpoolStore, StoreError};
use verger_agent_runtimes::proc::{MountWatch, SETTLING_STEP};
use verger_policy::finding::{Lifecycle, Reconciled, Round, Table, reconcile};
use verger_policy::model::{RuleId, RuntimeKind};
use verger_policy::rules::{GATE_DRIFT, OTHER_DOORS, PAST_GATE, REFUSED_STAMP, ROOTLESS_RUNTIMES, UNWATCHED};
use verger_proto::agent::v1 as pb;

use crate::clock::Clock;
use crate::enforcement::Enforcement;
use crate::gate::filters::Filters;
use crate::gate::watching::Watched;
use crate::in_force::InForce;
use crate::launches::Launches;
use crate::report::Numbers;
use blind_spots::{BlindSpots, Looked, NOT_EVALUATED};
use closing::Closing;
use observation::Observation;
use refused_sets::{REFUSED_SET, RefusedSets};
use watches::Watches;

/// A runtime tells of an exec before its process is there: some 100 ms on a quiet host. Looks at these times after it
/// see the process soon, however long that takes within reason; after that the next scan does.
const AFTER_EXEC: [Duration; 3] = [
    Duration::from_millis(150),
    Duration::from_millis(450),
    Duration::from_millis(900),
];

/// What the reconciler needs of the rest of the agent.
pub(crate) struct ReconcilerPorts {
    /// Each of another kind.
    pub(crate) runtimes: Vec<Arc<dyn Runtime>>,
    pub(crate) spool: Arc<dyn SpoolStore>,
    pub(crate) mounts: MountWatch,
    pub(crate) mounts_changed: mpsc::Receiver<()>,
    pub(crate) ledger: watch::Receiver<Arc<LedgerState>>,
    pub(crate) status: watch::Sender<Arc<pb::Status>>,
    pub(crate) spooled: watch::Sender<u64>,
    pub(crate) contradiction: watch::Receiver<Numbers>,
    pub(crate) clock: Clock,
    pub(crate) freshness: watch::Receiver<Freshness>,
    pub(crate) offers: watch::Receiver<Offers>,
    pub(crate) doors: watch::Receiver<Watched>,
    /// The gate's folder, where gates are answered.
    pub(crate) gate_folder: Option<PathBuf>,
    /// The tripwire's record, where there is one.
    pub(crate) strays: Option<PathBuf>,
    pub(crate) enforcement: Enforcement,
    pub(crate) launches: Arc<Launches>,
    pub(crate) filters: Arc<Filters>,
}

/// The reconciler and what it remembers: caches, and the findings as they are on disk.
pub(crate) struct Reconciler {
    ports: ReconcilerPorts,
    scan_every: Duration,
    capabilities: Capabilities,
    observation: Observation,
    in_force: Option<InForce>,
    table: Table,
    blind: BlindSpots,
    refused: RefusedSets,
    closing: Closing,
    /// When to look again because of an exec; the soonest is last.
    after_exec: Vec<Instant>,
}

impl Reconciler {
    pub(crate) fn new(ports: ReconcilerPorts, scan_every: Duration) -> Result<Self, StoreError> {
        let table = ports.spool.findings()?;
        let capabilities = Capabilities::of_this_version().with_channels(ports.enforcement.capability());
        let observation = Observation::new(Arc::clone(&ports.launches), Arc::clone(&ports.filters));
        Ok(Self {
            ports,
            scan_every,
            capabilities,
            observation,
            in_force: None,
            table,
            blind: BlindSpots::default(),
            refused: RefusedSets::default(),
            closing: Closing::default(),
            after_exec: Vec::new(),
        })
    }

    /// Runs until stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut watch = Watches::of(&self.ports.runtimes);
        let mut scan = tokio::time::interval(self.scan_every);
        scan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = watch.next() => match event {
                    Some(event) => {
                        self.heard(&event);
                        // All that waits is answered by one look.
                        while let Some(Some(event)) = watch.next().now_or_never() {
                            self.heard(&event);
                        }
                    }
                    None => return,
                },
                () = tokio::time::sleep(SETTLING_STEP), if self.observation.is_unsettled() => {
                    self.settle().await;
                    continue;
                }
                woken = self.ports.mounts_changed.recv() => if woken.is_none() { return },
                changed = self.ports.ledger.changed() => if changed.is_err() { return },
                changed = self.ports.offers.changed() => if changed.is_err() { return },
                () = changed(&mut self.ports.doors) => {}
                () = after_exec(self.after_exec.last().copied()) => {
                    self.after_exec.pop();
                }
                _ = scan.tick() => {}
            }
            self.activate().await;
        }
    }

    fn heard(&mut self, event: &RuntimeEvent) {
        tracing::debug!(?event, "a runtime told of a change");
        if matches!(event, RuntimeEvent::Exec(_)) {
            let now = Instant::now();
            self.after_exec = AFTER_EXEC.iter().rev().map(|after| now + *after).collect();
        }
    }

    /// One look at everything.
    async fn activate(&mut self) {
        let ledger = Arc::clone(&self.ports.ledger.borrow_and_update());
        self.observation
            .look(&self.ports.runtimes, &self.ports.mounts)
            .await;
        self.conclude(&ledger).await;
    }

    /// One more look at young processes.
    async fn settle(&mut self) {
        if self.observation.settle().await {
            let ledger = Arc::clone(&self.ports.ledger.borrow());
            self.conclude(&ledger).await;
        }
    }

    /// Judges what was seen, and keeps what it means.
    ///
    /// What it says is of one epoch: the ledger may have moved on since the last look.
    async fn conclude(&mut self, ledger: &LedgerState) {
        self.compile(ledger);
        let now = self.ports.clock.now();
        let freshness = self.ports.freshness.borrow().clone();
        let at = freshness.time(now);
        let Some(InForce { compiled, wishes, .. }) = &self.in_force else {
            return;
        };
        let judgements = self.observation.judge(compiled, at);
        let closing = self
            .closing
            .round(&self.ports.enforcement, compiled, &self.observation)
            .await;
        let modes = effective_modes(wishes, &self.capabilities);
        let mut host = unsupported_checks(&modes);
        let numbers = *self.ports.contradiction.borrow();
        host.extend(host_checks::checks(
            ledger,
            self.observation.unreadable(),
            numbers,
            at,
        ));
        host.extend(closing);
        // Small files of this host's, by this host's clock.
        let here = jiff::Timestamp::now();
        if let Some(gate) = &self.ports.gate_folder {
            host.extend(glass_checks::check(gate, here));
        }
        if let Some(strays) = &self.ports.strays {
            host.extend(stray_checks::checks(strays, here));
        }
        host.extend(fresh_checks::checks(ledger, &freshness, now));
        let offers = self.ports.offers.borrow_and_update().clone();
        let position = ledger.position().map(|(epoch, _)| epoch);
        host.extend(
            self.refused
                .checks(&offers, position, &open_fields(&self.table, &REFUSED_SET)),
        );
        host.extend(kept_checks::checks(
            &offers,
            self.refused.seen(),
            &open_fields(&self.table, &REFUSED_STAMP.rule_id()),
            freshness.is_heard(),
        ));
        let open = [GATE_DRIFT, PAST_GATE, OTHER_DOORS, ROOTLESS_RUNTIMES, UNWATCHED]
            .map(|rule| (rule, open_fields(&self.table, &rule.rule_id())));
        host.extend(self.ports.doors.borrow_and_update().checks(&open));
        let unreadable: BTreeSet<RuntimeKind> = self.observation.unreadable().keys().copied().collect();
        let looked = Looked {
            judgements: &judgements,
            instances: self.observation.instances(),
            resting: self.observation.resting(),
            readable: unreadable.is_empty(),
            open: open_fields(&self.table, &NOT_EVALUATED),
        };
        host.extend(self.blind.checks(&looked, Instant::now()));
        let effective: BTreeMap<_, _> = modes
            .iter()
            .filter_map(|(control, mode)| Some((*control, mode.effective?)))
            .collect();
        let round = Round {
            cluster: ledger.cluster_id(),
            epoch: ledger.position().map_or(0, |(epoch, _)| epoch),
            at,
            judgements: &judgements,
            host: &host,
            unjudged: self.observation.resting(),
            unreadable: &unreadable,
            effective: &effective,
        };
        let reconciled = reconcile(&self.table, &round);
        // What could not be stored has not happened: the next round finds it again.
        if self.store(&reconciled).await {
            reconciled.carry_into(&mut self.table);
            self.refused.told(&offers);
        }
        let made = *self.ports.spooled.borrow();
        let status = status::status(ledger, &self.observation, &judgements, &modes, made, at);
        self.ports.status.send_if_modified(|held| {
            let differs = !status::is_same(held, &status);
            if differs {
                *held = Arc::new(status);
            }
            differs
        });
    }

    fn compile(&mut self, ledger: &LedgerState) {
        if self.in_force.as_ref().is_some_and(|held| held.is_of(ledger)) {
            return;
        }
        self.in_force = Some(InForce::of(ledger));
        self.observation.forget_judgements();
    }

    async fn store(&self, reconciled: &Reconciled) -> bool {
        let Reconciled {
            transitions,
            changed,
            counted: _,
            removed,
        } = reconciled;
        if transitions.is_empty() && changed.is_empty() && removed.is_empty() {
            return true;
        }
        let count = transitions.len() as u64;
        let round = SpoolRound {
            changed: changed.clone(),
            removed: removed.clone(),
            transitions: transitions.clone(),
        };
        let spool = Arc::clone(&self.ports.spool);
        match tokio::task::spawn_blocking(move || spool.commit_round(&round)).await {
            Ok(Ok(first)) => {
                self.ports.spooled.send_replace(first + count - 1);
                true
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "findings were not stored; they will be found again");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the storing task was lost; findings will be found again");
                false
            }
        }
    }
}

/// The fields of what is open of a rule.
fn open_fields(table: &Table, rule: &RuleId) -> BTreeSet<String> {
    let open = table
        .values()
        .filter(|finding| finding.lifecycle == Lifecycle::Open && finding.check.rule == *rule);
    open.map(|finding| finding.check.field.to_string()).collect()
}

/// Waits for a change; for ever where nobody will tell of one.
async fn changed<T>(seen: &mut watch::Receiver<T>) {
    if seen.changed().await.is_err() {
        pending().await
    }
}

async fn after_exec(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
