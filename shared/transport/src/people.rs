//! The door of people at an agent, for clients that know host names and none of this cluster's: TLS 1.3, mutual, and nothing agreed on
//! above it.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::{PeerCertificate, spiffe_id};
use crate::identity::Identity;
use crate::spiffe_id::Peer;
use crate::tls::{Own, TlsError, algorithms, provider, roots, wrong_name};

/// The accepting side of an agent.
pub struct PeopleDoor {
    own: Own,
    people: Arc<People>,
    acceptor: TlsAcceptor,
}

impl PeopleDoor {
    /// Lets people of `cluster` in, under the agent's own certificate. Nobody, until [`trust`](Self::trust) says by whom they are known.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn new(cluster: &str, identity: &Identity) -> Result<Self, TlsError> {
        let own = Own::new(identity)?;
        let people = Arc::new(People {
            cluster: cluster.to_owned(),
            known: ArcSwapOption::empty(),
        });
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Tls)?
            .with_client_cert_verifier(Arc::clone(&people) as _)
            .with_cert_resolver(Arc::new(own.clone()));
        // A resumed session would skip the check of the certificates, and live past their end or replacement.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            own,
            people,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Uses another certificate from the next handshake on.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        self.own.replace(identity)
    }

    /// Knows people by these authorities from the next handshake on; by none where there are none.
    ///
    /// # Errors
    /// When a certificate cannot be used; the old ones stay.
    pub fn trust(&self, authorities: &[Vec<u8>]) -> Result<(), TlsError> {
        let known = match authorities {
            [] => None,
            authorities => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots(authorities)?, provider())
                    .build()
                    .map_err(|error| TlsError::Authority(Error::General(error.to_string())))?;
                Some(Arc::new(Known(verifier)))
            }
        };
        self.people.known.store(known);
        Ok(())
    }

    /// Shakes hands. Who it is was proven then; whether the login still serves was not.
    ///
    /// # Errors
    /// When it is nobody who has a good certificate of a person of this cluster. It may take as long as the other side likes.
    pub async fn admit(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, PeerCertificate)> {
        stream.set_nodelay(true)?;
        let stream = self.acceptor.accept(stream).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.and_then(|leaf| PeerCertificate::read(leaf));
        let certificate = certificate
            .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the caller has no name"))?;
        Ok((stream, certificate))
    }
}

#[derive(Debug)]
struct Known(Arc<dyn ClientCertVerifier>);

/// Verifies people: the name, then the chain.
#[derive(Debug)]
struct People {
    cluster: String,
    known: ArcSwapOption<Known>,
}

impl ClientCertVerifier for People {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let is_person = spiffe_id(end_entity)
            .is_some_and(|id| id.cluster == self.cluster && matches!(id.peer, Peer::Person(_)));
        if !is_person {
            return Err(wrong_name());
        }
        let known = self.known.load_full();
        let known = known.ok_or_else(|| {
            Error::General("no controller has said yet by which authority people are known".to_owned())
        })?;
        known.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not used".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use rustls::ClientConfig;
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{PrivateKeyDer, ServerName};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::authority::{Authority, Purpose};
    use crate::identity::KeyPair;
    use crate::spiffe_id::SpiffeId;

    const HOUR: Duration = Duration::from_secs(3_600);

    struct Place {
        cluster: String,
        agents: Authority,
        people: Authority,
        _folder: tempfile::TempDir,
    }

    impl Place {
        fn new(digit: &str) -> Self {
            let (cluster, folder) = (digit.repeat(64), tempfile::tempdir().unwrap());
            let authority = |purpose| Authority::create(folder.path(), purpose, &cluster).unwrap();
            Self {
                agents: authority(Purpose::Agents),
                people: authority(Purpose::People),
                cluster,
                _folder: folder,
            }
        }

        fn issue(&self, authority: &Authority, peer: &str, life: Duration) -> Identity {
            let key = KeyPair::generate().unwrap();
            let id = SpiffeId {
                cluster: self.cluster.clone(),
                peer: peer.parse().unwrap(),
            };
            let hosts: Vec<String> = peer
                .strip_prefix("agent/")
                .map(str::to_owned)
                .into_iter()
                .collect();
            let issued = authority
                .issue(&key.request().unwrap(), &id, life, &hosts)
                .unwrap();
            Identity::new(issued.chain, &key)
        }

