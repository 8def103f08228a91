//! When a member has a fresh certificate made: a third of the way through the one it has, by the host's clock. That may be set, or go on
//! while the host sleeps, so that it is looked at all the time, and not waited for.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;
use verger_transport::{Identity, IdentityError};

/// How often is looked, and tried again.
const LOOK: Duration = Duration::from_secs(10);
/// Of what fails is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(600);

/// From when until when a certificate is good, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    begins: i64,
    ends: i64,
}

impl Validity {
    pub(crate) fn of(identity: &Identity) -> Result<Self, IdentityError> {
        let (begins, ends) = identity.validity()?;
        Ok(Self { begins, ends })
    }

    /// Whether it is time for another: a third of it is over, or by the host's clock, which was set back then, it has not begun.
    const fn is_due(self, now: i64) -> bool {
        now < self.begins || now - self.begins >= (self.ends - self.begins) / 3
    }
}

fn seconds(now: SystemTime) -> i64 {
    Timestamp::try_from(now).map_or(i64::MAX, Timestamp::as_second)
}

/// Has certificates made by `make`, which uses them from the next handshake on.
pub(crate) struct Renewal<F> {
    has: Validity,
    make: F,
    /// When it was last told that it fails.
    told: Option<SystemTime>,
}

impl<F: Fn() -> anyhow::Result<Validity>> Renewal<F> {
    pub(crate) const fn new(has: Validity, make: F) -> Self {
        Self {
            has,
            make,
            told: None,
        }
    }

    /// Has another made, if it is time.
    ///
    /// # Errors
    /// When none can be made, and the one that there is has ended.
    fn look(&mut self, now: SystemTime) -> anyhow::Result<()> {
        match self.has.is_due(seconds(now)) {
            true => self.renew(now),
            false => Ok(()),
        }
    }

    /// Has another made, and says what came of it.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    fn renew_now(&mut self, now: SystemTime) -> anyhow::Result<()> {
        self.told = None;
        self.renew(now)
    }

    fn renew(&mut self, now: SystemTime) -> anyhow::Result<()> {
        match (self.make)() {
            Ok(made) => {
                (self.has, self.told) = (made, None);
                let until = Timestamp::from_second(made.ends).unwrap_or(Timestamp::MAX);
                tracing::info!(%until, "this member's certificate is renewed");
                Ok(())
            }
            // One that has not begun yet, by a clock that was set back, ends later than it should, and not now.
            Err(error) if seconds(now) < self.has.ends => {
                let is_told = self
                    .told
                    .is_some_and(|told| now.duration_since(told).is_ok_and(|since| since < TOLD_EVERY));
                if !is_told {
                    let until = Timestamp::from_second(self.has.ends).unwrap_or(Timestamp::MAX);
                    tracing::error!(error = format!("{error:#}"), %until, "this member's certificate cannot be renewed: it is tried again, and the member stops when the certificate ends");
                    self.told = Some(now);
                }
                Ok(())
            }
            Err(error) => Err(error.context("this member's certificate has ended, and no other can be made")),
        }
    }
}

/// Renews it whenever it is time, and at once on each of these signals. Gives why it cannot any more.
pub(crate) async fn keep_renewed<F: Fn() -> anyhow::Result<Validity>>(
    mut renewal: Renewal<F>,
    mut asked: Signal,
) -> anyhow::Error {
    let mut look = tokio::time::interval(LOOK);
    // Of what it missed while it hung, one look is enough.
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let looked = tokio::select! {
            _ = look.tick() => renewal.look(SystemTime::now()),
            _ = asked.recv() => renewal.renew_now(SystemTime::now()),
        };
        if let Err(error) = looked {
            return error;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use super::*;

    const HOUR: u64 = 3_600;

    fn at(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(hours * HOUR)
    }

    fn day_from(hour: i64) -> Validity {
        Validity {
            begins: hour * 3_600,
            ends: (hour + 24) * 3_600,
        }
    }

    #[test]
    fn a_certificate_is_renewed_by_the_hosts_clock() {
        let made = Cell::new(0);
        let now = Cell::new(100);
        let mut renewal = Renewal::new(day_from(100), || {
            made.set(made.get() + 1);
            Ok(day_from(now.get()))
        });
        // A third; a host that slept for a week; a clock that was far ahead and is set.
        for (hour, is_made) in [
            (100, false),
            (107, false),
            (108, true),
            (115, false),
            (276, true),
            (283, false),
            (50, true),
            (57, false),
            (58, true),
        ] {
            let before = made.get();
            now.set(hour);
            renewal.look(at(u64::try_from(hour).unwrap())).unwrap();
            assert_eq!(made.get() > before, is_made, "at hour {hour}");
        }
        // Asked to, always.
        let before = made.get();
        renewal.renew_now(at(58)).unwrap();
        assert_eq!(made.get(), before + 1);
    }

    #[test]
    fn what_fails_is_tried_again_for_as_long_as_the_certificate_serves() {
        let fails = Cell::new(true);
        let tried = Cell::new(0);
        let mut renewal = Renewal::new(day_from(0), || {
            tried.set(tried.get() + 1);
            match fails.get() {
                true => Err(anyhow::anyhow!("no file")),
                false => Ok(day_from(20)),
            }
        });
        for hour in [8, 9, 23] {
            renewal.look(at(hour)).unwrap();
        }
        assert_eq!(tried.get(), 3);
        fails.set(false);
        renewal.look(at(23)).unwrap();
        fails.set(true);
        renewal.look(at(24)).unwrap();
        assert_eq!(tried.get(), 4);
        // Of a clock that was set back it is not taken to have ended.
        renewal.look(at(3)).unwrap();
        assert_eq!(tried.get(), 5);
        renewal.look(at(43)).unwrap();
        let error = format!("{:#}", renewal.look(at(44)).unwrap_err());
        assert_eq!(
            error,
            "this member's certificate has ended, and no other can be made: no file"
        );
    }
}
