//! How many connections one peer may have, so that none takes all there is room for: each is a file descriptor and its buffers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::acceptor::PeerInfo;
use crate::spiffe_id::Peer;

/// An agent has two, and as many again while it reconnects; commands of an older run may not be gone yet.
const AGENT: u32 = 16;
/// A person may run many commands at a time, from several machines.
const PERSON: u32 = 1_024;
/// Hosts that enrol may come from one address together.
const STRANGER: u32 = 256;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Named(Peer),
    Stranger(IpAddr),
}

impl Key {
    fn of(peer: &PeerInfo) -> Self {
        match &peer.certificate {
            Some(certificate) => Self::Named(certificate.peer.clone()),
            None => Self::Stranger(peer.place()),
        }
    }

    const fn most(&self) -> u32 {
        match self {
            Self::Named(Peer::Agent(_)) => AGENT,
            Self::Named(Peer::Person(_) | Peer::Controller(_)) => PERSON,
            Self::Stranger(_) => STRANGER,
        }
    }
}

/// Counts the open connections of each peer. Holds as much as connections are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission(Arc<Mutex<BTreeMap<Key, u32>>>);

/// An open connection. It is over with this value.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Admission,
    key: Key,
}

impl Admission {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Key, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of a peer; `None` where it has as many as it may.
    pub(crate) fn admit(&self, peer: &PeerInfo) -> Option<Admitted> {
        let key = Key::of(peer);
        let mut open = self.open();
        let count = open.get(&key).copied().unwrap_or(0);
        if count >= key.most() {
            return None;
        }
        open.insert(key.clone(), count + 1);
        let admission = self.clone();
        Some(Admitted { admission, key })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        match open.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.key)),
        }
    }
}

impl PeerInfo {
    /// What stands for a peer without a certificate: its address; of IPv6 the /64, which is one site's.
    pub fn place(&self) -> IpAddr {
        match self.address.ip().to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stranger(address: &str) -> PeerInfo {
        PeerInfo {
            certificate: None,
            address: (address.parse::<IpAddr>().unwrap(), 1).into(),
        }
    }

    #[test]
    fn strangers_of_one_place_share_and_others_do_not() {
        let admission = Admission::default();
        let admit = |address| admission.admit(&stranger(address));
        let open: Vec<Admitted> = (0..STRANGER).map(|_| admit("2001:db8::1").unwrap()).collect();
        assert!(admit("2001:db8::ffff").is_none());
        assert!(admit("2001:db8:0:1::1").is_some() && admit("192.0.2.1").is_some());
        drop(open);
        assert!(admit("2001:db8::ffff").is_some());
        assert!(admission.open().is_empty(), "nothing is kept of who is gone");
    }
}
