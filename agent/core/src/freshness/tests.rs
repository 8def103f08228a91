#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use verger_policy::set::PolicySet;

use super::*;
use crate::ledger::{Floor, offer};
use crate::sealed::{People, host, next, start, workload, zone};

const MINUTE: u64 = 60_000;

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

/// So many milliseconds into the run, by a clock that is right.
fn now(millis: u64) -> Now {
    wrong(millis, 0)
}

/// By a clock that is so many seconds ahead.
fn wrong(millis: u64, ahead: i64) -> Now {
    Now {
        millis,
        wall: later(after(ahead), millis),
    }
}

const TEN_YEARS: i64 = 10 * 365 * 86_400;

struct World {
    people: People,
    sets: Vec<Arc<PolicySet>>,
    ledger: LedgerState,
}

impl World {
    /// A host that holds the first of three sets, in a cluster of three members.
    fn new() -> Self {
        let people = People::with_members(1, &[1, 2, 3]);
        let empty = Arc::new(PolicySet::empty());
        let first = next(&empty, host("h1", "a"));
        let second = next(&first, workload("pay/web", "a", 1));
        let third = next(&second, workload("pay/web", "a", 2));
        let (ledger, _) = LedgerState::found(
            "h1".parse().unwrap(),
            &people.trust_root.cluster_id(),
            &people.envelope,
        )
        .unwrap();
        let mut world = Self {
            people,
            sets: vec![empty, first, second, third],
            ledger,
        };
        world.adopt(1);
        world
    }

    fn adopt(&mut self, epoch: usize) {
        let update = self.people.update(&self.sets[epoch], &zone("a"), 0);
        self.ledger = offer(&self.ledger, &update, start()).unwrap().next;
    }

    fn stamp(&self, epoch: usize, seconds: i64, members: &[u8]) -> Vec<u8> {
        self.people.stamp(&self.sets[epoch], after(seconds), members)
    }

    fn word(&self, freshness: &mut Freshness, stamp: &[u8], at: Now) -> Result<(), &'static str> {
        freshness
            .hear(&self.ledger, stamp, at)
            .map(drop)
            .map_err(|refused| refused.word())
    }
}

#[test]
fn a_set_is_fresh_for_as_long_as_a_stamp_holds_and_then_stale() {
    let world = World::new();
    let mut known = Freshness::new(now(0), None);
    assert_eq!(known.standing(&world.ledger, now(0)), Standing::NotHeard);
    let unheard = known.standing(&world.ledger, now(FRESH_FOR));
    assert_eq!(
        unheard,
        Standing::Stale {
            last: None,
            refused: None
        }
    );
    assert_eq!(
        world.word(&mut known, &world.stamp(1, 10, &[1, 2]), now(10_000)),
        Ok(())
    );
    assert_eq!(
        known.standing(&world.ledger, now(10_000 + FRESH_FOR - 1)),
        Standing::Fresh
    );
    let stale = known.standing(&world.ledger, now(10_000 + FRESH_FOR));
    assert_eq!(
        stale,
        Standing::Stale {
            last: Some(after(10)),
            refused: None
        }
    );
}

#[test]
fn a_freeze_shows_whatever_is_replayed() {
    let world = World::new();
    let mut known = Freshness::new(now(0), None);
    let recorded: Vec<_> = (1..4)
        .map(|minute| world.stamp(1, 60 * minute, &[2, 3]))
        .collect();
    for (minute, stamp) in (1..).zip(&recorded) {
        assert_eq!(world.word(&mut known, stamp, now(minute * MINUTE)), Ok(()));
    }
    // From here on all that was recorded is sent over and over, and what one captured member can sign itself.
    for minute in 4..20 {
        for stamp in &recorded[..2] {
            assert_eq!(
                world.word(&mut known, stamp, now(minute * MINUTE)),
                Err("older-stamp")
            );
        }
        assert_eq!(world.word(&mut known, &recorded[2], now(minute * MINUTE)), Ok(()));
        let alone = world.stamp(1, 60 * minute as i64, &[1]);
        assert_eq!(
            world.word(&mut known, &alone, now(minute * MINUTE)),
            Err("below-threshold")
        );
        let standing = known.standing(&world.ledger, now(minute * MINUTE));
        if minute < 8 {
            assert_eq!(standing, Standing::Fresh, "{minute}");
        } else {
            assert!(
                matches!(&standing, Standing::Stale { refused: Some(why), .. } if why.contains("2 are needed")),
                "{minute}: {standing:?}"
            );
        }
    }
    // The benign twin: two of three are enough.
    let fresh = world.stamp(1, 20 * 60, &[1, 3]);
    assert_eq!(world.word(&mut known, &fresh, now(20 * MINUTE)), Ok(()));
    assert_eq!(known.standing(&world.ledger, now(20 * MINUTE)), Standing::Fresh);
}

