//! Calls that were refused before they could become commands, on their way into the audit.
//!
//! Whoever may nothing must not be able to fill the log either: refusals of one peer for one reason become at most one row a
//! minute, which says how many they were, and one an hour as long as they go on. Peers are known by their certificates, and
//! those without one by the network they call from. There is room for so many of either; more are counted together, as
//! `others`. What a member has counted and not written when it dies is lost.

mod layer;
mod record;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use verger_transport::PeerInfo;

pub use layer::{DenialsLayer, NoteDenials};
pub use record::{keep_record, write_rest};

/// A peer's refusals for one reason become one row in this time, which doubles with each row up to [`LONGEST`].
const WINDOW: Duration = Duration::from_secs(60);
/// Who has left no row for so long is as if never seen.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Pairs of a peer with a certificate and a reason that are told apart. Were all of them hostile, they would make about a
/// thousand rows an hour, and the audit keeps a million.
const NAMED: usize = 256;
/// The same for networks of peers without a certificate: anybody can be many of them.
const STRANGERS: usize = 8;

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// `agent/h1`; `nobody` without a certificate.
    pub actor: String,
    /// From where.
    pub address: SocketAddr,
    /// What was called: `verger.policy.v1.PolicyService/Apply`.
    pub rpc: String,
    /// Why it was refused: `NOT_A_PERSON`.
    pub reason: String,
    /// The rule of a role that decided, in words, if one did.
    pub policy: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Denial {
    /// Of a call by a peer.
    pub fn of(peer: &PeerInfo, rpc: &str, reason: &str, at: Timestamp) -> Self {
        let PeerInfo { certificate, address } = peer;
        let named = certificate
            .as_ref()
            .map(|certificate| certificate.peer.to_string());
        Self {
            actor: named.unwrap_or_else(|| "nobody".to_owned()),
            address: SocketAddr::new(address.ip().to_canonical(), address.port()),
            rpc: rpc.to_owned(),
            reason: reason.to_owned(),
            policy: None,
            at,
        }
    }
}

/// Refused calls that are one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    key: Key,
    /// The first of them. Of `others`, one of many.
    pub first: Denial,
    /// How many.
    pub attempts: u64,
}

/// Whose refusals are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Named(String, String),
    Stranger(IpAddr, String),
    /// Those there is no room for.
    Others,
}

impl Key {
    fn of(denial: &Denial) -> Self {
        let reason = denial.reason.clone();
        if denial.actor == "nobody" {
            Self::Stranger(network(denial.address.ip()), reason)
        } else {
            Self::Named(denial.actor.clone(), reason)
        }
    }
}

/// Whoever has one address has its neighbours, mostly: /24, or /48.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[derive(Debug, Default)]
struct Counted {
    /// Those that are in no row yet.
    waiting: Option<(Denial, u64)>,
    /// When the last row was taken, and how long none is after it.
    taken: Option<(Instant, Duration)>,
}

/// Counts refused calls.
#[derive(Debug, Default)]
pub struct Denials {
    counted: Mutex<BTreeMap<Key, Counted>>,
    noted: Notify,
}

impl Denials {
    fn counted(&self) -> MutexGuard<'_, BTreeMap<Key, Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refused call.
    pub fn note(&self, denial: Denial) {
        self.add(Key::of(&denial), denial, 1);
        self.noted.notify_one();
    }

    fn add(&self, key: Key, first: Denial, attempts: u64) {
        let mut counted = self.counted();
        let room = match &key {
            Key::Named(..) => counted.keys().filter(|key| matches!(key, Key::Named(..))).count() < NAMED,
            Key::Stranger(..) => {
                counted
                    .keys()
                    .filter(|key| matches!(key, Key::Stranger(..)))
                    .count()
                    < STRANGERS
            }
            Key::Others => true,
        };
        let (key, first) = if room || counted.contains_key(&key) {
            (key, first)
        } else {
            let actor = "others".to_owned();
            (Key::Others, Denial { actor, ..first })
        };
        let waiting = &mut counted.entry(key).or_default().waiting;
        match waiting {
            Some((_, before)) => *before = before.saturating_add(attempts),
            None => *waiting = Some((first, attempts)),
        }
    }

    /// Takes what is due to be written. Peers that have been quiet for a while are forgotten.
    pub fn due(&self, now: Instant) -> Vec<Denied> {
        let mut due = Vec::new();
        self.counted().retain(|key, Counted { waiting, taken }| {
            if taken.is_some_and(|(at, window)| now < at + window) {
                return true;
            }
            let Some((first, attempts)) = waiting.take() else {
                return taken.is_some_and(|(at, _)| now < at + LONGEST);
            };
            let window = taken.map_or(WINDOW, |(_, before)| (2 * before).min(LONGEST));
            *taken = Some((now, window));
            due.push(Denied {
                key: key.clone(),
                first,
                attempts,
            });
            true
        });
        due
    }

    /// Takes all that is in no row yet, due or not: for a member that stops.
    pub fn rest(&self) -> Vec<Denied> {
        let taken = std::mem::take(&mut *self.counted());
        let rest = taken
            .into_iter()
            .filter_map(|(key, Counted { waiting, taken: _ })| {
                let (first, attempts) = waiting?;
                Some(Denied { key, first, attempts })
            });
        rest.collect()
    }

    /// Takes back what could not be written: it is due again after a while.
    fn put_back(&self, denied: Denied) {
        let Denied { key, first, attempts } = denied;
        self.add(key, first, attempts);
    }

    /// When something is due next, or forgotten; `None` as long as nothing is noted.
    fn next(&self) -> Option<Instant> {
        let counted = self.counted();
        let next = counted
            .values()
            .map(|Counted { waiting, taken }| match (waiting, taken) {
                (_, None) => Instant::now(),
                (Some(_), Some((at, window))) => *at + *window,
                (None, Some((at, _))) => *at + LONGEST,
            });
        next.min()
    }
}

#[cfg(test)]
mod tests;
