//! Calls that were refused, at the door, by the log, or in the middle of a stream, on their way into the audit.
//!
//! Whoever may nothing must not be able to fill the log either: refusals of one peer that are alike become at most one row a
//! minute, which says how many they were, and one an hour as long as they go on. Alike are those of one rpc, for one reason,
//! about one kind of resource. Peers are known by their certificates, and those without one by the network they call from. A
//! peer has room for some that are not alike, and then for one row that stands for the rest of its own: nobody's refusals are
//! hidden among those of others before there are more peers than there is room for, which are counted together, as `others`.
//! What a member has counted and not written when it dies is lost; one that stops writes it first.

mod layer;
mod noted;
mod record;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use verger_controller_state::About;
use verger_proto::rpcs;
use verger_transport::PeerInfo;

pub use layer::{DenialsLayer, NoteDenials};
pub(crate) use noted::Noted;
pub use record::{keep_record, write_rest};

/// A peer's refusals that are alike become one row in this time, which doubles with each row up to [`LONGEST`].
const WINDOW: Duration = Duration::from_secs(60);
/// Who has left no row for so long is as if never seen.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Kinds of refusals that are told apart, of all peers with a certificate, and of one of them; and peers whose other refusals
/// are counted together. Were all of them hostile, they would make about a thousand rows an hour, and the audit keeps a million.
const NAMED: Room = Room {
    all: 192,
    own: 16,
    rest: 64,
};
/// The same for networks of peers without a certificate: anybody can be many of them.
const STRANGERS: Room = Room {
    all: 8,
    own: 3,
    rest: 4,
};

/// Why a peer was refused, where one row stands for refusals that are not alike.
const VARIOUS: &str = "VARIOUS";

/// How much is told apart.
#[derive(Clone, Copy, Debug)]
struct Room {
    all: usize,
    own: usize,
    rest: usize,
}

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
    /// What it asked for.
    pub about: About,
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
            about: About::default(),
        }
    }
}

/// Refused calls that are one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    key: Key,
    /// The first of them. Of `others`, and of those of one peer for various reasons, one of many.
    pub first: Denial,
    /// How many.
    pub attempts: u64,
}

/// Which refusals are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// That are alike.
    Alike(Who, What),
    /// Those of one peer there is no more room for.
    Rest(Who),
    /// Those there is no room for.
    Others,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Named(String),
    Stranger(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct What {
    /// Empty where there is none of that name: callers make up names.
    rpc: String,
    reason: String,
    /// Without the name of a single one.
    resource: String,
}

impl Key {
    fn of(denial: &Denial) -> Self {
        let who = if denial.actor == "nobody" {
            Who::Stranger(network(denial.address.ip()))
        } else {
            Who::Named(denial.actor.clone())
        };
        let rpc = Some(&denial.rpc).filter(|rpc| rpcs().contains_key(*rpc));
        let (resource, _) = denial
            .about
            .resource
            .split_once('/')
            .unwrap_or((&denial.about.resource, ""));
        let what = What {
            rpc: rpc.cloned().unwrap_or_default(),
            reason: denial.reason.clone(),
            resource: resource.to_owned(),
        };
        Self::Alike(who, what)
    }

    /// Itself where there is room for it among those there are, or what takes it in.
    fn in_room(self, counted: &BTreeMap<Self, Counted>) -> Self {
        let Self::Alike(who, _) = &self else { return self };
        let (who, named) = (who.clone(), matches!(who, Who::Named(_)));
        let room = if named { NAMED } else { STRANGERS };
        let (mut all, mut own, mut rest) = (0, 0, 0);
        for key in counted.keys() {
            match key {
                Self::Alike(other, _) if matches!(other, Who::Named(_)) == named => {
                    all += 1;
                    own += usize::from(*other == who);
                }
                Self::Rest(other) if matches!(other, Who::Named(_)) == named => rest += 1,
                _ => {}
            }
        }
        if counted.contains_key(&self) || (all < room.all && own < room.own) {
            return self;
        }
        let whose = Self::Rest(who);
        if counted.contains_key(&whose) || rest < room.rest {
            return whose;
        }
        Self::Others
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
    stopping: AtomicBool,
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

    /// Has [`keep_record`] end once it has written what it took.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.noted.notify_one();
    }

    fn add(&self, key: Key, first: Denial, attempts: u64) {
        let mut counted = self.counted();
        let key = key.in_room(&counted);
        let first = match &key {
            Key::Alike(..) => first,
            Key::Rest(_) => Denial {
                reason: VARIOUS.to_owned(),
                ..first
            },
            Key::Others => Denial {
                actor: "others".to_owned(),
                ..first
            },
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