#[test]
fn stamps_that_nobody_has_seen_hold_no_longer_for_being_handed_out_late() {
    let world = World::new();
    let mut known = Freshness::new(now(0), None);
    let hoard: Vec<_> = (1..200)
        .map(|minute| world.stamp(1, 60 * minute, &[2, 3]))
        .collect();
    // The benign twin: each when it was made, and some seconds later by the network.
    for (minute, stamp) in (1..=20).zip(&hoard) {
        let came = now(minute * MINUTE + (minute % 3) * 4_000);
        assert_eq!(world.word(&mut known, stamp, came), Ok(()));
        assert_eq!(known.standing(&world.ledger, came), Standing::Fresh, "{minute}");
    }
    // From here on a captured controller hands out one of its hoard just before the last would end.
    let mut stale_since = None;
    for (step, stamp) in (1..).zip(&hoard[20..]) {
        let came = now(20 * MINUTE + step * (FRESH_FOR - 1_000));
        assert_eq!(world.word(&mut known, stamp, came), Ok(()));
        assert!(
            known.time(came) >= after(20 * 60 + i64::try_from(step).unwrap() * 298),
            "time goes on"
        );
        match known.standing(&world.ledger, came) {
            Standing::Stale { .. } => stale_since = stale_since.or(Some(step)),
            standing => assert!(stale_since.is_none(), "{step}: {standing:?}"),
        }
    }
    assert_eq!(
        stale_since,
        Some(2),
        "five minutes and one step after the last that was true"
    );
}

#[test]
fn a_monotonic_clock_that_runs_fast_makes_nothing_stale() {
    let world = World::new();
    let mut known = Freshness::new(now(0), None);
    // Half a part in a thousand, for a month; a stamp each hour is enough to show where it would go.
    for hour in 1..720 {
        let came = now(hour * 60 * MINUTE + hour * 1_800);
        let stamp = world.stamp(1, i64::try_from(hour).unwrap() * 3_600, &[1, 2]);
        assert_eq!(world.word(&mut known, &stamp, came), Ok(()));
        assert_eq!(known.standing(&world.ledger, came), Standing::Fresh, "{hour}");
        let ahead = known.time(came).duration_since(stamp_time(hour));
        assert!(ahead <= SLACK + SignedDuration::from_secs(2), "{hour}: {ahead}");
    }
}

fn stamp_time(hour: u64) -> Timestamp {
    after(i64::try_from(hour).unwrap() * 3_600)
}

#[test]
fn a_set_that_does_not_come_and_one_that_is_taken_back_show() {
    let mut world = World::new();
    let mut known = Freshness::new(now(0), None);
    world
        .word(&mut known, &world.stamp(2, 60, &[1, 2]), now(MINUTE))
        .unwrap();
    // It may be on its way.
    assert_eq!(known.standing(&world.ledger, now(MINUTE + 1)), Standing::Fresh);
    world
        .word(&mut known, &world.stamp(2, 120, &[1, 2]), now(2 * MINUTE))
        .unwrap();
    let behind = known.standing(&world.ledger, now(2 * MINUTE));
    assert_eq!(behind, Standing::Behind { newest: 2 });
    world.adopt(2);
    assert_eq!(known.standing(&world.ledger, now(2 * MINUTE)), Standing::Fresh);
    // The next one has its own time to come.
    world
        .word(&mut known, &world.stamp(3, 180, &[1, 2]), now(3 * MINUTE))
        .unwrap();
    assert_eq!(known.standing(&world.ledger, now(3 * MINUTE)), Standing::Fresh);
    world.adopt(3);
    // The members are of an older set again: a copy was put in their place.
    for minute in 4..=5 {
        let back = world.stamp(1, 60 * minute, &[1, 2]);
        world
            .word(&mut known, &back, now(minute as u64 * MINUTE))
            .unwrap();
    }
    let back = known.standing(&world.ledger, now(5 * MINUTE));
    assert_eq!(back, Standing::SetBack { newest: 1 });
}

