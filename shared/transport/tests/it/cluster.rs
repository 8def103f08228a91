//! A cluster's authorities, and certificates from them: right ones and every wrong one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use verger_transport::{
    Authority, Client, Identity, Issued, KeyPair, Peer, Purpose, Server, SpiffeId, spki_pin,
};

/// How long a certificate lives when its end does not matter.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The authorities of one cluster.
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) members: Authority,
    pub(crate) agents: Authority,
    pub(crate) people: Authority,
    dir: TempDir,
}

impl Cluster {
    /// The id is the digit 64 times.
    pub(crate) fn new(digit: char) -> Self {
        let id = String::from(digit).repeat(64);
        let dir = tempfile::tempdir().unwrap();
        let authority = |purpose| Authority::create(dir.path(), purpose, &id).unwrap();
        Self {
            members: authority(Purpose::Members),
            agents: authority(Purpose::Agents),
            people: authority(Purpose::People),
            id,
            dir,
        }
    }

    /// Where the authorities' files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A certificate by the authority of the peer's kind.
    pub(crate) fn identity(&self, peer: &str) -> Identity {
        let authority = match peer.split('/').next().unwrap() {
            "controller" => &self.members,
            "agent" => &self.agents,
            _ => &self.people,
        };
        issue(authority, &self.id, peer, HOUR)
    }

    /// An accepting side with this certificate, for this cluster's peers.
    pub(crate) fn server(&self, identity: &Identity) -> Server {
        let authorities = [
            (Purpose::Members, self.members.certificate().to_vec()),
            (Purpose::Agents, self.agents.certificate().to_vec()),
            (Purpose::People, self.people.certificate().to_vec()),
        ];
        Server::new(&self.id, identity, &authorities).unwrap()
    }

    /// A calling side with this certificate, for this cluster's controllers.
    pub(crate) fn client(&self, identity: &Identity) -> Arc<Client> {
        Arc::new(Client::new(&self.id, identity, &[self.members.certificate().to_vec()]).unwrap())
    }

    /// The pin of the members' authority.
    pub(crate) fn pin(&self) -> String {
        spki_pin(self.members.certificate()).unwrap()
    }
}

/// A certificate for any name by any authority.
pub(crate) fn issue(authority: &Authority, cluster: &str, peer: &str, lifetime: Duration) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity::new(certify(authority, &key, cluster, peer, lifetime).chain, &key)
}

/// The chain that [`issue`] puts together with its key.
pub(crate) fn certify(
    authority: &Authority,
    key: &KeyPair,
    cluster: &str,
    peer: &str,
    lifetime: Duration,
) -> Issued {
    let id = SpiffeId {
        cluster: cluster.to_owned(),
        peer: peer.parse().unwrap(),
    };
    authority
        .issue(&key.request().unwrap(), &id, lifetime, &[])
        .unwrap()
}

/// Comes back when the certificate has ended; its lifetime bounds the wait.
pub(crate) async fn ended(identity: &Identity) {
    let end = u64::try_from(identity.not_after().unwrap()).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() <= end {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the certificate lives too long for a test"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A peer's name.
pub(crate) fn peer(text: &str) -> Peer {
    text.parse().unwrap()
}
