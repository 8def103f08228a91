#![allow(clippy::unwrap_used)]

use super::*;
use crate::sealed::{People, host, next, start, workload, zone};
use verger_policy::set::PolicySet;

pub(super) fn at(millis: u64) -> Now {
    Now {
        millis,
        wall: start(),
    }
}

pub(super) struct Fixture {
    pub(super) people: People,
    pub(super) sets: Vec<Arc<PolicySet>>,
    pub(super) session: Session,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::of(People::new(1))
    }

    pub(super) fn of(people: People) -> Self {
        let agent = "h1".parse().unwrap();
        let (ledger, _) =
            LedgerState::found(agent, &people.trust_root.cluster_id(), &people.envelope).unwrap();
        let mut sets = vec![Arc::new(PolicySet::empty())];
        sets.push(next(
            &sets[0],
            [host("h1", "a"), workload("pay/web", "a", 1)].concat(),
        ));
        for uid in 2..6 {
            sets.push(next(sets.last().unwrap(), workload("pay/web", "a", uid)));
        }
        Self {
            people,
            sets,
            session: Session::new(
                ledger,
                Beside::default(),
                Freshness::new(at(0), None),
                Timing::default(),
                1,
            ),
        }
    }

    pub(super) fn offer(&self, nonce: u64, epoch: usize) -> Event {
        let update = self.people.update(&self.sets[epoch], &zone("a"), 0);
        Event::Message(Incoming::Set { nonce, update })
    }

    /// What comes of it, where what is to be kept beside the ledger is kept at once.
    pub(super) fn on(&mut self, millis: u64, event: Event) -> Vec<Action> {
        let mut all = self.session.on(at(millis), event);
        while let Some(place) = all.iter().position(|action| matches!(action, Action::Keep(_))) {
            all.remove(place);
            all.extend(self.session.on(at(millis), Event::Kept));
        }
        all
    }

    pub(super) fn connect(&mut self, millis: u64) -> Vec<Action> {
        self.on(millis, Event::Tick);
        self.on(millis, Event::Connected)
    }
}

/// What is sent, in words.
pub(super) fn sent(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .map(|action| match action {
            Action::Connect { .. } => "connect".to_owned(),
            Action::Close { .. } => "close".to_owned(),
            Action::Send(Outgoing::Hello(hello)) => format!("hello {}", hello.epoch),
            Action::Send(Outgoing::Ack { nonce, epoch, .. }) => format!("ack {nonce} epoch {epoch}"),
            Action::Send(Outgoing::Nack { nonce, reason, .. }) => format!("nack {nonce} {reason}"),
            Action::Send(Outgoing::Status) => "status".to_owned(),
            Action::Persist(delta) => {
                format!("persist {}", delta.set.as_ref().map_or(0, |set| set.head.epoch))
            }
            Action::Know(_) => "know".to_owned(),
            Action::Keep(beside) => format!("keep {}", beside.floor.map_or(0, |floor| floor.epoch)),
            Action::Adopt(ledger) => format!("adopt {}", ledger.position().map_or(0, |(epoch, _)| epoch)),
        })
        .collect()
}

#[test]
fn the_ledger_comes_before_the_ack() {
    let mut at = Fixture::new();
    assert_eq!(sent(&at.connect(0)), ["hello 0", "status"]);
    let offer = at.offer(1, 1);
    assert_eq!(sent(&at.on(1, offer)), ["persist 1"]);
    assert_eq!(at.session.position(), None, "what is not on disk is not policy");
    assert_eq!(
        sent(&at.on(2, Event::LedgerCommitted)),
        ["adopt 1", "ack 1 epoch 1"]
    );
    assert!(at.on(3, Event::LedgerCommitted).is_empty());
}

#[test]
fn the_latest_offer_waits_for_the_write_in_flight() {
    let mut at = Fixture::new();
    at.connect(0);
    for (nonce, epoch) in [(1, 1), (2, 2), (3, 3)] {
        let offer = at.offer(nonce, epoch);
        let said = sent(&at.on(nonce, offer));
        assert_eq!(said.len(), usize::from(nonce == 1), "one write at a time");
    }
    assert_eq!(
        sent(&at.on(5, Event::LedgerCommitted)),
        ["adopt 1", "ack 1 epoch 1", "persist 3"]
    );
    assert_eq!(
        sent(&at.on(6, Event::LedgerCommitted)),
        ["adopt 3", "ack 3 epoch 3"]
    );
}

#[test]
fn a_failed_write_is_a_nack_and_the_last_good_set_stays() {
    let mut at = Fixture::new();
    at.connect(0);
    let offer = at.offer(1, 1);
    at.on(1, offer);
    assert_eq!(
        sent(&at.on(
            2,
            Event::LedgerFailed {
                why: "disk full".to_owned()
            }
        )),
        ["nack 1 ledger"]
    );
    assert_eq!(at.session.position(), None);
    let offer = at.offer(2, 1);
    assert_eq!(
        sent(&at.on(3, offer)),
        ["persist 1"],
        "and the same offer may come again"
    );
}

