//! What an agent accepts. Rules over values: a set is policy on this host when the threshold of the trust root has
//! sealed it, it is whole for this host, and it does not go back.
//!
//! A controller can only deliver. It cannot forge or mix objects (the root is recomputed from the entries), drop one
//! that concerns this host (a missing body is a refusal; the host's labels come from the sealed set itself), or go
//! back to an older set.

mod floor;
mod refusal;

pub use floor::{Beside, Floor};
pub use refusal::{RefusedOffer, UnusableLedger};
pub use verger_seal::MAX_LATER_VERSIONS;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::model::{AgentId, Labels, ObjectKey};
use verger_policy::set::{Body, Entry, PolicySet};
use verger_seal::{Refusal, TrustRoot, follows, verify_set};

use crate::store::{LedgerDelta, LedgerImage, SetDelta, SetHead};

/// A set as a controller offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUpdate {
    /// The epoch the bodies are complete against; 0: all are here.
    pub base_epoch: u64,
    /// The set's epoch.
    pub epoch: u64,
    /// All entries.
    pub entries: Vec<Entry>,
    /// Canonical bytes of objects, each with the key it is said to be of.
    pub bodies: Vec<(ObjectKey, Vec<u8>)>,
    /// The seal's envelope.
    pub seal: Vec<u8>,
    /// Later versions of the trust root, in their order; those that are known already are passed over.
    pub trust_roots: Vec<Vec<u8>>,
}

/// What an agent has accepted, ready for use.
#[derive(Clone, Debug)]
pub struct LedgerState {
    agent: AgentId,
    trust_root: TrustRoot,
    highest_epoch: u64,
    /// What is known beside the ledger.
    floor: Option<Floor>,
    /// Epoch and root of a set that a person let this host jump to.
    confirmed: Option<(u64, Digest)>,
    held: Option<Held>,
}

#[derive(Clone, Debug)]
struct Held {
    head: SetHead,
    set: Arc<PolicySet>,
}

/// An offer that was good.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The state once `delta` is on disk; not before.
    pub next: LedgerState,
    /// What to persist; none when all of it is held already.
    pub delta: Option<LedgerDelta>,
}

impl LedgerState {
    /// Begins a ledger with the cluster's first trust root. `cluster_id` is what the person brought along in the join
    /// command: the trust root is not taken on a controller's word.
    ///
    /// # Errors
    /// When the envelope is not that of the trust root whose digest is `cluster_id`.
    pub fn found(
        agent: AgentId,
        cluster_id: &Digest,
        envelope: &[u8],
    ) -> Result<(Self, LedgerDelta), UnusableLedger> {
        let trust_root = TrustRoot::open_first(envelope).map_err(UnusableLedger::TrustRoot)?;
        if trust_root.cluster_id() != *cluster_id {
            let found = trust_root.cluster_id();
            return Err(UnusableLedger::OtherCluster {
                found,
                wanted: *cluster_id,
            });
        }
        let delta = LedgerDelta {
            trust_roots: vec![envelope.to_vec()],
            set: None,
        };
        Ok((
            Self {
                agent,
                trust_root,
                highest_epoch: 0,
                floor: None,
                confirmed: None,
                held: None,
            },
            delta,
        ))
    }

    /// Takes up what was on disk: verifies the seal over the set again, and that it is whole for this host. A seal past
    /// its time is taken (staleness never lifts enforcement, see [`Self::stale`]).
    ///
    /// # Errors
    /// When there is no trust root yet, or what is there would be refused as an offer for any reason but its age.
    pub fn restore(agent: AgentId, image: LedgerImage) -> Result<Self, UnusableLedger> {
        let LedgerImage {
            trust_roots,
            highest_epoch,
            set,
        } = image;
        let (first, later) = trust_roots.split_first().ok_or(UnusableLedger::NotEnrolled)?;
        let mut trust_root = TrustRoot::open_first(first).map_err(UnusableLedger::TrustRoot)?;
        for envelope in later {
            trust_root = trust_root.advance(envelope).map_err(UnusableLedger::TrustRoot)?;
        }
        let mut state = Self {
            agent,
            trust_root,
            highest_epoch,
            floor: None,
            confirmed: None,
            held: None,
        };
        let Some(set) = set else { return Ok(state) };
        let update = SetUpdate {
            base_epoch: 0,
            epoch: set.head.epoch,
            entries: set.entries.into_values().collect(),
            bodies: set.bodies.into_iter().collect(),
            seal: set.head.seal,
            trust_roots: Vec::new(),
        };
        if update.epoch != highest_epoch {
            return Err(UnusableLedger::EpochBack {
                held: update.epoch,
                highest: highest_epoch,
            });
        }
        state.held = Some(
            state
                .examine(&state.trust_root, &update, Timestamp::MIN)
                .map_err(UnusableLedger::Set)?,
        );
        Ok(state)
    }

