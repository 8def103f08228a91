//! How fresh the held set is, and what time it is: what a majority of the cluster's members says, over what this host's clock says.
//!
//! - A stamp counts when a majority of the member keys in the trust root has signed it, and it is newer than the last one. So a
//!   member that was taken over, and the network, can withhold stamps, replay old ones, and hand out late those that nobody has seen
//!   yet; none of it extends anything: a stamp holds from when it was made, and not from when it came.
//! - Time is that of the last stamp, and goes on from there by the monotonic clock. A later stamp that says less brings time back by
//!   no more than that clock may have run fast ([`DRIFT`]). The clock of the day is asked only before the
//!   first stamp of a run, and never believed before the latest stamp ever accepted ([`Freshness::floor`]).
//! - Stamps alone move time at most [`FURTHEST`] ahead of this host's own clocks, and as much again as these go on, over restarts
//!   too: forged ones, or a mistake, end neither seals nor exceptions, however many there are. Where the clock of the day says the
//!   later time as well, it is believed at once: so a host that was off for a month goes on when it is back.
//! - Staleness is told, and lifts nothing.

mod budget;

pub use budget::KnownTime;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_seal::{Refusal, Stamp, verify_stamp};

use crate::ledger::LedgerState;
use crate::session::Now;
use budget::Budget;

/// How long a stamp holds, milliseconds. Members make one each minute.
pub const FRESH_FOR: u64 = 5 * 60_000;
/// How long a set that members say is there may take to be in force here, milliseconds.
pub const BEHIND_FOR: u64 = 60_000;
/// How far stamps move time ahead of this host's own clocks at once, and how much of that comes back with each day of them: all.
pub const FURTHEST: SignedDuration = SignedDuration::from_hours(24);
/// The monotonic clock gains less than one part in so many: ten times what the kernel's own steering of it allows for (`adjtimex(2)`:
/// 500 parts in a million, and an oscillator of the same order).
pub const DRIFT: u64 = 1_000;
/// Members' stamps may be so far ahead of each other: one that says less by this takes back nothing, and adds nothing.
const SLACK: SignedDuration = SignedDuration::from_secs(5);
/// How far this host's clock may be off.
pub const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Why a stamp is of no use. What is known stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedStamp {
    /// What is signed, or who signed it.
    #[error(transparent)]
    Seal(#[from] Refusal),
    /// Not newer than what is known: a replay, or members that were set back.
    #[error("the stamp is of {at}, and it is {last} at least")]
    Older {
        /// When it was made.
        at: Timestamp,
        /// The latest time known.
        last: Timestamp,
    },
}

impl RefusedStamp {
    /// A stable word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Seal(refusal) => refusal.word(),
            Self::Older { .. } => "older-stamp",
        }
    }

    /// Whether an honest controller may have said it, now and then: one that lags behind by a moment has the stamp before, which
    /// still holds.
    pub fn is_of_a_moment_ago(&self) -> bool {
        let age = match self {
            Self::Seal(_) => return false,
            Self::Older { at, last } => last.duration_since(*at),
        };
        age < millis(FRESH_FOR)
    }

    /// Whether it may be a good stamp under another version of the trust root than this host knows.
    pub const fn may_be_of_another_trust_root(&self) -> bool {
        matches!(
            self,
            Self::Seal(Refusal::OtherTrustRoot | Refusal::WrongKey | Refusal::BelowThreshold { .. })
        )
    }
}

/// The last stamp that counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    stamp: Stamp,
    /// What time it was when it came: what it says, as far as that is believed, and no less than `least` but for [`SLACK`].
    time: Timestamp,
    /// What time it was at least, by all stamps before.
    least: Timestamp,
    /// When it came, monotonic.
    millis: u64,
    /// Since when stamps name another epoch than the one held, monotonic.
    parted: Option<u64>,
}

impl Heard {
    /// How old the stamp is, milliseconds: since it was made, or since it came where it says a later time.
    fn age(&self, now: Now) -> u64 {
        let came = now.millis.saturating_sub(self.millis);
        let made = later(self.least, came).duration_since(self.stamp.at).as_millis();
        u64::try_from(made).map_or(came, |made| made.max(came))
    }
}

/// What is known of freshness and time.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    /// When this run began, monotonic milliseconds.
    began: u64,
    floor: Option<Timestamp>,
    budget: Budget,
    heard: Option<Heard>,
    /// Why the last stamp offered was refused.
    refused: Option<Arc<RefusedStamp>>,
}