#[test]
fn a_refusal_names_its_reason() {
    let mut at = Fixture::new();
    at.connect(0);
    let mut update = at.people.update(&at.sets[1], &zone("a"), 0);
    update.seal = People::new(9).seal(&at.sets[1]);
    let said = at.on(1, Event::Message(Incoming::Set { nonce: 7, update }));
    assert_eq!(sent(&said), ["nack 7 wrong-key"]);
}

#[test]
fn an_answer_never_goes_to_another_connection() {
    let mut at = Fixture::new();
    at.connect(0);
    let offer = at.offer(1, 1);
    at.on(1, offer);
    assert_eq!(
        sent(&at.on(2, Event::Disconnected { retry_after: None })),
        ["connect"]
    );
    assert_eq!(
        sent(&at.on(3, Event::Connected)),
        ["hello 0", "status"],
        "what is not yet on disk is not claimed"
    );
    let offer = at.offer(1, 1);
    assert!(at.on(4, offer).is_empty());
    assert_eq!(
        sent(&at.on(5, Event::LedgerCommitted)),
        ["adopt 1", "ack 1 epoch 1"],
        "to the second offer, once"
    );
}

#[test]
fn an_offer_that_lacks_a_body_asks_for_all_once() {
    let mut at = Fixture::new();
    at.connect(0);
    let offer = at.offer(1, 1);
    at.on(1, offer);
    at.on(2, Event::LedgerCommitted);
    let mut lacking = at.people.update(&at.sets[2], &zone("a"), 0);
    lacking.bodies.retain(|(key, _)| key.to_string() == "Host/h1");
    let lacking = Event::Message(Incoming::Set {
        nonce: 2,
        update: lacking,
    });
    assert_eq!(
        sent(&at.on(3, lacking.clone())),
        ["nack 2 missing-body", "close", "connect"]
    );
    assert_eq!(sent(&at.on(4, Event::Connected)), ["hello 0", "status"]);
    assert_eq!(
        sent(&at.on(5, lacking)),
        ["nack 2 missing-body"],
        "and does not spin"
    );
    let offer = at.offer(3, 2);
    at.on(6, offer);
    at.on(7, Event::LedgerCommitted);
    at.on(8, Event::Disconnected { retry_after: None });
    assert_eq!(sent(&at.on(9, Event::Connected)), ["hello 2", "status"]);
}

#[test]
fn silence_and_slow_attempts_end_in_another_attempt() {
    let mut at = Fixture::new();
    at.connect(1_000);
    at.on(
        20_000,
        Event::Message(Incoming::Heartbeat {
            epoch: 0,
            stamp: None,
        }),
    );
    assert_eq!(at.session.deadline(), Some(65_000));
    assert!(at.on(64_999, Event::Tick).is_empty());
    assert_eq!(sent(&at.on(65_000, Event::Tick)), ["close", "connect"]);
    let until = at.session.deadline().unwrap();
    assert!(at.on(until - 1, Event::Tick).is_empty());
    assert_eq!(sent(&at.on(until, Event::Tick)), ["close", "connect"]);
}

#[test]
fn a_controller_that_stays_ahead_is_asked_anew() {
    let mut at = Fixture::new();
    at.connect(0);
    let mut millis = 0;
    let closed = loop {
        millis += 10_000;
        assert!(millis < 300_000, "it never asks");
        at.on(
            millis,
            Event::Message(Incoming::Heartbeat {
                epoch: 4,
                stamp: None,
            }),
        );
        let said = sent(&at.on(millis, Event::Tick));
        if !said.is_empty() {
            break said;
        }
    };
    assert_eq!(closed, ["close", "connect"]);
    assert!(millis >= 120_000);
    at.on(millis, Event::Connected);
    let offer = at.offer(1, 4);
    at.on(millis, offer);
    at.on(millis, Event::LedgerCommitted);
    at.on(
        millis,
        Event::Message(Incoming::Heartbeat {
            epoch: 4,
            stamp: None,
        }),
    );
    assert_eq!(
        at.session.deadline(),
        Some(millis + 45_000),
        "level again: nothing to ask"
    );
}