    /// The same, with what is known beside it: nothing below that is accepted, whatever the ledger holds.
    #[must_use]
    pub fn above(self, floor: Option<Floor>) -> Self {
        Self { floor, ..self }
    }

    /// The same, where a person confirmed on this host that it may jump to this epoch with this root.
    #[must_use]
    pub fn confirming(self, confirmed: Option<(u64, Digest)>) -> Self {
        Self { confirmed, ..self }
    }

    /// Whether a set may follow what is known: within the bound, or as a person confirmed.
    fn may_follow(&self, known: Option<(u64, Digest)>, offered: (u64, Digest)) -> Result<(), Refusal> {
        match follows(known, offered) {
            Err(Refusal::EpochJump { .. }) if self.confirmed == Some(offered) => Ok(()),
            followed => followed,
        }
    }

    /// How far this host has come.
    pub fn reached(&self) -> Option<Floor> {
        let own = self.position().map(|(epoch, root)| Floor {
            trust_root: self.trust_root.version(),
            epoch,
            root,
        });
        [own, self.floor]
            .into_iter()
            .flatten()
            .max_by_key(|floor| (floor.epoch, floor.trust_root))
    }

    /// How far this host had come, where the ledger is behind that: it was lost, or set back.
    pub fn set_back(&self) -> Option<Floor> {
        let held = (self.trust_root.version(), self.position());
        self.floor.filter(|floor| {
            let (version, position) = held;
            version < floor.trust_root || position.map_or(0, |(epoch, _)| epoch) < floor.epoch
        })
    }

    /// The trust root in force.
    pub const fn trust_root(&self) -> &TrustRoot {
        &self.trust_root
    }

    /// The agent whose ledger it is.
    pub const fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// The cluster's identity.
    pub const fn cluster_id(&self) -> Digest {
        self.trust_root.cluster_id()
    }

    /// The version of the trust root in force.
    pub const fn trust_root_version(&self) -> u64 {
        self.trust_root.version()
    }

    /// Epoch and root of the set in force.
    pub fn position(&self) -> Option<(u64, Digest)> {
        self.held.as_ref().map(|held| (held.head.epoch, held.head.root))
    }

    /// The set in force, with the bodies that concern this host.
    pub fn set(&self) -> Option<&Arc<PolicySet>> {
        self.held.as_ref().map(|held| &held.set)
    }

    /// The sealed labels of this host; none where no `Host` object is about it.
    pub fn host_labels(&self) -> Labels {
        self.held
            .as_ref()
            .and_then(|held| held.set.host_labels(&self.agent).cloned())
            .unwrap_or_default()
    }

    /// Since when the seal of the set in force is past its time, if it is at `at`. To be raised; it lifts nothing.
    pub fn stale(&self, at: Timestamp) -> Option<Timestamp> {
        self.held
            .as_ref()
            .map(|held| held.head.not_after)
            .filter(|not_after| *not_after <= at)
    }

    /// Whether an offer has to be looked at at all is asked first: an unsigned byte is never parsed further.
    fn examine(
        &self,
        trust_root: &TrustRoot,
        update: &SetUpdate,
        at: Timestamp,
    ) -> Result<Held, RefusedOffer> {
        let sealed = verify_set(trust_root, &update.seal, at)?;
        let mut bodies = BTreeMap::new();
        for (key, bytes) in &update.bodies {
            let body = Body::from_canonical(bytes.clone()).map_err(|problem| RefusedOffer::NotCanonical {
                key: key.clone(),
                problem,
            })?;
            if body.object().key() != *key {
                return Err(RefusedOffer::MislabelledBody(key.clone()));
            }
            if bodies.insert(key, Arc::new(body)).is_some() {
                return Err(RefusedOffer::BodyTwice(key.clone()));
            }
        }
        let parts: Vec<_> = update
            .entries
            .iter()
            .map(|entry| {
                (
                    entry.clone(),
                    bodies.remove(&entry.key).or_else(|| self.held_body(entry)),
                )
            })
            .collect();
        if let Some(stray) = bodies.into_keys().next() {
            return Err(RefusedOffer::StrayBody(stray.clone()));
        }
        let set = PolicySet::assemble(update.epoch, parts)?;
        let root = set.root();
        sealed.matches(
            update.epoch,
            &root,
            u64::try_from(set.len()).expect("lengths fit"),
        )?;
        let labels = set.host_labels(&self.agent).cloned().unwrap_or_default();
        if let Some(missing) = set.missing_for(&labels).next() {
            return Err(RefusedOffer::MissingBody(missing.key.clone()));
        }
        let not_after = sealed.statement().not_after;
        let head = SetHead {
            epoch: update.epoch,
            root,
            not_after,
            seal: update.seal.clone(),
        };
        Ok(Held {
            head,
            set: Arc::new(set.narrowed_to(&labels)),
        })
    }

