//! The connection to a controller: one TLS side, whose certificate renews itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;
use verger_transport::{Client, ConnectError, Identity, PeopleDoor};

use crate::config::Config;
use crate::enrolment::Enrolment;
use crate::link::{Lost, Opened};
use crate::machine;
use crate::members::MembersFile;

/// The largest message taken from a controller, bytes: a whole set, of which controllers hold at most
/// [`MAX_SET_BYTES`](verger_policy::set::MAX_SET_BYTES), and the versions of the trust root.
const MESSAGE_BYTES: usize = verger_policy::set::MAX_SET_BYTES + (16 << 20);
/// How often the certificate's age is looked at, and a failed renewal tried again.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A certificate is renewed at this age, and when less than this is left of its life.
const RENEW_AFTER: Duration = Duration::from_secs(12 * 3_600);
/// One that was just renewed is not renewed again, whatever this host's clock says of its end.
const RENEW_EVERY: Duration = Duration::from_secs(3_600);

/// How to reach the cluster.
pub(crate) struct Controllers {
    client: Arc<Client>,
    /// What joining said.
    joined: Vec<String>,
    /// Where to connect, in turn: what members said, and then what joining did.
    addresses: Mutex<Vec<String>>,
    file: MembersFile,
    /// Which machine this is, as controllers are told.
    machine: Bytes,
    /// The own door for people, which has the same certificate.
    door: Option<Arc<PeopleDoor>>,
}

impl Controllers {
    pub(crate) fn new(
        enrolment: &Enrolment,
        config: &Config,
        door: Option<Arc<PeopleDoor>>,
    ) -> anyhow::Result<Self> {
        let file = MembersFile::new(config);
        Ok(Self {
            door,
            client: Arc::new(enrolment.client(config)?),
            addresses: Mutex::new(all(file.load(), &enrolment.controllers)),
            joined: enrolment.controllers.clone(),
            file,
            machine: machine::digest(&config.machine_id, &enrolment.cluster),
        })
    }

