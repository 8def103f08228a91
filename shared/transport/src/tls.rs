//! TLS 1.3, mutual. Names are SPIFFE ids, checked after the chain; each kind of peer has its own authority.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::acceptor::Ends;
use crate::authority::{Purpose, spki_pin};
use crate::certificate::{begins, lapsed, spiffe_id};
use crate::identity::{Identity, IdentityError};
use crate::spiffe_id::{Label, Peer, SpiffeId};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The own certificate.
    #[error("the certificate cannot be used")]
    Identity(#[from] IdentityError),
    /// An authority's.
    #[error("an authority's certificate cannot be used")]
    Authority(#[source] Error),
    /// The library.
    #[error("TLS cannot be set up")]
    Tls(#[source] Error),
}

/// Makes ring the process's cryptography. First thing in `main`; a second call does nothing.
pub fn install_crypto_provider() {
    // Fails only when one is installed already.
    let _ = ring::default_provider().install_default();
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

pub(crate) fn roots(certificates: &[Vec<u8>]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store
            .add(CertificateDer::from(certificate.as_slice()))
            .map_err(TlsError::Authority)?;
    }
    Ok(Arc::new(store))
}

const fn is_expiry(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext};
    matches!(error, Error::InvalidCertificate(Expired | ExpiredContext { .. }))
}

/// Of what a peer shows between itself and the root, what may be: the authority of a member makes that member's own certificate, and
/// no other member's.
fn of_name<'a>(id: &SpiffeId, intermediates: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let may_be = |certificate: &&CertificateDer<'a>| match &id.peer {
        Peer::Controller(_) => spiffe_id(certificate).is_none_or(|of| of == *id),
        Peer::Agent(_) | Peer::Person(_) => true,
    };
    intermediates.iter().filter(may_be).cloned().collect()
}

pub(crate) fn wrong_name() -> Error {
    Error::InvalidCertificate(CertificateError::NotValidForName)
}

/// The own certificate, which can be replaced while connections go on.
#[derive(Clone)]
pub struct Own(Arc<ArcSwap<CertifiedKey>>);

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

impl Own {
    /// Begins with this one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn new(identity: &Identity) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::new(identity.certified()?))))
    }

    /// Uses another certificate from the next handshake on.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        self.0.store(identity.certified()?);
        Ok(())
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The accepting side.
pub struct Server {
    own: Own,
    /// Connections of agents, people and those who enrol.
    pub(crate) ends: Ends,
    /// Callers must have a certificate.
    pub(crate) mutual: Arc<ServerConfig>,
    /// Callers have none yet: for enrolment only.
    pub(crate) enrolment: Arc<ServerConfig>,
}

impl Server {
    /// Accepts the peers of `cluster` by the authorities of their kinds.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn new(
        cluster: &str,
        identity: &Identity,
        authorities: &[(Purpose, Vec<u8>)],
    ) -> Result<Self, TlsError> {
        Self::with(cluster, Own::new(identity)?, authorities)
    }

    /// The same under a certificate that others use, too.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn with(cluster: &str, own: Own, authorities: &[(Purpose, Vec<u8>)]) -> Result<Self, TlsError> {
        let of = |purpose: Purpose| -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
            let certificates: Vec<Vec<u8>> = authorities
                .iter()
                .filter(|(of, _)| *of == purpose)
                .map(|(_, certificate)| certificate.clone())
                .collect();
            WebPkiClientVerifier::builder_with_provider(roots(&certificates)?, provider())
                .build()
                .map_err(|error| TlsError::Authority(Error::General(error.to_string())))
        };
        let verifier = Arc::new(Callers {
            cluster: cluster.to_owned(),
            members: of(Purpose::Members)?,
            agents: of(Purpose::Agents)?,
            people: of(Purpose::People)?,
        });
        let builder = || {
            ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(TlsError::Tls)
        };
        let mut mutual = builder()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(own.clone()));
        mutual.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would skip the check of the certificates, and live past their end or replacement.
        mutual.send_tls13_tickets = 0;
        mutual.session_storage = Arc::new(NoServerSessionStorage {});
        let mut enrolment = builder()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(own.clone()));
        enrolment.alpn_protocols = vec![b"h2".to_vec()];
        enrolment.send_tls13_tickets = 0;
        enrolment.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            own,
            ends: Ends::default(),
            mutual: Arc::new(mutual),
            enrolment: Arc::new(enrolment),
        })
    }

    /// Uses another certificate from the next handshake on.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        self.own.replace(identity)
    }

    /// Ends all connections that are open, but those of members: who had one is to go to somebody else. Who comes anew is let in.
    pub fn end_all(&self) {
        self.ends.end_all();
    }
}

