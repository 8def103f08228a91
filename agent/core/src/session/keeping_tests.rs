#![allow(clippy::unwrap_used)]

use jiff::{SignedDuration, Timestamp};

use super::tests::{Fixture, at, sent};
use super::*;
use crate::freshness::FRESH_FOR;
use crate::ledger::Floor;
use crate::sealed::{People, start, zone};

/// The words of what stands.
fn standing(session: &Session, kind: Kind) -> Vec<&'static str> {
    let standing = session.offers().since(kind, u64::MAX);
    standing.map(|(word, _)| word).collect()
}

fn failed() -> Event {
    Event::NotKept {
        why: "the disk is full".to_owned(),
    }
}

impl Fixture {
    /// What comes of it, with nothing kept by itself.
    fn says(&mut self, millis: u64, event: Event) -> Vec<String> {
        sent(&self.session.on(at(millis), event))
    }

    /// An agent whose ledger holds this set, with this beside it, as it begins.
    fn beginning(people: People, epoch: usize, beside: Beside) -> Self {
        let mut at = Self::of(people);
        let ledger = (**at.session.ledger()).clone();
        let ledger = match epoch {
            0 => ledger,
            held => {
                let update = at.people.update(&at.sets[held], &zone("a"), 0);
                offer(&ledger, &update, start()).unwrap().next
            }
        };
        at.session = Session::new(ledger, beside, Freshness::default(), Timing::default(), 1);
        at
    }

    fn floor(&self, epoch: usize) -> Beside {
        let floor = Some(Floor {
            trust_root: 1,
            epoch: self.sets[epoch].epoch(),
            root: self.sets[epoch].root(),
        });
        Beside {
            floor,
            ..Beside::default()
        }
    }

    fn heartbeat(&self, epoch: u64, stamped: usize, at: Timestamp, members: &[u8]) -> Event {
        let stamp = Some(self.people.stamp(&self.sets[stamped], at, members));
        Event::Message(Incoming::Heartbeat { epoch, stamp })
    }
}

fn members() -> People {
    People::with_members(1, &[1, 2, 3])
}

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

#[test]
fn a_set_is_acknowledged_once_it_is_in_the_ledger_and_beside_it() {
    let mut at = Fixture::new();
    at.connect(0);
    let offer = at.offer(1, 1);
    assert_eq!(at.says(1, offer), ["persist 1"]);
    assert_eq!(at.says(2, Event::LedgerCommitted), ["adopt 1", "keep 1"]);
    assert_eq!(at.says(3, Event::Kept), ["ack 1 epoch 1"]);
    assert!(at.says(4, Event::Kept).is_empty());
}

#[test]
fn what_cannot_be_kept_is_a_nack_and_stands_until_it_is_kept_and_acknowledged() {
    let mut at = Fixture::new();
    at.connect(0);
    let offer = at.offer(1, 1);
    at.says(1, offer);
    at.says(2, Event::LedgerCommitted);
    assert_eq!(at.says(3, failed()), ["nack 1 floor"]);
    assert_eq!(standing(&at.session, Kind::Unkept), ["floor"]);
    assert_eq!(standing(&at.session, Kind::Set), Vec::<&str>::new());
    let again = at.session.deadline().unwrap();
    assert_eq!(again, 3 + Timing::default().keep_again);
    assert!(at.says(again - 1, Event::Tick).is_empty());
    assert_eq!(at.says(again, Event::Tick), ["keep 1"]);
    assert!(
        at.session.deadline() > Some(again),
        "nothing is due while it is written"
    );
    assert!(at.says(again, failed()).is_empty(), "it was said");
    let again = at.session.deadline().unwrap();
    assert_eq!(at.says(again, Event::Tick), ["keep 1"]);
    assert_eq!(at.says(again, Event::Kept), ["ack 1 epoch 1"]);
    assert_eq!(standing(&at.session, Kind::Unkept), Vec::<&str>::new());
}

#[test]
fn what_is_not_kept_is_not_claimed_on_another_connection() {
    let mut at = Fixture::new();
    at.connect(0);
    let offer = at.offer(1, 1);
    at.says(1, offer.clone());
    at.says(2, Event::LedgerCommitted);
    at.says(3, failed());
    at.says(4, Event::Disconnected { retry_after: None });
    assert_eq!(at.says(5, Event::Connected), ["hello 0", "status"]);
    assert_eq!(
        at.says(6, offer.clone()),
        ["keep 1"],
        "an offer is worth another try"
    );
    assert_eq!(at.says(7, failed()), ["nack 1 floor"]);
    assert_eq!(at.says(8, offer), ["keep 1"]);
    assert_eq!(at.says(9, Event::Kept), ["ack 1 epoch 1"]);
    at.says(10, Event::Disconnected { retry_after: None });
    assert_eq!(at.says(11, Event::Connected), ["hello 1", "status"]);
}