        fn door(&self) -> PeopleDoor {
            PeopleDoor::new(&self.cluster, &self.issue(&self.agents, "agent/web-1", HOUR)).unwrap()
        }

        /// As Docker's CLI comes: it knows the agents' authority, and a host's name.
        async fn come(
            &self,
            door: &PeopleDoor,
            host: &str,
            as_whom: Option<&Identity>,
        ) -> Result<String, String> {
            let builder = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots(&[self.agents.certificate().to_vec()]).unwrap());
            let config = match as_whom {
                None => builder.with_no_client_auth(),
                Some(identity) => {
                    let chain = CertificateDer::pem_slice_iter(identity.chain_pem().as_bytes())
                        .collect::<Result<Vec<_>, _>>()
                        .unwrap();
                    let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap();
                    builder.with_client_auth_cert(chain, key).unwrap()
                }
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let name = ServerName::try_from(host.to_owned()).unwrap();
            let connector = TlsConnector::from(Arc::new(config));
            let calls = tokio::spawn(async move {
                let mut stream = connector.connect(name, stream).await?;
                stream.write_all(b"x").await
            });
            let (accepted, _) = listener.accept().await.unwrap();
            let admitted = door.admit(accepted).await;
            let called = calls.await.unwrap();
            match (admitted, called) {
                (Ok((_, certificate)), Ok(())) => Ok(certificate.peer.to_string()),
                (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
            }
        }
    }

    #[tokio::test]
    async fn people_of_the_cluster_are_let_in_by_the_name_of_the_host_and_nobody_else_is() {
        let (place, other) = (Place::new("a"), Place::new("b"));
        let door = place.door();
        let ada = place.issue(&place.people, "person/ada", HOUR);
        let told = place.come(&door, "web-1", Some(&ada)).await.unwrap_err();
        assert!(told.contains("no controller has said"), "{told}");
        door.trust(&[place.people.certificate().to_vec()]).unwrap();
        assert_eq!(
            place.come(&door, "web-1", Some(&ada)).await.unwrap(),
            "person/ada"
        );
        // It is no other host.
        assert!(place.come(&door, "web-2", Some(&ada)).await.is_err());
        let ended = place.issue(&place.people, "person/ada", Duration::ZERO);
        let end = u64::try_from(ended.not_after().unwrap()).unwrap();
        while UnixTime::now().as_secs() <= end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let foreign = place.issue(&other.people, "person/ada", HOUR);
        for (who, says) in [
            (None, "sent no certificates"),
            (Some(&foreign), "UnknownIssuer"),
            (
                Some(&other.issue(&other.people, "person/ada", HOUR)),
                "NotValidForName",
            ),
            (
                Some(&place.issue(&place.agents, "agent/web-2", HOUR)),
                "NotValidForName",
            ),
            (
                Some(&place.issue(&place.agents, "person/ada", HOUR)),
                "UnknownIssuer",
            ),
            (
                Some(&place.issue(&place.people, "controller/one", HOUR)),
                "NotValidForName",
            ),
            (Some(&ended), "certificate expired"),
        ] {
            let told = place.come(&door, "web-1", who).await.unwrap_err();
            assert!(told.contains(says), "{told}, not {says}");
        }
        door.trust(&[]).unwrap();
        assert!(place.come(&door, "web-1", Some(&ada)).await.is_err());
        assert!(door.trust(&[b"no certificate".to_vec()]).is_err());
    }

    #[tokio::test]
    async fn a_renewed_certificate_serves_from_the_next_handshake_on() {
        let place = Place::new("a");
        let door = place.door();
        door.trust(&[place.people.certificate().to_vec()]).unwrap();
        let ada = place.issue(&place.people, "person/ada", HOUR);
        door.replace(&place.issue(&place.agents, "agent/web-2", HOUR))
            .unwrap();
        assert!(place.come(&door, "web-1", Some(&ada)).await.is_err());
        assert_eq!(
            place.come(&door, "web-2", Some(&ada)).await.unwrap(),
            "person/ada"
        );
    }
}