    /// Which machine this is, as controllers are told.
    pub(crate) fn machine(&self) -> Bytes {
        self.machine.clone()
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<String>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the first that answers.
    pub(crate) async fn connect(&self) -> Result<SessionServiceClient<Channel>, ConnectError> {
        self.reach().await.map(|(_, client)| client)
    }

    /// The same, and says where it is called.
    async fn reach(&self) -> Result<(String, SessionServiceClient<Channel>), ConnectError> {
        let addresses = self.addresses().clone();
        let mut silent = None;
        for address in &addresses {
            match verger_transport::channel(Arc::clone(&self.client), std::slice::from_ref(address)).await {
                Ok(channel) => {
                    let client = SessionServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
                    return Ok((address.clone(), client));
                }
                Err(ConnectError::Unreachable { last, .. }) => silent = Some(last),
                Err(error) => return Err(error),
            }
        }
        let last = silent.ok_or(ConnectError::NoAddress)?;
        Err(ConnectError::Unreachable {
            addresses: addresses.join(", "),
            last,
        })
    }

    /// Has the first that answers open a stream.
    pub(crate) async fn open<In, F>(
        &self,
        call: impl FnOnce(SessionServiceClient<Channel>) -> F + Send,
    ) -> Result<Opened<In>, Lost>
    where
        F: Future<Output = Result<Response<Streaming<In>>, Status>> + Send,
    {
        let (address, client) = self.reach().await.map_err(Lost::because)?;
        match call(client).await {
            Ok(answer) => Ok(Opened { address, answer }),
            Err(status) => Err(Lost::refused(address, status)),
        }
    }

    /// Begins with others from now on, where the one that was lost answers and does not serve. Both streams may be lost to the same: they
    /// turn away from it once.
    pub(crate) fn turn_from(&self, lost: &Lost) {
        let Some(unserved) = &lost.unserved else { return };
        let mut addresses = self.addresses();
        if let Some(place) = addresses.iter().position(|address| address == unserved) {
            addresses[place..].rotate_left(1);
        }
    }

    /// Keeps where the members are called, as they say.
    pub(crate) fn know(&self, said: Vec<String>) {
        match self.file.keep(said) {
            Ok(said) => {
                let mut addresses = self.addresses();
                let mut known = all(said, &self.joined);
                // Whoever serves goes on to, and who does not is not asked before others.
                let place = |of: &String| addresses.iter().position(|address| address == of);
                known.sort_by_key(|address| place(address).unwrap_or(usize::MAX));
                if *addresses != known {
                    tracing::info!(members = known.len(), "the members said where they are called");
                    *addresses = known;
                }
            }
            Err(error) => tracing::warn!(%error, "where the members are called is not kept"),
        }
    }

    /// From now on controllers' certificates are held against what time it is at least, where that is known, and not against this
    /// host's clock.
    pub(crate) fn believe(&self, certain: Option<jiff::Timestamp>) {
        if let Some(certain) = certain {
            self.client.believe(certain.as_second());
        }
    }

    /// Renews the certificate, with the same key: at once, and for as long as the agent runs. At once, because a clock that is
    /// behind would find an ended certificate good.
    pub(crate) async fn keep_renewed(&self, config: &Config, stop: CancellationToken) {
        let mut renewed: Option<Instant> = None;
        loop {
            let left = Identity::load(&config.identity_file())
                .and_then(|identity| identity.not_after())
                .map(|not_after| not_after.saturating_sub(jiff::Timestamp::now().as_second()));
            match left {
                Ok(left) if is_due(renewed.map(|at| at.elapsed()), left) => match self.renew(config).await {
                    Ok(()) => renewed = Some(Instant::now()),
                    Err(error) => {
                        tracing::warn!(error = %format_args!("{error:#}"), "the certificate was not renewed; trying again");
                    }
                },
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "the agent's certificate cannot be read"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn renew(&self, config: &Config) -> anyhow::Result<()> {
        let held = Identity::load(&config.identity_file())?;
        let request = pb::RenewRequest {
            csr: held.key()?.request()?.into(),
            machine: self.machine(),
        };
        let pb::RenewResponse {
            chain,
            not_after: _,
            people_cas,
        } = self.connect().await?.renew(request).await?.into_inner();
        self.take(config, &held, chain.into_iter().map(Into::into).collect())?;
        if let Some(door) = &self.door {
            let people: Vec<Vec<u8>> = people_cas.into_iter().map(Into::into).collect();
            door.trust(&people)
                .context("the authority of people that the controller names cannot be used")?;
        }
        tracing::info!("the certificate was renewed");
        Ok(())
    }

    /// Uses a renewed certificate and keeps it, or leaves the one held where it is.
    fn take(&self, config: &Config, held: &Identity, chain: Vec<Vec<u8>>) -> anyhow::Result<()> {
        let renewed = held
            .renewed(chain)
            .context("the certificate that the controller issued cannot be used")?;
        self.client.replace(&renewed)?;
        if let Some(door) = &self.door {
            door.replace(&renewed)?;
        }
        Ok(renewed.save(&config.identity_file())?)
    }
}

/// What members said, and what joining did beside it.
fn all(said: Vec<String>, joined: &[String]) -> Vec<String> {
    let more: Vec<String> = joined
        .iter()
        .filter(|address| !said.contains(address))
        .cloned()
        .collect();
    said.into_iter().chain(more).collect()
}

/// By the time since the last renewal of this run, and the seconds left by this host's clock.
fn is_due(since: Option<Duration>, left: i64) -> bool {
    let half = i64::try_from(RENEW_AFTER.as_secs()).unwrap_or(i64::MAX);
    match since {
        None => true,
        Some(since) => since >= RENEW_AFTER || (since >= RENEW_EVERY && left < half),
    }
}

#[cfg(test)]
pub(crate) mod full_tests;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use verger_transport::{Authority, KeyPair, Purpose, SpiffeId, install_crypto_provider};

    #[test]
    fn a_certificate_that_cannot_be_used_leaves_the_one_held_on_disk() {
        install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, format!("data_dir = {:?}\n", folder.path())).unwrap();
        let config = Config::load(&file).unwrap();
        let cluster = "ab".repeat(32);
        let authority = Authority::create(folder.path(), Purpose::Agents, &cluster).unwrap();
        let issue = |key: &KeyPair, peer: &str, hours: u32| {
            let id = SpiffeId {
                cluster: cluster.clone(),
                peer: peer.parse().unwrap(),
            };
            let life = Duration::from_secs(3_600) * hours;
            authority
                .issue(&key.request().unwrap(), &id, life, &[])
                .unwrap()
                .chain
        };
        let (key, others) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let held = Identity::new(issue(&key, "agent/web-1", 24), &key);
        held.save(&config.identity_file()).unwrap();
        let controllers = Controllers {
            client: Arc::new(Client::new(&cluster, &held, &[authority.certificate().to_vec()]).unwrap()),
            joined: Vec::new(),
            addresses: Mutex::default(),
            file: MembersFile::new(&config),
            machine: Bytes::new(),
            door: None,
        };
        let on_disk = || std::fs::read(config.identity_file()).unwrap();
        let before = on_disk();
        for chain in [
            Vec::new(),
            vec![b"no certificate".to_vec()],
            issue(&others, "agent/web-1", 48),
            issue(&key, "agent/web-2", 48),
            issue(&key, "agent/web-1", 1),
        ] {
            controllers.take(&config, &held, chain).unwrap_err();
            assert_eq!(on_disk(), before);
        }
        controllers
            .take(&config, &held, issue(&key, "agent/web-1", 48))
            .unwrap();
        assert_ne!(on_disk(), before);
        Identity::load(&config.identity_file())
            .unwrap()
            .replaces(&held)
            .unwrap();
    }

    #[test]
    fn a_certificate_is_renewed_at_start_by_age_and_by_its_end_and_not_over_and_over() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
        assert!(is_due(None, 24 * 3_600));
        assert!(!is_due(hours(0), 24 * 3_600));
        // A clock years ahead.
        assert!(!is_due(hours(0), i64::MIN) && is_due(hours(1), i64::MIN));
        assert!(is_due(hours(2), 11 * 3_600) && !is_due(hours(2), 13 * 3_600));
        // A clock years behind.
        assert!(is_due(hours(12), i64::MAX));
    }
}