#[test]
fn two_sets_under_one_number_show_where_the_held_one_is_not_the_members() {
    let world = World::new();
    let other = next(&world.sets[0], host("h1", "b"));
    let mut known = Freshness::new(now(0), None);
    let stamp = world.people.stamp(&other, after(1), &[1, 2]);
    assert_eq!(world.word(&mut known, &stamp, now(1_000)), Ok(()));
    let standing = known.standing(&world.ledger, now(1_000));
    assert_eq!(
        standing,
        Standing::Contradicted {
            epoch: 1,
            root: other.root()
        }
    );
}

#[test]
fn a_clock_ten_years_off_is_not_believed_once_members_have_spoken() {
    let world = World::new();
    for ahead in [-TEN_YEARS, -31, 31, TEN_YEARS] {
        let mut known = Freshness::new(wrong(0, ahead), None);
        assert_eq!(known.skew(wrong(0, ahead)), None, "nobody has spoken");
        world
            .word(&mut known, &world.stamp(1, 60, &[1, 2]), wrong(MINUTE, ahead))
            .unwrap();
        assert_eq!(known.time(wrong(MINUTE, ahead)), after(60));
        assert_eq!(known.time(wrong(2 * MINUTE, ahead)), after(120), "time goes on");
        // Whatever the clock does meanwhile.
        assert_eq!(known.time(wrong(2 * MINUTE, -ahead)), after(120));
        let skew = known.skew(wrong(2 * MINUTE, ahead)).unwrap();
        assert_eq!(skew, SignedDuration::from_secs(ahead));
        // Another run on the same host: the clock is not believed before what was known.
        let again = Freshness::new(wrong(0, ahead), known.known(wrong(2 * MINUTE, ahead)));
        let time = again.time(wrong(10_000, ahead));
        assert!(time >= after(70), "{ahead}: {time}");
    }
    let mut known = Freshness::new(now(0), None);
    world
        .word(&mut known, &world.stamp(1, 60, &[1, 2]), now(MINUTE))
        .unwrap();
    assert_eq!(known.skew(wrong(MINUTE, 29)), None);
}

#[test]
fn one_stamp_of_the_far_future_moves_time_a_day_and_a_replay_of_the_past_nothing() {
    let world = World::new();
    let mut known = Freshness::new(now(0), Some(start().into()));
    let future = world.stamp(1, TEN_YEARS, &[1, 2]);
    assert_eq!(world.word(&mut known, &future, now(0)), Ok(()));
    assert_eq!(known.time(now(0)), start() + FURTHEST);
    let mut known = Freshness::new(now(0), Some(start().into()));
    for seconds in [-TEN_YEARS, -1, 0] {
        let past = world.stamp(1, seconds, &[1, 2]);
        assert_eq!(
            world.word(&mut known, &past, now(0)),
            Err("older-stamp"),
            "{seconds}"
        );
    }
}

const DAY: i64 = 86_400;

#[test]
fn stamps_of_the_far_future_move_time_a_day_and_a_day_each_day_however_many_there_are_and_over_restarts() {
    let world = World::new();
    let mut known = Freshness::new(now(0), Some(start().into()));
    for hour in 1..=72 {
        let at = now(u64::try_from(hour).unwrap() * 60 * MINUTE);
        for more in 0..3 {
            let forged = world.stamp(1, TEN_YEARS + hour * 10 + more, &[1, 2]);
            assert_eq!(world.word(&mut known, &forged, at), Ok(()));
        }
        let furthest = after(hour * 3_600 + DAY + hour * 3_600);
        assert!(known.time(at) <= furthest, "hour {hour}: {}", known.time(at));
        assert!(
            known.time(at) > after(hour * 3_600 + DAY - 1),
            "and so far they do"
        );
        assert!(
            known
                .held_back()
                .is_some_and(|more| more > SignedDuration::from_hours(24 * 365))
        );
        assert!(known.skew(at).is_some());
        if hour % 5 == 0 {
            known = Freshness::new(at, known.known(at));
        }
    }
    // A restart that gave back what was spent would let them go on at once.
    let at = now(72 * 60 * MINUTE);
    let forged = world.stamp(1, 2 * TEN_YEARS, &[1, 2]);
    let kept = known.known(at).unwrap();
    let moved = |known: Option<KnownTime>| {
        let mut again = Freshness::new(at, known);
        world.word(&mut again, &forged, at).unwrap();
        again.time(at).duration_since(kept.at)
    };
    assert!(moved(Some(kept)) <= SignedDuration::from_secs(1));
    assert_eq!(moved(Some(kept.at.into())), FURTHEST);
}

