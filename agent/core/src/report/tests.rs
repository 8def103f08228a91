#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use proptest::prelude::*;
use verger_policy::finding::Transition;

use super::*;
use crate::store::conformance::transition;
use crate::store::memory::MemoryDisk;
use crate::store::{Round, SpoolStore as _};

fn pace() -> Pace {
    Pace {
        batch: 3,
        window: 5,
        ..Pace::default()
    }
}

fn numbered(from: u64, to: u64) -> Vec<Numbered> {
    (from..=to)
        .map(|sequence| Numbered {
            sequence,
            transition: transition(sequence),
        })
        .collect()
}

fn load(from: u64, max: usize) -> ReportAction {
    ReportAction::Load {
        from,
        max,
        max_bytes: Pace::default().batch_bytes,
    }
}

fn told(sequence: u64) -> ReportEvent {
    ReportEvent::Acknowledged {
        sequence,
        chain: None,
    }
}

fn forget(sequence: u64) -> ReportAction {
    ReportAction::Forget {
        sequence,
        chain: None,
    }
}

fn send(batch: Vec<Numbered>) -> ReportAction {
    ReportAction::Send { batch, anew: false }
}

fn up(acknowledged: u64, last: u64) -> (Report, Vec<ReportAction>) {
    let usage = SpoolUsage {
        acknowledged,
        next_sequence: last + 1,
        ..SpoolUsage::default()
    };
    let mut report = Report::new(&usage, pace(), 1);
    assert_eq!(
        report.on(0, ReportEvent::Tick),
        [ReportAction::Connect { after: 0 }]
    );
    let said = report.on(0, ReportEvent::Connected);
    (report, said)
}

#[test]
fn batches_fill_the_window_and_no_more() {
    let (mut report, said) = up(0, 9);
    assert_eq!(said, [load(1, 3)]);
    assert_eq!(
        report.on(1, ReportEvent::Loaded(numbered(1, 3))),
        [send(numbered(1, 3)), load(4, 2)]
    );
    assert_eq!(
        report.on(2, ReportEvent::Loaded(numbered(4, 5))),
        [send(numbered(4, 5))]
    );
    assert_eq!(report.in_flight(), 5);
    assert!(
        report.on(3, ReportEvent::Spooled { last: 12 }).is_empty(),
        "the window is full"
    );
    let said = report.on(4, told(3));
    assert_eq!(said, [forget(3), load(6, 3)]);
}

#[test]
fn what_was_not_acknowledged_is_sent_again_from_the_first() {
    let (mut report, _) = up(0, 4);
    report.on(1, ReportEvent::Loaded(numbered(1, 3)));
    report.on(2, told(1));
    assert!(matches!(
        report.on(3, ReportEvent::Disconnected { retry_after: None })[..],
        [ReportAction::Connect { .. }]
    ));
    assert!(
        report.on(4, ReportEvent::Connected).is_empty(),
        "a read is still under way"
    );
    assert_eq!(
        report.on(5, ReportEvent::Loaded(numbered(4, 4))),
        [load(2, 3)],
        "and is of no use any more"
    );
    assert_eq!(
        report.on(6, ReportEvent::Loaded(numbered(2, 4))),
        [send(numbered(2, 4))]
    );
}

#[test]
fn a_controller_that_asks_for_time_gets_it() {
    let (mut report, _) = up(0, 4);
    let said = report.on(
        1,
        ReportEvent::Disconnected {
            retry_after: Some(30_000),
        },
    );
    assert!(
        matches!(said[..], [ReportAction::Connect { after }] if after >= 30_000),
        "{said:?}"
    );
    // An attempt that is still waiting is not taken for one that hangs.
    assert!(report.deadline().is_some_and(|at| at > 30_001));
}

#[test]
fn a_controller_that_knows_more_than_was_sent_is_believed_up_to_what_was_written() {
    let (mut report, _) = up(0, 4);
    let said = report.on(1, told(2));
    assert_eq!(said, [forget(2)], "it had them before this process began");
    assert_eq!(report.on(2, ReportEvent::Loaded(numbered(1, 3))), [load(3, 2)]);
    let said = report.on(3, told(5));
    assert!(matches!(
        said[..],
        [
            ReportAction::Contradiction {
                acknowledged: 5,
                last: 4,
                other_chain: false,
            },
            ReportAction::Close { .. },
            ReportAction::Connect { .. }
        ]
    ));
}

