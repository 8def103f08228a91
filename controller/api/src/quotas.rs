//! How many calls one peer may have open, and begin in a time: nobody takes what the others need.
//!
//! Peers are known by their certificates, over all their connections, and those without one by the address they call from. A
//! stream is one call for as long as it is open. What is over a quota is refused with the time to stay away, and on record
//! among the refused calls. How much one call takes is bounded where it is served: by the size of a message, and by queues that
//! make whoever is ahead wait. Few may have a message over
//! [`SMALL_MESSAGE_BYTES`](crate::SMALL_MESSAGE_BYTES) on its way at a time, and none for long.

mod layer;
mod places;
mod reading;
mod sending;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use verger_transport::{Peer, PeerInfo};

pub use layer::{KeepQuotas, QuotasLayer};
pub(crate) use places::take_place;

/// What a kind of peer may have.
#[derive(Clone, Copy, Debug)]
struct Quota {
    /// Calls open at a time.
    open: u32,
    /// Calls begun in one go.
    burst: u32,
    /// How long until one more may begin after that.
    every: Duration,
}

/// An agent has a session, a stream of findings and now and then a renewal, and the same again while it reconnects.
const AGENT: Quota = Quota {
    open: 12,
    burst: 120,
    every: Duration::from_millis(200),
};
/// A person may run many commands at a time, and scripts that run one after the other.
const PERSON: Quota = Quota {
    open: 1_024,
    burst: 8_192,
    every: Duration::from_millis(1),
};
/// Hosts that enrol may come from one address together.
const STRANGER: Quota = Quota {
    open: 256,
    burst: 512,
    every: Duration::from_millis(20),
};
/// How long whoever is over a quota is asked to stay away.
const RETRY: Duration = Duration::from_secs(1);
/// Addresses that are told apart; more share one quota. Peers with a certificate are as many as the authorities have named.
const STRANGERS: usize = 4_096;

/// Whose calls are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Named(Peer),
    Stranger(IpAddr),
    /// Those there is no room for.
    Others,
}

impl Key {
    fn of(peer: &PeerInfo) -> Self {
        match &peer.certificate {
            Some(certificate) => Self::Named(certificate.peer.clone()),
            None => Self::Stranger(peer.place()),
        }
    }

    const fn quota(&self) -> Quota {
        match self {
            Self::Named(Peer::Agent(_)) => AGENT,
            Self::Named(Peer::Person(_) | Peer::Controller(_)) => PERSON,
            Self::Stranger(_) | Self::Others => STRANGER,
        }
    }
}

/// What a peer has taken of its quota.
#[derive(Clone, Copy, Debug)]
struct Taken {
    open: u32,
    /// Calls begun that are not forgiven yet.
    begun: u32,
    /// When one was forgiven last.
    at: Instant,
}

impl Taken {
    fn forgive(&mut self, quota: Quota, now: Instant) {
        let passed = now.duration_since(self.at).as_nanos() / quota.every.as_nanos();
        match u32::try_from(passed) {
            Ok(passed) if passed < self.begun => {
                self.begun -= passed;
                self.at += quota.every * passed;
            }
            _ => {
                self.begun = 0;
                self.at = now;
            }
        }
    }

    const fn is_nothing(&self) -> bool {
        self.open == 0 && self.begun == 0
    }
}

/// Counts calls.
#[derive(Clone, Debug, Default)]
pub struct Quotas(Arc<Mutex<BTreeMap<Key, Taken>>>);

/// A call that is open. It ends with this value.
#[derive(Debug)]
pub struct OpenCall {
    quotas: Quotas,
    key: Key,
}

impl Quotas {
    fn taken(&self) -> MutexGuard<'_, BTreeMap<Key, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call of a peer.
    ///
    /// # Errors
    /// When the peer has too many open (`TOO_MANY_CALLS`), or has begun too many lately (`TOO_OFTEN`); asks it to stay away.
    pub fn begin(&self, peer: &PeerInfo, now: Instant) -> Result<OpenCall, Status> {
        let key = self.key(peer, now);
        let quota = key.quota();
        let mut all = self.taken();
        let taken = all.entry(key.clone()).or_insert(Taken {
            open: 0,
            begun: 0,
            at: now,
        });
        taken.forgive(quota, now);
        if taken.open >= quota.open {
            return Err(over(
                "TOO_MANY_CALLS",
                format!(
                    "{} calls of this peer are open already, and no more may be",
                    taken.open
                ),
            ));
        }
        if taken.begun >= quota.burst {
            return Err(over(
                "TOO_OFTEN",
                format!("this peer has begun {} calls lately, and must wait", taken.begun),
            ));
        }
        taken.open += 1;
        taken.begun += 1;
        Ok(OpenCall {
            quotas: self.clone(),
            key,
        })
    }

    /// Whose calls these are counted with. Strangers that have been quiet give way where there is no room.
    fn key(&self, peer: &PeerInfo, now: Instant) -> Key {
        let key = Key::of(peer);
        let mut all = self.taken();
        let is_stranger = |key: &Key| matches!(key, Key::Stranger(_));
        if !is_stranger(&key) || all.contains_key(&key) {
            return key;
        }
        if all.keys().filter(|key| is_stranger(key)).count() >= STRANGERS {
            all.retain(|key, taken| {
                taken.forgive(key.quota(), now);
                !taken.is_nothing()
            });
            if all.keys().filter(|key| is_stranger(key)).count() >= STRANGERS {
                return Key::Others;
            }
        }
        key
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut all = self.quotas.taken();
        let Some(taken) = all.get_mut(&self.key) else {
            return;
        };
        taken.open = taken.open.saturating_sub(1);
        // Nothing is kept of who is gone; what was begun lately is, or going would bring a new quota.
        if taken.is_nothing() {
            all.remove(&self.key);
        }
    }
}

fn over(reason: &str, message: String) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "verger", [] as [(String, String); 0]);
    details.set_retry_info(Some(RETRY));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