#[test]
fn a_host_that_was_off_goes_on_at_once_where_its_clock_says_so_too() {
    let world = World::new();
    let month = 30 * DAY;
    let spent = KnownTime {
        spent: FURTHEST,
        ..start().into()
    };
    // Its clock went on while it was off, a few seconds slow or not; whatever was spent before has come back.
    for slow in [0, 20] {
        let mut known = Freshness::new(wrong(0, month - slow), Some(spent));
        let stamp = world.stamp(1, month, &[1, 2]);
        assert_eq!(world.word(&mut known, &stamp, wrong(0, month - slow)), Ok(()));
        assert_eq!(
            (known.time(wrong(0, month)), known.held_back()),
            (after(month), None)
        );
    }
    // One that was suspended: the monotonic clock went on.
    let mut known = Freshness::new(wrong(0, -TEN_YEARS), Some(spent));
    let millis = u64::try_from(month).unwrap() * 1_000;
    let stamp = world.stamp(1, month, &[1, 2]);
    assert_eq!(world.word(&mut known, &stamp, wrong(millis, -TEN_YEARS)), Ok(()));
    assert_eq!(known.time(wrong(millis, -TEN_YEARS)), after(month));
    // One without a clock that goes on while it is off is held, which is said, until its clock is set.
    let mut known = Freshness::new(now(0), Some(start().into()));
    let stamp = world.stamp(1, month, &[1, 2]);
    assert_eq!(world.word(&mut known, &stamp, now(0)), Ok(()));
    assert_eq!(known.time(now(0)), after(DAY));
    assert_eq!(known.held_back(), Some(SignedDuration::from_secs(month - DAY)));
    let stamp = world.stamp(1, month + 60, &[1, 2]);
    let set = wrong(MINUTE, month);
    assert_eq!(world.word(&mut known, &stamp, set), Ok(()));
    assert_eq!(
        (known.time(set), known.held_back(), known.skew(set)),
        (after(month + 60), None, None)
    );
}

#[test]
fn a_clock_of_the_day_that_is_wrong_moves_nothing_by_itself() {
    let world = World::new();
    let mut known = Freshness::new(now(0), Some(start().into()));
    let stamp = world.stamp(1, 60, &[1, 2]);
    assert_eq!(world.word(&mut known, &stamp, wrong(MINUTE, TEN_YEARS)), Ok(()));
    assert_eq!(known.time(wrong(MINUTE, TEN_YEARS)), after(60));
}

#[test]
fn without_members_nobody_says_how_fresh_a_set_is() {
    let people = People::new(1);
    let (ledger, _) = LedgerState::found(
        "h1".parse().unwrap(),
        &people.trust_root.cluster_id(),
        &people.envelope,
    )
    .unwrap();
    let mut known = Freshness::new(now(0), None);
    let stamp = World::new().stamp(1, 1, &[1, 2]);
    let refused = known.hear(&ledger, &stamp, now(0)).unwrap_err();
    assert_eq!(refused.word(), "no-member-keys");
    assert_eq!(known.standing(&ledger, now(9 * FRESH_FOR)), Standing::Unstamped);
    assert_eq!(known.time(wrong(1, 77)), later(after(77), 1));
}