#[test]
fn an_offer_waits_for_what_is_being_kept() {
    let mut at = Fixture::new();
    at.connect(0);
    let (first, second) = (at.offer(1, 1), at.offer(2, 2));
    at.says(1, first);
    at.says(2, Event::LedgerCommitted);
    assert!(at.says(3, second).is_empty());
    assert_eq!(at.says(4, Event::Kept), ["ack 1 epoch 1", "persist 2"]);
    at.says(5, Event::LedgerCommitted);
    let third = at.offer(3, 3);
    at.says(6, third);
    assert_eq!(at.says(7, failed()), ["nack 2 floor", "persist 3"]);
    assert_eq!(at.says(8, Event::LedgerCommitted), ["adopt 3", "keep 3"]);
    assert_eq!(at.says(9, Event::Kept), ["ack 3 epoch 3"]);
}

#[test]
fn a_ledger_that_cannot_be_written_is_known_until_it_is() {
    let mut at = Fixture::new();
    at.connect(0);
    let why = "disk full".to_owned();
    let first = at.offer(1, 1);
    at.on(1, first.clone());
    assert_eq!(at.says(2, Event::LedgerFailed { why }), ["nack 1 ledger"]);
    assert_eq!(standing(&at.session, Kind::Unkept), ["ledger"]);
    at.on(3, first);
    assert_eq!(standing(&at.session, Kind::Unkept), ["ledger"]);
    at.on(4, Event::LedgerCommitted);
    assert_eq!(standing(&at.session, Kind::Unkept), Vec::<&str>::new());
}

#[test]
fn a_crash_between_the_two_writes_takes_nothing_back_and_looks_like_no_attack() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.floor(1), fixture.floor(2));
    let mut at = Fixture::beginning(People::new(1), 2, first);
    assert_eq!(at.session.ledger().set_back(), None);
    assert_eq!(at.says(0, Event::Tick), ["connect", "keep 2"]);
    assert_eq!(at.says(1, Event::Connected), ["hello 0", "status"]);
    at.says(2, Event::Kept);
    at.says(3, Event::Disconnected { retry_after: None });
    assert_eq!(at.says(4, Event::Connected), ["hello 2", "status"]);
    // In the other order the same crash could not be told from an older ledger that somebody put in this one's place.
    let at = Fixture::beginning(People::new(1), 1, second);
    assert_eq!(at.session.ledger().set_back(), second.floor);
}

#[test]
fn an_older_ledger_in_the_place_of_one_that_was_acknowledged_brings_nothing_back() {
    let beside = Fixture::new().floor(3);
    let mut at = Fixture::beginning(People::new(1), 1, beside);
    assert_eq!(at.connect(0).len(), 2, "nothing is written over what is known");
    let older = at.offer(1, 2);
    assert_eq!(at.says(1, older), ["nack 1 lower-epoch"]);
    // The benign twin: what it had accepted.
    let newest = at.offer(2, 3);
    assert_eq!(at.says(2, newest), ["persist 3"]);
    assert_eq!(at.says(3, Event::LedgerCommitted), ["adopt 3", "ack 2 epoch 3"]);
}

#[test]
fn what_was_beside_the_ledger_and_is_gone_is_doubted_until_members_say_that_nothing_newer_was_there() {
    let gone = Beside {
        doubted: true,
        ..Beside::default()
    };
    // The ledger was set back from the third set to the first.
    let mut at = Fixture::beginning(members(), 1, gone);
    assert_eq!(standing(&at.session, Kind::Doubt), ["floor"]);
    at.connect(0);
    let older = at.offer(1, 2);
    at.on(1, older);
    assert_eq!(at.says(2, Event::LedgerCommitted), ["adopt 2", "keep 2"]);
    at.says(2, Event::Kept);
    assert_eq!(
        standing(&at.session, Kind::Doubt),
        ["floor"],
        "another older one says nothing"
    );
    let newest = at.heartbeat(3, 3, after(60), &[1, 2]);
    at.on(60_000, newest);
    assert_eq!(standing(&at.session, Kind::Doubt), ["floor"]);
    let third = at.offer(2, 3);
    at.on(61_000, third);
    at.on(62_000, Event::LedgerCommitted);
    let confirmed = at.heartbeat(3, 3, after(120), &[1, 2]);
    at.on(120_000, confirmed);
    assert_eq!(standing(&at.session, Kind::Doubt), Vec::<&str>::new());
    // The benign twin: it is said all the same.
    let mut at = Fixture::beginning(members(), 3, gone);
    at.connect(0);
    let confirmed = at.heartbeat(3, 3, after(1), &[1, 2]);
    let said = at.session.on(super::tests::at(1_000), confirmed);
    let kept = said.iter().find_map(|action| match action {
        Action::Keep(beside) => Some(*beside),
        _ => None,
    });
    assert!(kept.is_some_and(|kept| !kept.doubted), "{said:?}");
    assert_eq!(standing(&at.session, Kind::Doubt), Vec::<&str>::new());
    assert_eq!(at.session.offers().since(Kind::Doubt, 0).count(), 1);
}

