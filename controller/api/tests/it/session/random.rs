//! Any changes against an agent that answers as it likes: what it is offered it can always put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use verger_policy::model::{AgentId, Labels, ObjectKey, PolicyObject};
use verger_policy::set::{Body, Entry, PolicySet};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_response::Message as Down;
use verger_wire::{FromWire as _, digest_bytes};

use crate::world::{Talk, World, host, workload};

const ZONES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    /// A workload in a zone, in a version.
    Workload(u8, usize, u8),
    /// The agent's host, or another's, moves to a zone.
    Host(bool, usize),
    /// A workload, or the agent's host, goes.
    Remove(u8),
    /// The agent looks at what was offered, and accepts or refuses it, or says nothing of it.
    Accept,
    Refuse,
    Ignore,
    /// Its connection breaks, and it comes back.
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    let zone = 0..ZONES.len();
    prop_oneof![
        6 => (0_u8..5, zone.clone(), 1_u8..4).prop_map(|(name, zone, version)| Step::Workload(name, zone, version)),
        2 => (any::<bool>(), zone).prop_map(|(own, zone)| Step::Host(own, zone)),
        1 => (0_u8..6).prop_map(Step::Remove),
        4 => Just(Step::Accept),
        2 => Just(Step::Refuse),
        2 => Just(Step::Ignore),
        1 => Just(Step::Break),
    ]
}

/// What an agent has in its ledger.
struct Agent {
    id: AgentId,
    held: PolicySet,
}

impl Agent {
    fn position(&self) -> (u64, bytes::Bytes) {
        match self.held.epoch() {
            0 => (0, bytes::Bytes::new()),
            epoch => (epoch, digest_bytes(&self.held.root())),
        }
    }

    /// Puts an offer together from what it brings and what is held, as agents do.
    fn assemble(&self, update: pb::SetUpdate) -> Result<PolicySet, TestCaseError> {
        let base = update.base_epoch;
        prop_assert!(
            base <= self.held.epoch(),
            "complete against {base}, held is {}",
            self.held.epoch()
        );
        let mut bodies: BTreeMap<ObjectKey, Arc<Body>> = BTreeMap::new();
        for body in update.bodies {
            let body = Arc::<Body>::from_wire(body).unwrap();
            bodies.insert(body.object().key(), body);
        }
        let parts: Vec<_> = update
            .entries
            .into_iter()
            .map(|entry| {
                let entry = Entry::from_wire(entry).unwrap();
                let held = self
                    .held
                    .body(&entry.key)
                    .filter(|body| body.digest() == entry.digest);
                let body = bodies.remove(&entry.key).or_else(|| held.cloned());
                (entry, body)
            })
            .collect();
        prop_assert!(bodies.is_empty(), "a body that no entry names");
        let set = PolicySet::assemble(update.epoch, parts).unwrap();
        let labels = self.labels(&set);
        let missing: Vec<_> = set
            .missing_for(&labels)
            .map(|entry| entry.key.to_string())
            .collect();
        prop_assert_eq!(
            missing,
            Vec::<String>::new(),
            "needed, and neither offered nor held"
        );
        Ok(set)
    }

    fn labels(&self, set: &PolicySet) -> Labels {
        set.host_labels(&self.id).cloned().unwrap_or_default()
    }

    fn accept(&mut self, set: &PolicySet) {
        self.held = set.narrowed_to(&self.labels(set));
    }
}

/// The newest offer on the way, whole; those before it are replaced, as a busy agent does.
async fn newest(talk: &mut Talk) -> Option<pb::SetUpdate> {
    let mut newest = None;
    while let Some(message) = talk.there().await {
        if let Down::Set(update) = message {
            newest = Some(update);
        }
    }
    newest
}

fn change(world: &World, step: &Step) {
    let put = |object: PolicyObject| world.run_change(&[object], &[]);
    match *step {
        Step::Workload(name, zone, version) => {
            put(workload(&format!("w{name}"), ZONES[zone], version.into()));
        }
        Step::Host(own, zone) => put(host(if own { "h1" } else { "h2" }, ZONES[zone])),
        Step::Remove(name) => {
            let key = if name == 5 {
                "Host/h1".to_owned()
            } else {
                format!("Workload/w{name}")
            };
            let there = world.log.state().set().entry(&key.parse().unwrap()).is_some();
            if there {
                world.run_change(&[], &[&key]);
            }
        }
        Step::Accept | Step::Refuse | Step::Ignore | Step::Break => {}
    }
}

async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let world = World::founded();
    world.enrol(&["h1"]);
    let mut agent = Agent {
        id: "h1".parse().unwrap(),
        held: PolicySet::empty(),
    };
    let mut talk = world.caller("agent/h1").hello(agent.position()).await;
    // In the end it takes what there is, unless it took that already.
    for step in steps.into_iter().chain([Step::Break, Step::Accept]) {
        change(&world, &step);
        match step {
            Step::Accept => {
                if let Some(update) = newest(&mut talk).await {
                    let set = agent.assemble(update)?;
                    agent.accept(&set);
                    talk.ack(0, agent.position()).await;
                }
            }
            Step::Refuse => {
                if let Some(update) = newest(&mut talk).await {
                    agent.assemble(update)?;
                    talk.nack(0, "expired", "").await;
                }
            }
            Step::Ignore => {
                if let Some(update) = newest(&mut talk).await {
                    agent.assemble(update)?;
                }
            }
            Step::Break => talk = world.caller("agent/h1").hello(agent.position()).await,
            Step::Workload(..) | Step::Host(..) | Step::Remove(_) => {}
        }
    }
    let state = world.log.state();
    prop_assert_eq!(
        (agent.held.epoch(), agent.held.root()),
        (state.set().epoch(), state.set().root())
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_offered_can_always_be_put_together(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(steps))?;
    }
}