#[test]
fn a_controller_that_acknowledges_nothing_is_left() {
    let (mut report, _) = up(0, 1);
    assert_eq!(report.deadline(), None);
    report.on(10, ReportEvent::Loaded(numbered(1, 1)));
    assert_eq!(report.deadline(), Some(30_010));
    assert!(report.on(30_009, ReportEvent::Tick).is_empty());
    assert!(matches!(
        report.on(30_010, ReportEvent::Tick)[..],
        [ReportAction::Close { .. }, ReportAction::Connect { .. }]
    ));
}

#[test]
fn a_spool_that_cannot_be_read_does_not_spin() {
    let (mut report, _) = up(0, 1);
    let said = report.on(1, ReportEvent::Loaded(Vec::new()));
    assert!(
        matches!(
            said[..],
            [ReportAction::Close { .. }, ReportAction::Connect { .. }]
        ),
        "{said:?}"
    );
}

#[test]
fn where_numbers_contradict_each_other_everything_is_told_anew_after_both() {
    // The controller holds more than was ever written here; less than it acknowledged.
    for (held, after) in [(9, 9), (1, 4)] {
        let (mut report, _) = up(3, 4);
        let said = report.on(1, told(held));
        assert!(
            matches!(said[0], ReportAction::Contradiction { acknowledged, last: 4, .. } if acknowledged == held),
            "{said:?}"
        );
        // Nothing is told under old numbers meanwhile, and no second beginning is ordered.
        report.on(2, ReportEvent::Connected);
        let late = report.on(3, ReportEvent::Loaded(numbered(4, 4)));
        let sends = |said: &[ReportAction]| {
            said.iter()
                .any(|action| matches!(action, ReportAction::Send { .. }))
        };
        let again = report.on(4, told(held));
        let loads = |said: &[ReportAction]| {
            said.iter()
                .any(|action| matches!(action, ReportAction::Load { .. }))
        };
        assert!(again.is_empty() && !loads(&late), "{late:?} {again:?}");
        let mut said = late;
        said.extend(report.on(
            5,
            ReportEvent::BegunAnew {
                acknowledged: after,
                last: after + 4,
            },
        ));
        assert!(said.contains(&load(after + 1, 3)), "{said:?}");
        // The stream begins with what is held, which is still of before.
        let early = report.on(6, told(held.min(after)));
        assert!(early.is_empty(), "{early:?}");
        let first = numbered(after + 1, after + 3);
        let said = report.on(6, ReportEvent::Loaded(first.clone()));
        assert!(
            said.contains(&ReportAction::Send {
                batch: first,
                anew: true
            }),
            "{said:?}"
        );
        let rest = numbered(after + 4, after + 4);
        let said = report.on(7, ReportEvent::Loaded(rest.clone()));
        assert!(
            said.contains(&send(rest)) && sends(&said),
            "only the first: {said:?}"
        );
        let said = report.on(8, told(after + 4));
        assert!(said.contains(&forget(after + 4)), "{said:?}");
    }
}

#[test]
fn what_was_taken_in_anew_is_not_set_back_unnoticed() {
    let (mut report, _) = up(3, 4);
    report.on(1, told(9));
    let begun = ReportEvent::BegunAnew {
        acknowledged: 9,
        last: 11,
    };
    report.on(2, begun);
    report.on(3, ReportEvent::Connected);
    report.on(4, ReportEvent::Loaded(numbered(10, 11)));
    report.on(5, told(10));
    let said = report.on(6, told(9));
    assert!(matches!(said[0], ReportAction::Contradiction { .. }), "{said:?}");
}

#[test]
fn a_beginning_that_could_not_be_written_is_tried_again() {
    let (mut report, _) = up(3, 4);
    report.on(1, told(9));
    report.on(2, ReportEvent::NotBegun);
    report.on(3, ReportEvent::Connected);
    let said = report.on(4, told(9));
    assert!(matches!(said[0], ReportAction::Contradiction { .. }), "{said:?}");
}

fn told_with(sequence: u64, chain: &[u8]) -> ReportEvent {
    ReportEvent::Acknowledged {
        sequence,
        chain: Some(Digest::of(chain)),
    }
}

