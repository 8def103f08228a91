//! How many connections one peer may have, so that none takes all there is room for: each is a file descriptor and its buffers.
//!
//! Peers are known by their names and keys. Whoever has a certificate and is not served (a host that was evicted, a login that was
//! replaced) is one of the strangers of its address: a stolen key takes nothing from who has its name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::acceptor::PeerInfo;
use crate::certificate::PeerCertificate;
use crate::spiffe_id::Peer;

/// An agent has two, and as many again while it reconnects; commands of an older run may not be gone yet.
const AGENT: u32 = 16;
/// A person may run many commands at a time, from several machines.
const PERSON: u32 = 1_024;
/// Hosts that enrol may come from one address together.
const STRANGER: u32 = 256;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// With the digest of its key: two that have one name are not the same.
    Named(Peer, [u8; 32]),
    Stranger(IpAddr),
}

impl Key {
    const fn most(&self) -> u32 {
        match self {
            Self::Named(Peer::Agent(_), _) => AGENT,
            Self::Named(Peer::Person(_) | Peer::Controller(_), _) => PERSON,
            Self::Stranger(_) => STRANGER,
        }
    }
}

/// Whether who has a certificate is served.
type Serves = dyn Fn(&PeerCertificate) -> bool + Send + Sync;

/// Counts the open connections of each peer. Holds as much as connections are open.
#[derive(Clone)]
pub(crate) struct Admission {
    open: Arc<Mutex<BTreeMap<Key, u32>>>,
    serves: Arc<Serves>,
}

/// An open connection. It is over with this value.
pub(crate) struct Admitted {
    admission: Admission,
    key: Key,
}

impl Admission {
    /// Of peers of whom this says whether they are served.
    pub(crate) fn new(serves: impl Fn(&PeerCertificate) -> bool + Send + Sync + 'static) -> Self {
        Self {
            open: Arc::default(),
            serves: Arc::new(serves),
        }
    }

    fn key(&self, peer: &PeerInfo) -> Key {
        match &peer.certificate {
            Some(certificate) if (self.serves)(certificate) => {
                Key::Named(certificate.peer.clone(), certificate.key)
            }
            _ => Key::Stranger(peer.place()),
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Key, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of a peer; `None` where it has as many as it may.
    pub(crate) fn admit(&self, peer: &PeerInfo) -> Option<Admitted> {
        let key = self.key(peer);
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
    /// What stands for a peer without a certificate that serves: its address; of IPv6 the /64, which is one site's.
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
        let admission = Admission::new(|_| true);
        let admit = |address| admission.admit(&stranger(address));
        let open: Vec<Admitted> = (0..STRANGER).map(|_| admit("2001:db8::1").unwrap()).collect();
        assert!(admit("2001:db8::ffff").is_none());
        assert!(admit("2001:db8:0:1::1").is_some() && admit("192.0.2.1").is_some());
        drop(open);
        assert!(admit("2001:db8::ffff").is_some());
        assert!(admission.open().is_empty(), "nothing is kept of who is gone");
    }

    fn agent(key: u8) -> PeerInfo {
        PeerInfo {
            certificate: Some(PeerCertificate {
                peer: "agent/h1".parse().unwrap(),
                key: [key; 32],
                not_after: i64::MAX,
            }),
            ..stranger("192.0.2.1")
        }
    }

    #[test]
    fn whoever_holds_a_key_that_serves_no_more_takes_no_connection_of_the_one_that_does() {
        let admission = Admission::new(|certificate| certificate.key == [2; 32]);
        let stolen: Vec<_> = (0..STRANGER)
            .map(|_| admission.admit(&agent(1)).unwrap())
            .collect();
        assert!(
            admission.admit(&agent(1)).is_none(),
            "it is bounded by its address"
        );
        assert!(admission.admit(&agent(3)).is_none(), "whatever its key");
        let own: Vec<_> = (0..AGENT).map(|_| admission.admit(&agent(2)).unwrap()).collect();
        assert!(admission.admit(&agent(2)).is_none());
        drop((stolen, own));
        assert!(admission.open().is_empty());
    }

    #[test]
    fn what_was_taken_before_a_key_served_no_more_is_none_of_its_successors() {
        let serving = Arc::new(Mutex::new(1));
        let now = Arc::clone(&serving);
        let admission = Admission::new(move |certificate| certificate.key == [*now.lock().unwrap(); 32]);
        let _stolen: Vec<_> = (0..AGENT).map(|_| admission.admit(&agent(1)).unwrap()).collect();
        assert!(admission.admit(&agent(1)).is_none());
        *serving.lock().unwrap() = 2;
        assert!(admission.admit(&agent(2)).is_some());
    }
}
