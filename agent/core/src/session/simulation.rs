//! One agent, one controller that others may have captured, a network that drops, a disk that fails, crashes: in any
//! order that chance makes.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use proptest::prelude::*;
use verger_policy::set::PolicySet;

use super::*;
use crate::sealed::{People, host, next, start, workload, zone};
use crate::store::memory::MemoryDisk;
use crate::store::{LedgerDelta, LedgerStore as _};

#[derive(Clone, Debug)]
enum Step {
    /// People seal the next set; a controller that is connected offers it.
    Publish(u32),
    /// The controller offers an older set that it kept.
    Replay(usize),
    /// The controller offers the current set with a body or an entry left out, or a foreign seal.
    Tamper(u8),
    /// The next message down, or up, arrives.
    Down,
    Up,
    /// The connection breaks, with all that is on the way.
    Break,
    /// The attempt that was ordered succeeds.
    Connect,
    /// The disk finishes, or fails, the write in flight.
    Commit,
    Fail,
    /// And so what is kept beside the ledger.
    Keep,
    KeepNot,
    /// The process dies, before or after the write in flight reached the disk.
    Crash(bool),
    /// Time passes.
    Wait(u64),
    Heartbeat,
    Status,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u32..4).prop_map(Step::Publish),
        1 => (0_usize..20).prop_map(Step::Replay),
        1 => (0_u8..3).prop_map(Step::Tamper),
        6 => Just(Step::Down),
        4 => Just(Step::Up),
        1 => Just(Step::Break),
        3 => Just(Step::Connect),
        4 => Just(Step::Commit),
        1 => Just(Step::Fail),
        4 => Just(Step::Keep),
        1 => Just(Step::KeepNot),
        1 => any::<bool>().prop_map(Step::Crash),
        1 => (0_u64..50_000).prop_map(Step::Wait),
        1 => Just(Step::Heartbeat),
        1 => Just(Step::Status),
    ]
}

struct World {
    people: People,
    sets: Vec<Arc<PolicySet>>,
    disk: MemoryDisk,
    session: Session,
    writing: Option<LedgerDelta>,
    beside: Beside,
    keeping: Option<Beside>,
    ordered: bool,
    up: bool,
    down: VecDeque<Incoming>,
    upward: VecDeque<Outgoing>,
    nonce: u64,
    acknowledged: Option<u64>,
    millis: u64,
    highest: u64,
}

impl World {
    fn new() -> Self {
        let people = People::new(1);
        let agent = "h1".parse().unwrap();
        let (ledger, delta) =
            LedgerState::found(agent, &people.trust_root.cluster_id(), &people.envelope).unwrap();
        let disk = MemoryDisk::new(0);
        disk.commit(&delta).unwrap();
        let empty = Arc::new(PolicySet::empty());
        let first = next(
            &empty,
            [host("h1", "a"), host("h2", "b"), workload("pay/web", "a", 1)].concat(),
        );
        Self {
            people,
            sets: vec![empty, first],
            disk,
            session: Session::new(
                ledger,
                Beside::default(),
                Freshness::default(),
                Timing::default(),
                3,
            ),
            writing: None,
            beside: Beside::default(),
            keeping: None,
            ordered: false,
            up: false,
            down: VecDeque::new(),
            upward: VecDeque::new(),
            nonce: 0,
            acknowledged: None,
            millis: 0,
            highest: 0,
        }
    }

    fn current(&self) -> u64 {
        self.sets.last().unwrap().epoch()
    }

    fn give(&mut self, event: Event) {
        for action in self.session.on(
            Now {
                millis: self.millis,
                wall: start(),
            },
            event,
        ) {
            match action {
                Action::Connect { .. } => {
                    assert!(!self.ordered && !self.up, "one connection at a time");
                    self.ordered = true;
                }
                Action::Close { .. } => self.cut(),
                Action::Persist(delta) => {
                    assert!(self.writing.is_none(), "one write at a time");
                    self.writing = Some(*delta);
                }
                Action::Keep(beside) => {
                    assert!(self.keeping.is_none(), "one write at a time");
                    self.keeping = Some(beside);
                }
                Action::Know(_) => {}
                Action::Adopt(ledger) => self.holds(ledger.position()),
                Action::Send(message) => {
                    assert!(self.up, "nothing is sent into the void");
                    match message {
                        Outgoing::Ack { epoch, root, .. } => self.keeps((epoch, root)),
                        Outgoing::Hello(Hello {
                            epoch,
                            root: Some(root),
                        }) => self.keeps((epoch, root)),
                        Outgoing::Hello(_) | Outgoing::Nack { .. } | Outgoing::Status => {}
                    }
                    self.upward.push_back(message);
                }
            }
        }
        let image = self.disk.load().unwrap();
        assert!(image.highest_epoch >= self.highest, "an epoch never goes back");
        self.highest = image.highest_epoch;
    }

    /// What the agent claims is what its disk holds.
    fn holds(&self, position: Option<(u64, Digest)>) {
        let on_disk = self
            .disk
            .load()
            .unwrap()
            .set
            .map(|set| (set.head.epoch, set.head.root));
        assert_eq!(on_disk, position, "claimed is what is on disk");
        let (epoch, root) = position.unwrap();
        assert_eq!(
            self.sets[usize::try_from(epoch).unwrap()].root(),
            root,
            "and what people sealed"
        );
    }