fn signs(said: &[ReportAction]) -> bool {
    said.iter()
        .any(|action| matches!(action, ReportAction::Sign { anew: false, .. }))
}

#[test]
fn a_chain_that_the_controller_says_is_compared_also_where_there_is_nothing_to_forget() {
    let (mut report, _) = up(3, 4);
    let compare = |sequence| ReportAction::Forget {
        sequence,
        chain: Some(Digest::of(b"c")),
    };
    assert_eq!(report.on(1, told_with(3, b"c")), [compare(3)]);
    report.on(2, ReportEvent::Loaded(numbered(4, 4)));
    assert!(report.on(3, told_with(4, b"c")).contains(&compare(4)));
}

#[test]
fn another_chain_under_the_same_numbers_is_a_contradiction_and_everything_is_told_anew() {
    let (mut report, _) = up(3, 4);
    report.on(1, told_with(3, b"other"));
    let said = report.on(2, ReportEvent::OtherChain { sequence: 3 });
    let contradiction = ReportAction::Contradiction {
        acknowledged: 3,
        last: 4,
        other_chain: true,
    };
    assert!(
        matches!(&said[..], [first, ReportAction::Close { .. }, ReportAction::Connect { .. }] if *first == contradiction),
        "{said:?}"
    );
    assert!(report.on(3, ReportEvent::OtherChain { sequence: 3 }).is_empty());
    let begun = ReportEvent::BegunAnew {
        acknowledged: 4,
        last: 6,
    };
    report.on(4, begun);
    report.on(5, ReportEvent::Connected);
    // It still holds what it held, at the very number that is next: that is known, and no second contradiction.
    let said = report.on(6, told_with(4, b"other"));
    assert!(
        !said
            .iter()
            .any(|action| matches!(action, ReportAction::Forget { .. })),
        "{said:?}"
    );
}

#[test]
fn what_stands_is_signed_once_the_controller_is_heard_and_then_once_in_a_while() {
    let (mut report, said) = up(4, 4);
    assert!(said.is_empty() && report.deadline().is_none(), "not heard yet");
    assert!(signs(&report.on(10, told(4))));
    assert_eq!(report.deadline(), Some(60_010));
    assert!(!signs(&report.on(60_009, ReportEvent::Tick)));
    assert!(signs(&report.on(60_010, ReportEvent::Tick)));
    // With a batch that reaches the end of the spool it goes as well.
    report.on(70_000, ReportEvent::Spooled { last: 5 });
    assert_eq!(report.deadline(), None, "first what waits");
    report.on(70_001, ReportEvent::Loaded(numbered(5, 5)));
    assert!(!signs(&report.on(70_002, told(5))));
    assert_eq!(report.deadline(), Some(130_001));
    // Each connection may be to another controller.
    report.on(70_003, ReportEvent::Disconnected { retry_after: None });
    report.on(80_000, ReportEvent::Connected);
    assert!(signs(&report.on(80_001, told(5))));
}

