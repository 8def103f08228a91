//! How many calls one peer may have open, and begin in a time: nobody takes what the others need.
//!
//! Peers are known by the names and keys of their certificates, over all their connections, and those without one by the address
//! they call from. So is whoever has one that is not served (a host that was evicted, a login that was replaced): a stolen key
//! takes nothing from who has its name, and of each name one key serves. A
//! stream is one call for as long as it is open. What is over a quota is refused with the time to stay away, and on record
//! among the refused calls. How much one call takes is bounded where it is served: by the size of a message, and by queues that
//! make whoever is ahead wait. Few may have a message over
//! [`SMALL_MESSAGE_BYTES`](crate::SMALL_MESSAGE_BYTES) on its way at a time, and none for long.

mod layer;
mod places;
mod reading;
mod sending;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use verger_controller_state::State;
use verger_policy::digest::Digest;
use verger_transport::{Peer, PeerCertificate, PeerInfo};

use crate::logins::Standing;

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
/// Addresses that are told apart; more share one quota. Of peers with a certificate one key of each name is served at a time.
const STRANGERS: usize = 4_096;
/// Whoever has been quiet is forgotten this often.
const SWEEP: Duration = Duration::from_secs(60);

/// Whose calls are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// With the digest of its key.
    Named(Peer, [u8; 32]),
    Stranger(IpAddr),
    /// Those there is no room for.
    Others,
}

impl Key {
    const fn quota(&self) -> Quota {
        match self {
            Self::Named(Peer::Agent(_), _) => AGENT,
            Self::Named(Peer::Person(_) | Peer::Controller(_), _) => PERSON,
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

/// Whether who has this certificate is served at all: under this key, now.
pub fn serves(state: &State, certificate: &PeerCertificate) -> bool {
    let key = Digest::from_bytes(certificate.key);
    match &certificate.peer {
        Peer::Person(name) => Standing::of(state, &name.to_string(), &key).is_ok(),
        Peer::Agent(id) => {
            let id = id.to_string().parse();
            id.is_ok_and(|id| state.serves(&id, &key).is_ok())
        }
        Peer::Controller(_) => true,
    }
}

/// Says of a certificate whether who has it is served.
pub type Serves = dyn Fn(&PeerCertificate) -> bool + Send + Sync;

/// Counts calls.
#[derive(Clone)]
pub struct Quotas {
    counts: Arc<Mutex<Counts>>,
    serves: Arc<Serves>,
}

#[derive(Debug, Default)]
struct Counts {
    all: BTreeMap<Key, Taken>,
    /// When those that have been quiet were forgotten last.
    swept: Option<Instant>,
}

impl Counts {
    fn strangers(&self) -> usize {
        let is_stranger = |key: &&Key| matches!(key, Key::Stranger(_));
        self.all.keys().filter(is_stranger).count()
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.all.retain(|key, taken| {
            taken.forgive(key.quota(), now);
            !taken.is_nothing()
        });
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Quotas").field(&self.counts).finish()
    }
}

/// A call that is open. It ends with this value.
#[derive(Debug)]
pub struct OpenCall {
    quotas: Quotas,
    key: Key,
}

impl Quotas {
    /// Of peers of whom this says whether they are served.
    pub fn new(serves: Arc<Serves>) -> Self {
        Self {
            counts: Arc::default(),
            serves,
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call of a peer.
    ///
    /// # Errors
    /// When the peer has too many open (`TOO_MANY_CALLS`), or has begun too many lately (`TOO_OFTEN`); asks it to stay away.
    pub fn begin(&self, peer: &PeerInfo, now: Instant) -> Result<OpenCall, Status> {
        let key = self.key(peer, now);
        let quota = key.quota();
        let mut counts = self.counts();
        let taken = counts.all.entry(key.clone()).or_insert(Taken {
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
        let key = match &peer.certificate {
            Some(certificate) if (self.serves)(certificate) => {
                Key::Named(certificate.peer.clone(), certificate.key)
            }
            _ => Key::Stranger(peer.place()),
        };
        let mut counts = self.counts();
        if counts.all.contains_key(&key) {
            return key;
        }
        if counts.swept.is_none_or(|swept| now >= swept + SWEEP) {
            counts.sweep(now);
        }
        if !matches!(key, Key::Stranger(_)) || counts.strangers() < STRANGERS {
            return key;
        }
        counts.sweep(now);
        if counts.strangers() < STRANGERS {
            return key;
        }
        Key::Others
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut counts = self.quotas.counts();
        let Some(taken) = counts.all.get_mut(&self.key) else {
            return;
        };
        taken.open = taken.open.saturating_sub(1);
        // Nothing is kept of who is gone; what was begun lately is, or going would bring a new quota.
        if taken.is_nothing() {
            counts.all.remove(&self.key);
        }
    }
}

/// A refusal of what is over a quota, with the time to stay away.
pub(crate) fn over(reason: &str, message: String) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "verger", [] as [(String, String); 0]);
    details.set_retry_info(Some(RETRY));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