#[test]
fn status_is_whole_coalesced_and_repeated_on_every_connection() {
    let mut at = Fixture::new();
    assert!(at.on(0, Event::StatusChanged).is_empty(), "nobody to tell");
    assert_eq!(sent(&at.connect(10)), ["hello 0", "status"]);
    for millis in 11..20 {
        assert!(at.on(millis, Event::StatusChanged).is_empty());
    }
    assert_eq!(at.session.deadline(), Some(260));
    assert_eq!(sent(&at.on(260, Event::Tick)), ["status"]);
    assert!(at.on(1_000, Event::Tick).is_empty());
    at.on(2_000, Event::Disconnected { retry_after: None });
    assert_eq!(sent(&at.on(2_001, Event::Connected)), ["hello 0", "status"]);
}

#[test]
fn a_controller_that_asks_for_time_gets_it() {
    let mut at = Fixture::new();
    at.connect(0);
    let said = at.on(
        1,
        Event::Disconnected {
            retry_after: Some(30_000),
        },
    );
    assert!(
        matches!(said.as_slice(), [Action::Connect { after }] if (30_000..=30_500).contains(after)),
        "{said:?}"
    );
}

fn refused(at: &Fixture) -> Vec<&'static str> {
    at.session
        .offers()
        .since(Kind::Set, u64::MAX)
        .map(|(word, _)| word)
        .collect()
}

#[test]
fn a_refusal_stands_until_a_set_is_accepted_or_the_held_one_is_offered_again() {
    let mut at = Fixture::new();
    at.connect(0);
    let offer = at.offer(1, 2);
    at.on(1, offer.clone());
    at.on(2, Event::LedgerCommitted);
    let older = at.offer(2, 1);
    assert_eq!(sent(&at.on(3, older.clone())), ["nack 2 lower-epoch"]);
    assert_eq!(refused(&at), ["lower-epoch"]);
    // Neither a heartbeat nor another connection says that it is over.
    at.on(
        4,
        Event::Message(Incoming::Heartbeat {
            epoch: 2,
            stamp: None,
        }),
    );
    at.on(5, Event::Disconnected { retry_after: None });
    at.on(6, Event::Connected);
    assert_eq!(refused(&at), ["lower-epoch"]);
    assert_eq!(sent(&at.on(7, offer)), ["ack 1 epoch 2"]);
    assert_eq!(refused(&at), Vec::<&str>::new());
    at.on(8, older);
    let next = at.offer(3, 3);
    at.on(9, next);
    assert_eq!(
        refused(&at),
        ["lower-epoch"],
        "what is not on disk is not accepted"
    );
    at.on(10, Event::LedgerCommitted);
    assert_eq!(refused(&at), Vec::<&str>::new());
}

#[test]
fn what_cannot_be_looked_at_is_refused_with_its_reason_too() {
    let mut at = Fixture::new();
    at.connect(0);
    let unread = Incoming::Unread {
        nonce: 4,
        reason: UNREADABLE,
        detail: "`seal` is missing".to_owned(),
    };
    assert_eq!(sent(&at.on(1, Event::Message(unread))), ["nack 4 unreadable"]);
    assert_eq!(refused(&at), ["unreadable"]);
    let offer = at.offer(5, 1);
    at.on(2, offer);
    at.on(3, Event::LedgerCommitted);
    assert_eq!(refused(&at), Vec::<&str>::new());
    let why = "too long".to_owned();
    assert_eq!(sent(&at.on(4, Event::Unreadable { why })), ["connect"]);
    assert_eq!(refused(&at), ["unreadable"]);
}

#[test]
fn a_controller_that_says_much_and_brings_nothing_is_left_alone_for_a_while() {
    let timing = Timing::default();
    let turns = u64::from(timing.turns);
    let mut at = Fixture::new();
    at.connect(0);
    let bad = at.people.update(&at.sets[1], &zone("b"), 0);
    let bad = |nonce| {
        let update = SetUpdate {
            epoch: 9,
            ..bad.clone()
        };
        Event::Message(Incoming::Set { nonce, update })
    };
    for nonce in 1..=turns {
        assert_eq!(
            sent(&at.on(0, bad(nonce))),
            [format!("nack {nonce} epoch-mismatch")]
        );
    }
    let said = at.on(0, bad(0));
    let [Action::Close { .. }, Action::Connect { after }] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert!(
        (timing.pause..=timing.pause + timing.backoff_base).contains(after),
        "{after}"
    );
    // One that people feed says as much, and is heard: every set that is written is worth a word.
    let mut at = Fixture::new();
    at.connect(0);
    for round in 0..turns {
        at.on(round, bad(1));
        let (epoch, nonce) = (at.sets.len(), 2 * round);
        let set = next(
            at.sets.last().unwrap(),
            workload("pay/web", "a", u32::try_from(round).unwrap()),
        );
        at.sets.push(set);
        let offer = at.offer(nonce, epoch);
        at.on(round, offer);
        let said = sent(&at.on(round, Event::LedgerCommitted));
        assert_eq!(said.last().unwrap(), &format!("ack {nonce} epoch {epoch}"));
    }
}