#[test]
fn a_stamp_that_no_honest_controller_passes_on_is_known_at_once_until_one_counts() {
    let mut at = Fixture::beginning(members(), 1, Beside::default());
    at.connect(0);
    let first = at.heartbeat(1, 1, after(0), &[1, 2]);
    at.on(0, first.clone());
    assert_eq!(standing(&at.session, Kind::Stamp), Vec::<&str>::new());
    for (word, old, members) in [
        ("older-stamp", -3_600, [1, 2].as_slice()),
        ("below-threshold", 5, &[1]),
    ] {
        let forged = at.heartbeat(1, 1, after(old), members);
        at.on(1_000, forged);
        assert_eq!(standing(&at.session, Kind::Stamp), [word]);
        at.on(2_000, first.clone());
        assert_eq!(
            standing(&at.session, Kind::Stamp),
            [word],
            "the last one again is no news"
        );
        let fresh = at.heartbeat(1, 1, after(10 + old.max(0)), &[1, 3]);
        at.on(10_000, fresh);
        assert_eq!(standing(&at.session, Kind::Stamp), Vec::<&str>::new());
    }
}

#[test]
fn a_controller_that_lags_behind_and_a_trust_root_on_its_way_are_no_trouble() {
    let mut at = Fixture::beginning(members(), 1, Beside::default());
    at.connect(0);
    let first = at.heartbeat(1, 1, after(0), &[1, 2]);
    at.on(0, first);
    let before = at.heartbeat(1, 1, after(-60), &[1, 2]);
    at.on(1_000, before);
    assert_eq!(standing(&at.session, Kind::Stamp), Vec::<&str>::new());
    let held = i64::try_from(FRESH_FOR / 1_000).unwrap();
    let ended = at.heartbeat(1, 1, after(-held), &[1, 2]);
    at.on(2_000, ended);
    assert_eq!(standing(&at.session, Kind::Stamp), ["older-stamp"]);
    let fresh = at.heartbeat(1, 1, after(3), &[1, 2]);
    at.on(3_000, fresh);
    // Members that this host does not know yet, with a set that it was not given yet.
    let later = at.heartbeat(2, 2, after(5), &[1]);
    at.on(5_000, later.clone());
    at.on(64_999, later.clone());
    assert_eq!(standing(&at.session, Kind::Stamp), Vec::<&str>::new());
    at.on(65_000, later);
    assert_eq!(
        standing(&at.session, Kind::Stamp),
        ["below-threshold"],
        "for as long as a set takes to come"
    );
}

#[test]
fn forged_stamps_between_good_ones_are_known_within_a_minute_and_then_at_once() {
    let mut at = Fixture::beginning(members(), 1, Beside::default());
    at.connect(0);
    // A controller that says it is ahead passes on one that a single member signed; and then what the members say, again and again.
    for second in (0..60).step_by(10) {
        let good = at.heartbeat(1, 1, after(second), &[1, 2]);
        at.on(second as u64 * 1_000, good);
        let forged = at.heartbeat(2, 2, after(second + 1), &[1]);
        at.on(second as u64 * 1_000 + 500, forged);
        assert_eq!(standing(&at.session, Kind::Stamp), Vec::<&str>::new());
    }
    for second in [61, 300, 900] {
        let good = at.heartbeat(1, 1, after(second), &[1, 2]);
        at.on(second as u64 * 1_000, good);
        assert_eq!(standing(&at.session, Kind::Stamp), Vec::<&str>::new());
        let forged = at.heartbeat(2, 2, after(second + 1), &[1]);
        at.on(second as u64 * 1_000 + 500, forged);
        assert_eq!(standing(&at.session, Kind::Stamp), ["below-threshold"]);
    }
}
