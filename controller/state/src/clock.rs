//! The replicated time.

use jiff::{SignedDuration, Timestamp};

use crate::command::{Action, Command};
use crate::limits;

/// That stamps were further ahead than time may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The last such stamp.
    pub offered: Timestamp,
    /// The replicated time at the first of them.
    pub since: Timestamp,
    /// The replicated time at the last of them.
    pub last: Timestamp,
}

/// The replicated time: what the proposers' clocks said, as far as it is believed.
///
/// - It never goes back.
/// - The first stamp of all is taken as it is: there is nothing to hold it against.
/// - A stamp up to [`limits::STEP_SECONDS`] ahead is the time. One that is further ahead moves nothing, however many there are:
///   a clock that is years ahead expires no seal, token or exception.
/// - What moves time over a longer pause is [`Action::Tick`], which says how far: one step. The member that leads makes one a
///   minute, and some at once when it starts ([`ticks`]), so a week off is made up for before anybody is served, and a wrong
///   clock moves time by an hour a minute, while the cluster says so ([`HeldBack`], and a finding), and a person can act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
    pub(crate) held_back: Option<HeldBack>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            now: Timestamp::UNIX_EPOCH,
            held_back: None,
        }
    }
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

impl Clock {
    /// Takes in a stamp, of which no more than `until` is asked for.
    pub(crate) fn offer(&mut self, stamp: Timestamp, until: Timestamp) {
        let wanted = stamp.min(until);
        let begins = self.now == Timestamp::UNIX_EPOCH;
        if wanted > self.now && (begins || wanted <= self.step()) {
            self.now = wanted;
        }
        if stamp > self.step() {
            let since = self.held_back.as_ref().map_or(self.now, |held| held.since);
            self.held_back = Some(HeldBack {
                offered: stamp,
                since,
                last: self.now,
            });
        } else if let Some(held) = &self.held_back {
            // Time is there by itself, or nobody has said so for a while.
            let quiet = later(held.last, 2 * limits::STEP_SECONDS);
            if held.offered <= self.step() || self.now >= quiet {
                self.held_back = None;
            }
        }
    }

    /// How far it may move at once.
    fn step(&self) -> Timestamp {
        later(self.now, limits::STEP_SECONDS)
    }
}

/// What a leading member proposes to move the replicated time towards `wall`, its own clock: at most `most` steps, and one
/// where there is nothing to make up for. Each is to be applied before the next.
pub fn ticks(replicated: Timestamp, wall: Timestamp, most: usize, actor: &str) -> Vec<Command> {
    let mut at = replicated;
    let mut ticks = Vec::new();
    while ticks.len() < most.max(1) {
        let until = wall.min(later(at, limits::STEP_SECONDS));
        at = until;
        let last = at >= wall || ticks.len() + 1 >= most;
        ticks.push(Command {
            // Those on the way say no more than they ask for: they are no clock that is wrong.
            stamp: if last { wall } else { until },
            actor: actor.to_owned(),
            request_id: None,
            from: None,
            policies: Vec::new(),
            counted: false,
            action: Action::Tick { until },
        });
        if last {
            break;
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const STEP: i64 = limits::STEP_SECONDS;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn clock(seconds: i64) -> Clock {
        let mut clock = Clock::default();
        clock.offer(at(seconds), at(seconds));
        clock
    }

    fn run(clock: &mut Clock, ticks: &[Command]) {
        for tick in ticks {
            let Action::Tick { until } = tick.action else {
                panic!("{tick:?}")
            };
            clock.offer(tick.stamp, until);
        }
    }

    #[test]
    fn a_week_off_is_made_up_for_at_start_and_nothing_is_said_of_it() {
        let mut clock = clock(1_000_000);
        let wall = at(1_000_000 + 7 * 86_400 + 17);
        let ticks = ticks(clock.now, wall, 192, "controller/c1");
        assert_eq!(ticks.len(), 169);
        run(&mut clock, &ticks);
        assert_eq!((clock.now, clock.held_back), (wall, None));
    }

    #[test]
    fn a_wrong_clock_is_said_and_moves_time_an_hour_a_tick_until_it_is_set() {
        let mut clock = clock(1_000_000);
        let decade = at(1_000_000 + 10 * 365 * 86_400);
        for minutes in 1..=30 {
            clock.offer(decade, decade);
            let tick = ticks(clock.now, decade, 1, "c");
            run(&mut clock, &tick);
            assert_eq!(clock.now, at(1_000_000 + minutes * STEP));
        }
        assert_eq!(clock.held_back.as_ref().unwrap().since, at(1_000_000));
        // Set right: it is behind the replicated time for a day, then in effect again.
        let right = at(1_000_000 + 30 * 60);
        clock.offer(right, right);
        assert_eq!(clock.now, at(1_000_000 + 30 * STEP));
        let caught = at(1_000_000 + 30 * STEP + 1);
        clock.offer(caught, caught);
        assert_eq!(clock.now, caught);
        for step in 1..=2 {
            assert!(clock.held_back.is_some());
            let later = at(1_000_000 + (30 + step) * STEP);
            clock.offer(later, later);
        }
        assert_eq!(clock.held_back, None, "nobody has said so for a while");
    }

    proptest! {
        #[test]
        fn time_never_goes_back_moves_by_a_step_at_most_and_follows_a_right_clock(
            stamps in prop::collection::vec((-10_i64..20 * 365 * 86_400, prop::option::of(0_i64..20 * 365 * 86_400)), 1..60),
        ) {
            let mut clock = clock(1_000_000);
            for (stamp, until) in stamps {
                let before = clock.now;
                clock.offer(at(stamp), at(until.unwrap_or(stamp)));
                prop_assert!(clock.now >= before && clock.now <= later(before, STEP));
                prop_assert!(clock.now == before || clock.now <= at(stamp));
                let held = clock.held_back.as_ref().map(|held| held.offered);
                prop_assert!(at(stamp) <= clock.step() || held == Some(at(stamp)), "said");
            }
            let right = later(clock.now, 1);
            clock.offer(right, right);
            prop_assert_eq!(clock.now, right);
        }
    }
}