/// How the held set stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The trust root names no members: nobody says which set is the newest.
    Unstamped,
    /// Nobody has said so yet in this run.
    NotHeard,
    /// It is the newest, by a stamp that still holds.
    Fresh,
    /// No stamp has come for too long: newer sets may be withheld.
    Stale {
        /// When the last one was made; none in this run if there is none.
        last: Option<Timestamp>,
        /// Why the last one offered was refused, in a sentence.
        refused: Option<String>,
    },
    /// Members say that there is a newer set, and it was not accepted here.
    Behind {
        /// The newest epoch.
        newest: u64,
    },
    /// Members say that the held epoch is of another set.
    Contradicted {
        /// Which epoch.
        epoch: u64,
        /// The set they have.
        root: Digest,
    },
    /// Members say that an older set than the held one is the newest: the cluster was set back.
    SetBack {
        /// What they say is newest.
        newest: u64,
    },
}

impl Freshness {
    /// Begins a run at `now`, with what an earlier one knew.
    pub fn new(now: Now, known: Option<KnownTime>) -> Self {
        Self {
            began: now.millis,
            floor: known.map(|known| known.at),
            budget: Budget::of(known, now),
            heard: None,
            refused: None,
        }
    }

    /// What time it is, as far as is known.
    pub fn time(&self, now: Now) -> Timestamp {
        match &self.heard {
            Some(heard) => later(heard.time, now.millis.saturating_sub(heard.millis)),
            None => self
                .certain(now)
                .map_or(now.wall, |certain| certain.max(now.wall)),
        }
    }

    /// What time it is at least, whatever this host's clock says; `None` where members have never said so.
    pub fn certain(&self, now: Now) -> Option<Timestamp> {
        match &self.heard {
            Some(_) => Some(self.time(now)),
            None => Some(later(self.floor?, now.millis.saturating_sub(self.began))),
        }
    }

    /// What time it is at least by every stamp there was: nothing but the drift of the clock takes it back.
    fn least(&self, now: Now) -> Option<Timestamp> {
        match &self.heard {
            Some(heard) => Some(later(heard.least, now.millis.saturating_sub(heard.millis))),
            None => self.certain(now),
        }
    }

    /// The latest time that members said: whatever any clock says, it is not earlier.
    pub const fn floor(&self) -> Option<Timestamp> {
        self.floor
    }

    /// What is to be kept beyond this run.
    pub fn known(&self, now: Now) -> Option<KnownTime> {
        Some(KnownTime {
            at: self.floor?,
            spent: whole(self.budget.spent(now)),
            wall: now.wall,
        })
    }

    /// How far the last stamp is ahead of the time that is gone by, because members may not move it that far by their word alone.
    pub fn held_back(&self) -> Option<SignedDuration> {
        let Heard { stamp, time, .. } = self.heard.as_ref()?;
        let ahead = stamp.at.duration_since(*time);
        (ahead > SLACK).then_some(ahead)
    }

    /// Whether members have spoken in this run.
    pub const fn is_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// Whether members say that the set that is held, and no other, is the newest.
    pub fn confirms(&self, ledger: &LedgerState, now: Now) -> bool {
        self.heard.as_ref().is_some_and(|heard| {
            let said = (heard.stamp.epoch, heard.stamp.root);
            ledger.position() == Some(said) && heard.age(now) < FRESH_FOR
        })
    }

    /// How far this host's clock is ahead of the members' time, where it is off by more than [`SKEW`]; `None` before the first
    /// stamp of a run.
    pub fn skew(&self, now: Now) -> Option<SignedDuration> {
        self.heard.as_ref()?;
        let skew = now.wall.duration_since(self.time(now));
        (skew.abs() > SKEW).then_some(skew)
    }

    /// Takes in a stamp, and says whether it is news: the last one over again is not. What was wrong with one that does not count
    /// stays known until another does.
    ///
    /// # Errors
    /// Each reason with its stable word; what is known stays.
    pub fn hear(
        &mut self,
        ledger: &LedgerState,
        envelope: &[u8],
        now: Now,
    ) -> Result<bool, Arc<RefusedStamp>> {
        let judged = self.judge(ledger, envelope, now).map_err(|refused| {
            let refused = Arc::new(refused);
            self.refused = Some(Arc::clone(&refused));
            refused
        });
        let Some((heard, gained)) = judged? else {
            return Ok(false);
        };
        self.budget.spend(gained, now);
        self.refused = None;
        // What it says itself: the next one may have been made before this one came.
        self.floor = Some(heard.stamp.at.min(heard.time));
        self.heard = Some(heard);
        Ok(true)
    }