/// Verifies callers: the name says the kind, the kind says the authority.
#[derive(Debug)]
struct Callers {
    cluster: String,
    members: Arc<dyn ClientCertVerifier>,
    agents: Arc<dyn ClientCertVerifier>,
    people: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let id = spiffe_id(end_entity)
            .filter(|id| id.cluster == self.cluster)
            .ok_or_else(wrong_name)?;
        let authority = match id.peer {
            Peer::Controller(_) => &self.members,
            Peer::Agent(_) => &self.agents,
            Peer::Person(_) => &self.people,
        };
        let intermediates = &of_name(&id, intermediates);
        let verified = authority.verify_client_cert(end_entity, intermediates, now);
        match (&id.peer, &verified) {
            // It may renew with the same key; whoever serves it more than that looks at its end.
            (Peer::Agent(_), Err(error)) if is_expiry(error) => match lapsed(end_entity, now.as_secs()) {
                Some(end) => {
                    let then = UnixTime::since_unix_epoch(Duration::from_secs(end));
                    authority.verify_client_cert(end_entity, intermediates, then)
                }
                None => verified,
            },
            _ => verified,
        }
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

/// The calling side.
pub struct Client {
    own: Option<Own>,
    certain: Arc<AtomicI64>,
    pub(crate) config: Arc<ClientConfig>,
}

impl Client {
    /// Calls controllers of `cluster`, known by the members' authority, under the own certificate.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn new(cluster: &str, identity: &Identity, member_cas: &[Vec<u8>]) -> Result<Self, TlsError> {
        Self::calling(
            cluster,
            Own::new(identity)?,
            Trusted::Authorities(roots(member_cas)?),
            None,
        )
    }

    /// The same, where only this member may answer.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn of_member(
        cluster: &str,
        identity: &Own,
        member_cas: &[Vec<u8>],
        member: &Label,
    ) -> Result<Self, TlsError> {
        Self::calling(
            cluster,
            identity.clone(),
            Trusted::Authorities(roots(member_cas)?),
            Some(member.clone()),
        )
    }

    fn calling(cluster: &str, own: Own, trusted: Trusted, only: Option<Label>) -> Result<Self, TlsError> {
        let certain = Arc::new(AtomicI64::new(NOT_KNOWN));
        let mut config =
            Self::builder(cluster, trusted, only, &certain)?.with_client_cert_resolver(Arc::new(own.clone()));
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            own: Some(own),
            certain,
            config: Arc::new(config),
        })
    }

    /// Calls a controller of `cluster` for the first time: nothing is known but the pin of the members' authority.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn pinned(cluster: &str, ca_pin: &str) -> Result<Self, TlsError> {
        let certain = Arc::new(AtomicI64::new(NOT_KNOWN));
        let pin = Trusted::Pin(ca_pin.to_owned());
        let mut config = Self::builder(cluster, pin, None, &certain)?.with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            own: None,
            certain,
            config: Arc::new(config),
        })
    }

    fn builder(
        cluster: &str,
        trusted: Trusted,
        only: Option<Label>,
        certain: &Arc<AtomicI64>,
    ) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
        Ok(ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Controllers {
                cluster: cluster.to_owned(),
                trusted,
                only,
                certain: Arc::clone(certain),
            })))
    }

    /// From the next handshake on, holds controllers' certificates against this time, seconds since 1970, which it is at least: one
    /// that had ended by then is refused, and this host's clock is not asked.
    pub fn believe(&self, certain: i64) {
        self.certain.store(certain, Ordering::Relaxed);
    }

    /// Uses another certificate from the next handshake on.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        if let Some(own) = &self.own {
            own.replace(identity)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Trusted {
    Authorities(Arc<RootCertStore>),
    Pin(String),
}

/// Verifies controllers: the whole chain, then the SPIFFE name. Host names are not used: addresses move.
#[derive(Debug)]
struct Controllers {
    cluster: String,
    trusted: Trusted,
    /// The member that may answer; any where there is none.
    only: Option<Label>,
    /// What time it is at least, seconds; [`NOT_KNOWN`] where only this host's clock says so.
    certain: Arc<AtomicI64>,
}

const NOT_KNOWN: i64 = i64::MIN;

impl Controllers {
    fn is_wanted(&self, name: &Label) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }

    /// The time to hold a certificate against.
    fn time(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
        match self.certain.load(Ordering::Relaxed) {
            NOT_KNOWN => now,
            // It may be later than that, and so the certificate younger; that it has not ended is all that can be known.
            certain => {
                let then = certain.max(begins(end_entity).unwrap_or(certain));
                UnixTime::since_unix_epoch(Duration::from_secs(then.try_into().unwrap_or(0)))
            }
        }
    }
}

impl ServerCertVerifier for Controllers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = match &self.trusted {
            Trusted::Authorities(roots) => Arc::clone(roots),
            Trusted::Pin(pin) => {
                let authority = intermediates
                    .iter()
                    .find(|certificate| spki_pin(certificate).as_ref() == Some(pin))
                    .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let mut store = RootCertStore::empty();
                store.add(authority.clone().into_owned())?;
                Arc::new(store)
            }
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let at = self.time(end_entity, now);
        let id = spiffe_id(end_entity);
        let intermediates = match &id {
            Some(id) => of_name(id, intermediates),
            None => intermediates.to_vec(),
        };
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &intermediates, at, algorithms().all)?;
        match id {
            Some(SpiffeId {
                cluster,
                peer: Peer::Controller(name),
            }) if cluster == self.cluster && self.is_wanted(&name) => Ok(ServerCertVerified::assertion()),
            _ => Err(wrong_name()),
        }
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