#[test]
fn what_is_known_beside_a_lost_ledger_is_not_gone_below() {
    let mut world = World::new();
    world.adopt(3);
    let floor = world.ledger.reached();
    assert_eq!(
        floor,
        Some(Floor {
            trust_root: 1,
            epoch: 3,
            root: world.sets[3].root()
        })
    );
    // The ledger is gone, or an older one is put in its place.
    for held in [0, 1] {
        let people = &world.people;
        let (mut ledger, _) = LedgerState::found(
            "h1".parse().unwrap(),
            &people.trust_root.cluster_id(),
            &people.envelope,
        )
        .unwrap();
        if held > 0 {
            let update = people.update(&world.sets[held], &zone("a"), 0);
            ledger = offer(&ledger, &update, start()).unwrap().next;
        }
        let word = |ledger: &LedgerState, set: &PolicySet| {
            let offered = offer(ledger, &people.update(set, &zone("a"), 0), start());
            offered
                .map(|accepted| accepted.next)
                .map_err(|refused| refused.word())
        };
        // Unprotected, it would be taken.
        word(&ledger, &world.sets[2]).unwrap();
        let ledger = ledger.above(floor);
        assert_eq!(ledger.set_back(), floor);
        assert_eq!(word(&ledger, &world.sets[2]).unwrap_err(), "lower-epoch");
        let fork = Arc::clone(&next(&world.sets[2], workload("pay/web", "a", 9)));
        assert_eq!(word(&ledger, &fork).unwrap_err(), "same-epoch-other-root");
        let caught_up = word(&ledger, &world.sets[3]).unwrap();
        assert_eq!((caught_up.set_back(), caught_up.reached()), (None, floor));
    }
}

#[test]
fn a_trust_root_that_was_left_behind_is_not_gone_back_to() {
    let (old, agent) = (People::new(1), "h1".parse().unwrap());
    let (_, _) = old.hand_over(2);
    let (ledger, _) = LedgerState::found(agent, &old.trust_root.cluster_id(), &old.envelope).unwrap();
    let set = next(&Arc::new(PolicySet::empty()), host("h1", "a"));
    let later = next(&set, workload("pay/web", "a", 1));
    offer(&ledger, &old.update(&later, &zone("a"), 0), start()).unwrap();
    let ledger = ledger.above(Some(Floor {
        trust_root: 2,
        epoch: 1,
        root: set.root(),
    }));
    let refused = offer(&ledger, &old.update(&later, &zone("a"), 0), start()).unwrap_err();
    assert_eq!(refused.word(), "trust-root-version");
}

proptest! {
    #[test]
    fn known_time_never_goes_below_the_floor_and_no_stamp_moves_it_more_than_a_day_ahead_of_this_hosts_clocks(
        stamps in prop::collection::vec((-TEN_YEARS..TEN_YEARS, 0_u64..MINUTE, -TEN_YEARS..TEN_YEARS), 1..20),
        floor in prop::option::of(-TEN_YEARS..TEN_YEARS),
    ) {
        let world = World::new();
        let mut known = Freshness::new(now(0), floor.map(|at| after(at).into()));
        let mut millis = 0;
        for (said, passed, ahead) in stamps {
            millis += passed;
            let at = wrong(millis, ahead);
            let (before, below) = (known.time(at), known.floor());
            let heard = known.hear(&world.ledger, &world.stamp(1, said, &[1, 2]), at);
            if let Some(below) = below {
                prop_assert!(known.floor().unwrap() >= below || heard.is_err());
                prop_assert!(known.time(at) <= before.max(at.wall) + FURTHEST);
            }
            if heard.is_err() {
                prop_assert_eq!(known.floor(), below);
            }
            prop_assert!(known.floor().is_none_or(|floor| known.time(at) >= floor));
        }
    }

    /// Whatever stamps say, and whenever the agent is started again.
    #[test]
    fn stamps_alone_never_move_time_further_than_a_day_and_a_day_each_day(
        steps in prop::collection::vec((0..TEN_YEARS, 0_u64..30 * 60 * MINUTE, any::<bool>()), 1..20),
        ahead in -TEN_YEARS..TEN_YEARS,
    ) {
        let world = World::new();
        let began = wrong(0, ahead);
        let mut known = Freshness::new(began, Some(start().into()));
        let first = start().max(began.wall);
        let mut millis = 0;
        for (said, passed, restart) in steps {
            millis += passed;
            let at = wrong(millis, ahead);
            let _ = known.hear(&world.ledger, &world.stamp(1, said, &[1, 2]), at);
            let furthest = later(later(first, millis), millis) + FURTHEST;
            prop_assert!(known.time(at) <= furthest, "{} is beyond {furthest}", known.time(at));
            if restart {
                known = Freshness::new(at, known.known(at));
                prop_assert!(known.time(at) <= furthest);
            }
        }
    }
}