    /// What is known with a stamp, and how far it moves time ahead of this host's clocks.
    fn judge(
        &self,
        ledger: &LedgerState,
        envelope: &[u8],
        now: Now,
    ) -> Result<Option<(Heard, SignedDuration)>, RefusedStamp> {
        let stamp = verify_stamp(ledger.trust_root(), envelope)?;
        let last = self.heard.as_ref();
        if last.is_some_and(|last| last.stamp == stamp) {
            return Ok(None);
        }
        if let Some(known) = self.floor
            && stamp.at <= known
        {
            return Err(RefusedStamp::Older {
                at: stamp.at,
                last: known,
            });
        }
        // What was apart and has met since is apart anew.
        let since = || {
            let still = last.filter(|last| parts(&last.stamp, ledger));
            still.and_then(|last| last.parted).unwrap_or(now.millis)
        };
        let (said, gained) = self.believed(stamp.at, now);
        let (time, least) = self.moved_by(said, now);
        let heard = Heard {
            time,
            least,
            millis: now.millis,
            parted: parts(&stamp, ledger).then(since),
            stamp,
        };
        Ok(Some((heard, gained)))
    }

    /// How much of what members say of time is believed, and how far that is ahead of both of this host's clocks.
    fn believed(&self, at: Timestamp, now: Now) -> (Timestamp, SignedDuration) {
        // Where nothing was ever known there is nothing that a forged time could end.
        if self.floor.is_none() {
            return (at, SignedDuration::ZERO);
        }
        let own = self.time(now).max(now.wall);
        let furthest = own.saturating_add(self.budget.left(now));
        let said = at.min(furthest.unwrap_or(Timestamp::MAX));
        (said, said.duration_since(own).max(SignedDuration::ZERO))
    }

    /// What time it is once it is believed that members said `said`, and what it is at least.
    fn moved_by(&self, said: Timestamp, now: Now) -> (Timestamp, Timestamp) {
        let running = self.time(now);
        let since = self.heard.as_ref().map_or(self.began, |last| last.millis);
        let gained = millis(now.millis.saturating_sub(since).div_ceil(DRIFT));
        let known = self.least(now).and_then(|known| known.checked_sub(gained).ok());
        let least = known.map_or(said, |known| said.max(known));
        let ahead = running.duration_since(said);
        let time = if least.duration_since(said) > SLACK {
            least
        } else if ahead.is_positive() && ahead <= SLACK {
            // Stamps are of whole seconds: what was told a moment ago is not after what is told now.
            running
        } else {
            said
        };
        (time, least)
    }

    /// How the held set stands.
    pub fn standing(&self, ledger: &LedgerState, now: Now) -> Standing {
        if ledger.trust_root().members().is_empty() {
            return Standing::Unstamped;
        }
        let refused = || self.refused.as_ref().map(ToString::to_string);
        let Some(heard) = &self.heard else {
            if now.millis.saturating_sub(self.began) < FRESH_FOR {
                return Standing::NotHeard;
            }
            return Standing::Stale {
                last: None,
                refused: refused(),
            };
        };
        let Stamp { epoch, root, at, .. } = &heard.stamp;
        let held = ledger.position();
        if let Some((held, held_root)) = held
            && held == *epoch
            && held_root != *root
        {
            return Standing::Contradicted {
                epoch: held,
                root: *root,
            };
        }
        if heard.age(now) >= FRESH_FOR {
            return Standing::Stale {
                last: Some(*at),
                refused: refused(),
            };
        }
        let apart = heard
            .parted
            .is_some_and(|since| now.millis.saturating_sub(since) >= BEHIND_FOR);
        if !apart || !parts(&heard.stamp, ledger) {
            return Standing::Fresh;
        }
        let newest = *epoch;
        if held.is_some_and(|(held, _)| held > newest) {
            Standing::SetBack { newest }
        } else {
            Standing::Behind { newest }
        }
    }
}

/// Whether a stamp is of another epoch than the one held.
fn parts(stamp: &Stamp, ledger: &LedgerState) -> bool {
    stamp.epoch != ledger.position().map_or(0, |(held, _)| held)
}

fn later(at: Timestamp, after: u64) -> Timestamp {
    at.saturating_add(millis(after)).unwrap_or(Timestamp::MAX)
}

/// In whole seconds, and no less.
fn whole(span: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(span.as_secs() + i64::from(span.subsec_nanos() > 0))
}

fn millis(count: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