#[test]
fn where_nothing_is_left_to_tell_anew_that_is_signed_and_told() {
    let (mut report, _) = up(3, 3);
    report.on(1, told(9));
    let begun = ReportEvent::BegunAnew {
        acknowledged: 9,
        last: 9,
    };
    report.on(2, begun);
    report.on(3, ReportEvent::Connected);
    let said = report.on(4, told(9));
    assert!(
        said.contains(&ReportAction::Sign { last: 9, anew: true }),
        "{said:?}"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Spool(u64),
    Connect,
    Break,
    Load,
    Up,
    Down,
    Wait(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..6).prop_map(Step::Spool),
        3 => Just(Step::Connect),
        1 => Just(Step::Break),
        5 => Just(Step::Load),
        5 => Just(Step::Up),
        4 => Just(Step::Down),
        1 => (0_u64..20_000).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

/// An agent's spool, the machine, a network, and a controller that takes in each number once.
struct World {
    disk: MemoryDisk,
    report: Report,
    written: Vec<Transition>,
    taken: Vec<Transition>,
    now: u64,
    up: bool,
    ordered: bool,
    reading: Option<(u64, usize, usize)>,
    upward: VecDeque<Vec<Numbered>>,
    down: VecDeque<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            disk: MemoryDisk::new(1 << 30),
            report: Report::new(&MemoryDisk::new(1).usage().unwrap(), pace(), 1),
            written: Vec::new(),
            taken: Vec::new(),
            now: 0,
            up: false,
            ordered: false,
            reading: None,
            upward: VecDeque::new(),
            down: VecDeque::new(),
        }
    }

    fn cut(&mut self) {
        (self.up, self.ordered) = (false, false);
        self.upward.clear();
        self.down.clear();
    }

    fn give(&mut self, event: ReportEvent) {
        for action in self.report.on(self.now, event) {
            match action {
                ReportAction::Connect { .. } => {
                    assert!(!self.up && !self.ordered, "one connection at a time");
                    self.ordered = true;
                }
                ReportAction::Close { .. } => self.cut(),
                ReportAction::Load { from, max, max_bytes } => {
                    assert!(self.reading.is_none(), "one read at a time");
                    self.reading = Some((from, max, max_bytes));
                }
                ReportAction::Send { batch, anew } => {
                    assert!(!anew);
                    assert!(self.up && batch.len() <= pace().batch);
                    self.upward.push_back(batch);
                }
                ReportAction::Sign { last, anew } => {
                    assert!(!anew && self.up);
                    assert_eq!(
                        last,
                        u64::try_from(self.taken.len()).unwrap(),
                        "only of what was taken in"
                    );
                }
                ReportAction::Forget { sequence, .. } => {
                    assert!(
                        sequence <= u64::try_from(self.taken.len()).unwrap(),
                        "only what the controller has"
                    );
                    self.disk.acknowledge(sequence).unwrap();
                }
                ReportAction::Contradiction { .. } => panic!("nobody contradicts"),
            }
        }
        assert!(self.report.in_flight() <= pace().window);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Spool(count) => {
                let from = u64::try_from(self.written.len()).unwrap();
                let transitions: Vec<Transition> = (from..from + count).map(transition).collect();
                self.written.extend(transitions.clone());
                self.disk
                    .commit_round(&Round {
                        transitions,
                        ..Round::default()
                    })
                    .unwrap();
                self.give(ReportEvent::Spooled { last: from + count });
            }
            Step::Connect if self.ordered => {
                (self.up, self.ordered) = (true, false);
                self.give(ReportEvent::Connected);
            }
            Step::Break if self.up || self.ordered => {
                self.cut();
                self.give(ReportEvent::Disconnected { retry_after: None });
            }
            Step::Load => {
                if let Some((from, max, max_bytes)) = self.reading.take() {
                    let batch = self.disk.pending(from, max, max_bytes).unwrap();
                    self.give(ReportEvent::Loaded(batch));
                }
            }
            Step::Up => {
                let Some(batch) = self.upward.pop_front() else {
                    return;
                };
                for one in batch {
                    let known = u64::try_from(self.taken.len()).unwrap();
                    assert!(one.sequence <= known + 1, "numbers come without a gap");
                    if one.sequence == known + 1 {
                        self.taken.push(one.transition);
                    }
                }
                self.down.push_back(u64::try_from(self.taken.len()).unwrap());
            }
            Step::Down => {
                if let Some(sequence) = self.down.pop_front() {
                    self.give(told(sequence));
                }
            }
            Step::Wait(millis) => {
                self.now += millis;
                self.give(ReportEvent::Tick);
            }
            Step::Crash => {
                self.cut();
                self.reading = None;
                let usage = self.disk.usage().unwrap();
                self.report = Report::new(&usage, pace(), self.now);
                self.give(ReportEvent::Tick);
            }
            Step::Connect | Step::Break => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Nothing is lost, nothing is taken in twice or out of order, and in the end nothing waits.
    #[test]
    fn every_transition_arrives_exactly_once(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        world.give(ReportEvent::Tick);
        for step in &steps {
            world.take(step);
        }
        for _ in 0..600 {
            for step in [Step::Connect, Step::Load, Step::Up, Step::Down, Step::Wait(200)] {
                world.take(&step);
            }
        }
        prop_assert_eq!(&world.taken, &world.written);
        prop_assert_eq!(world.disk.usage().unwrap().pending(), 0);
        prop_assert_eq!(world.report.in_flight(), 0);
    }
}