    /// What the agent tells a controller is beside the ledger, too: nothing takes it back.
    fn keeps(&self, position: (u64, Digest)) {
        self.holds(Some(position));
        let kept = self.beside.floor.map(|floor| (floor.epoch, floor.root));
        assert_eq!(kept, Some(position), "told is what is kept");
    }

    fn cut(&mut self) {
        (self.up, self.ordered) = (false, false);
        self.down.clear();
        self.upward.clear();
    }

    fn offer(&mut self, set: usize, base_epoch: u64, change: impl FnOnce(&mut SetUpdate)) {
        if !self.up {
            return;
        }
        let mut update = self.people.update(&self.sets[set], &zone("a"), base_epoch);
        change(&mut update);
        self.nonce += 1;
        self.down.push_back(Incoming::Set {
            nonce: self.nonce,
            update,
        });
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Publish(uid) => {
                self.sets
                    .push(next(self.sets.last().unwrap(), workload("pay/web", "a", *uid)));
                if let Some(base) = self.acknowledged {
                    self.offer(self.sets.len() - 1, base, |_| {});
                }
            }
            Step::Replay(set) => self.offer(1 + set % (self.sets.len() - 1), 0, |_| {}),
            Step::Tamper(how) => self.offer(self.sets.len() - 1, 0, |update| match how {
                0 => drop(update.bodies.pop()),
                1 => drop(update.entries.pop()),
                _ => update.seal = People::new(2).envelope,
            }),
            Step::Down => {
                if let Some(message) = self.down.pop_front() {
                    self.give(Event::Message(message));
                }
            }
            Step::Up => self.hear(),
            Step::Break if self.up || self.ordered => {
                self.cut();
                self.give(Event::Disconnected { retry_after: None });
            }
            Step::Connect if self.ordered => {
                (self.up, self.ordered, self.acknowledged) = (true, false, None);
                self.give(Event::Connected);
            }
            Step::Commit => {
                if let Some(delta) = self.writing.take() {
                    self.disk.commit(&delta).unwrap();
                    self.give(Event::LedgerCommitted);
                }
            }
            Step::Fail => {
                if self.writing.take().is_some() {
                    self.give(Event::LedgerFailed { why: "no".to_owned() });
                }
            }
            Step::Keep => {
                if let Some(beside) = self.keeping.take() {
                    self.beside = beside;
                    self.give(Event::Kept);
                }
            }
            Step::KeepNot => {
                if self.keeping.take().is_some() {
                    self.give(Event::NotKept { why: "no".to_owned() });
                }
            }
            Step::Crash(written) => {
                if let Some(delta) = self.writing.take().filter(|_| *written) {
                    self.disk.commit(&delta).unwrap();
                }
                if let Some(beside) = self.keeping.take().filter(|_| *written) {
                    self.beside = beside;
                }
                self.cut();
                let ledger = LedgerState::restore("h1".parse().unwrap(), self.disk.load().unwrap()).unwrap();
                self.session = Session::new(
                    ledger,
                    self.beside,
                    Freshness::default(),
                    Timing::default(),
                    self.millis,
                );
                assert_eq!(
                    self.session.ledger().set_back(),
                    None,
                    "a crash looks like no ledger that was set back"
                );
                self.give(Event::Tick);
            }
            Step::Wait(millis) => {
                self.millis += millis;
                self.give(Event::Tick);
            }
            Step::Heartbeat if self.up => self.down.push_back(Incoming::Heartbeat {
                epoch: self.current(),
                stamp: None,
            }),
            Step::Status => self.give(Event::StatusChanged),
            Step::Break | Step::Connect | Step::Heartbeat => {}
        }
    }

    /// The controller reads what the agent says, and sends what differs.
    fn hear(&mut self) {
        match self.upward.pop_front() {
            Some(Outgoing::Hello(Hello { epoch, .. })) => {
                self.acknowledged = Some(epoch);
                if epoch < self.current() {
                    self.offer(self.sets.len() - 1, epoch, |_| {});
                }
            }
            Some(Outgoing::Ack { epoch, .. }) => self.acknowledged = Some(epoch),
            Some(Outgoing::Nack { .. } | Outgoing::Status) | None => {}
        }
    }

    /// Lets everything work for long enough: honest controller, whole network, good disk.
    fn settle(&mut self) {
        for _ in 0..400 {
            for step in [
                Step::Connect,
                Step::Up,
                Step::Heartbeat,
                Step::Down,
                Step::Commit,
                Step::Keep,
                Step::Wait(1_000),
            ] {
                self.take(&step);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Never an ACK of what is not on disk, in the ledger and beside it, never an epoch back, never two writes at once; and in the end the agent
    /// has what people sealed last.
    #[test]
    fn whatever_happens_the_agent_is_truthful_and_converges(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        world.give(Event::Tick);
        for step in &steps {
            world.take(step);
        }
        world.settle();
        let last = world.sets.last().unwrap();
        prop_assert_eq!(world.session.position(), Some((last.epoch(), last.root())));
        prop_assert_eq!(world.acknowledged, Some(last.epoch()));
    }
}