    fn held_body(&self, entry: &Entry) -> Option<Arc<Body>> {
        let set = &self.held.as_ref()?.set;
        set.body(&entry.key)
            .filter(|body| body.digest() == entry.digest)
            .cloned()
    }
}

/// Judges an offer. `at` is the time that seals are held against.
///
/// # Errors
/// Each reason with its stable word; the state stays what it was.
pub fn offer(state: &LedgerState, update: &SetUpdate, at: Timestamp) -> Result<Accepted, RefusedOffer> {
    // A set counts under the latest version only: what was sealed with keys that were given up is refused, whoever shows it.
    let (trust_root, taken) = state
        .trust_root
        .walk(update.trust_roots.iter().map(Vec::as_slice))
        .map_err(RefusedOffer::TrustRoot)?;
    let next = state.examine(&trust_root, update, at)?;
    let offered = (next.head.epoch, next.head.root);
    state.may_follow(state.position(), offered)?;
    if let Some(floor) = &state.floor {
        state.may_follow(Some((floor.epoch, floor.root)), offered)?;
        if trust_root.version() < floor.trust_root {
            let (found, wanted) = (trust_root.version(), floor.trust_root);
            return Err(Refusal::TrustRootVersion { found, wanted }.into());
        }
    }
    if next.head.epoch < state.highest_epoch {
        return Err(Refusal::LowerEpoch {
            offered: next.head.epoch,
            held: state.highest_epoch,
        }
        .into());
    }
    let held_already = state.held.as_ref().is_some_and(|held| {
        // The same set under an older or equal seal brings nothing; one that ends later is worth keeping.
        taken.is_empty()
            && held.head.epoch == next.head.epoch
            && held.head.not_after >= next.head.not_after
            && held.set == next.set
    });
    if held_already {
        return Ok(Accepted {
            next: state.clone(),
            delta: None,
        });
    }
    let delta = difference(state.held.as_ref().map(|held| &*held.set), &next);
    let next = LedgerState {
        highest_epoch: next.head.epoch,
        held: Some(next),
        trust_root,
        // It is there, or beyond: how far it may jump is counted from what it holds.
        floor: None,
        ..state.clone()
    };
    Ok(Accepted {
        next,
        delta: Some(LedgerDelta {
            trust_roots: taken.into_iter().map(<[u8]>::to_vec).collect(),
            set: Some(delta),
        }),
    })
}

/// What leads from the held set to the next, down to single entries and bodies.
fn difference(held: Option<&PolicySet>, next: &Held) -> SetDelta {
    let none = PolicySet::empty();
    let held = held.unwrap_or(&none);
    let set = &next.set;
    let entries = set
        .entries()
        .filter(|entry| held.entry(&entry.key) != Some(entry))
        .cloned()
        .collect();
    let is_gone = |key: &&ObjectKey| set.entry(key).is_none();
    let dropped_entries = held
        .entries()
        .map(|entry| &entry.key)
        .filter(is_gone)
        .cloned()
        .collect();
    let (mut bodies, mut dropped_bodies) = (BTreeMap::new(), BTreeSet::new());
    for (entry, body) in set.parts() {
        match (held.body(&entry.key), body) {
            (Some(old), Some(new)) if old.digest() == new.digest() => {}
            (_, Some(new)) => {
                bodies.insert(entry.key.clone(), new.bytes().to_vec());
            }
            (Some(_), None) => {
                dropped_bodies.insert(entry.key.clone());
            }
            (None, None) => {}
        }
    }
    SetDelta {
        head: next.head.clone(),
        entries,
        dropped_entries,
        bodies,
        dropped_bodies,
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
