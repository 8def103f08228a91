//! Certificate authorities: one each for members, agents and people, so that no certificate passes for another kind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::files::{self, SecretFileError};
use crate::identity::KeyPair;
use crate::pem;
use crate::spiffe_id::SpiffeId;

/// How far before its issue a certificate is valid, for clocks that run behind.
const BACKDATED: Duration = Duration::from_secs(300);
/// How long an authority's own certificate is valid.
const AUTHORITY_YEARS: u64 = 10;

/// Whose certificates an authority issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Members of the control plane.
    Members,
    /// Agents.
    Agents,
    /// People.
    People,
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Agents => "agents",
            Self::People => "people",
        }
    }

    fn file(self, dir: &Path) -> PathBuf {
        dir.join(format!("ca-{}.pem", self.word()))
    }
}

/// Why an authority cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// What is in the file.
    #[error("{0:?} does not hold a certificate authority")]
    Content(PathBuf),
    /// The request.
    #[error("the certificate request is not valid: {0}")]
    Request(String),
    /// The certificate library.
    #[error("the certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

/// A certificate with its issuer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// When the leaf ends, seconds since 1970.
    pub not_after: i64,
}

/// One authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// Makes one and writes its file (0600).
    ///
    /// # Errors
    /// When it is there already, or cannot be written.
    pub fn create(dir: &Path, purpose: Purpose, cluster: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(|_| rcgen::Error::RingUnspecified)?;
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = name(&format!(
            "Verger {} of {}",
            purpose.word(),
            &cluster[..16.min(cluster.len())]
        ));
        let now = OffsetDateTime::now_utc();
        params.not_before = now - BACKDATED;
        params.not_after = now + Duration::from_secs(AUTHORITY_YEARS * 365 * 86_400);
        let certificate = params.self_signed(&key.0)?;
        let text = format!(
            "{}{}",
            pem::encode("CERTIFICATE", certificate.der()),
            key.to_pem().as_str()
        );
        files::create(&purpose.file(dir), text.as_bytes())?;
        Self::load(dir, purpose)
    }

    /// Reads its file.
    ///
    /// # Errors
    /// When it is not private, or does not hold an authority.
    pub fn load(dir: &Path, purpose: Purpose) -> Result<Self, AuthorityError> {
        let file = purpose.file(dir);
        let bytes = files::read(&file)?;
        let content = || AuthorityError::Content(file.clone());
        let text = std::str::from_utf8(&bytes).map_err(|_| content())?;
        let certificate = CertificateDer::from_pem_slice(&bytes).map_err(|_| content())?;
        let key = KeyPair::from_pem(text).map_err(|_| content())?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key.0).map_err(|_| content())?;
        Ok(Self { certificate, issuer })
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Checks a request and gives the SHA-256 of its public key (SubjectPublicKeyInfo). Nothing else in a request is used.
    ///
    /// # Errors
    /// When it cannot be read, or was not signed with its key.
    pub fn key_digest(request: &[u8]) -> Result<[u8; 32], AuthorityError> {
        parse_request(request)?;
        let (_, parsed) = <x509_parser::certification_request::X509CertificationRequest<'_> as x509_parser::prelude::FromDer<'_, _>>::from_der(request)
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        Ok(Sha256::digest(parsed.certification_request_info.subject_pki.raw).into())
    }

    /// Issues a certificate with the request's key and the caller's name; `hosts` are further names of a server.
    ///
    /// # Errors
    /// When the request is not valid.
    pub fn issue(
        &self,
        request: &[u8],
        id: &SpiffeId,
        lifetime: Duration,
        hosts: &[String],
    ) -> Result<Issued, AuthorityError> {
        let request = parse_request(request)?;
        let mut params = CertificateParams::new(hosts.to_vec())?;
        let uri = id
            .to_string()
            .try_into()
            .map_err(|_| AuthorityError::Request("the name is not ASCII".to_owned()))?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name = name(&id.peer.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match id.peer {
            crate::Peer::Controller(_) => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            // People come to an agent's door by the name of its host.
            crate::Peer::Agent(_) if !hosts.is_empty() => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            crate::Peer::Agent(_) | crate::Peer::Person(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        params.not_before = now - BACKDATED;
        params.not_after = now + lifetime;
        let not_after = params.not_after.unix_timestamp();
        let leaf = params.signed_by(&request.public_key, &self.issuer)?;
        Ok(Issued {
            chain: vec![leaf.der().to_vec(), self.certificate.to_vec()],
            not_after,
        })
    }
}

fn parse_request(request: &[u8]) -> Result<CertificateSigningRequestParams, AuthorityError> {
    // Checks the signature: whoever asks holds the key.
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
        .map_err(|error| AuthorityError::Request(error.to_string()))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// The SHA-256 of a certificate's public key, `sha256:` and hex; `None` if it cannot be read.
pub fn spki_pin(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(format!(
        "sha256:{}",
        hex::encode(Sha256::digest(certificate.public_key().raw))
    ))
}
