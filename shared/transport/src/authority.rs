//! Certificate authorities: one each for members, agents and people, so that no certificate passes for another kind.
//!
//! Of each there is a root, which is what everybody knows it by, and each member that joins has one below it with a key of its own, made
//! there. Of the members' authority that one serves for its member's own name alone: it carries that name, and whoever verifies looks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType,
};
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

    /// All of them.
    pub const ALL: [Self; 3] = [Self::Members, Self::Agents, Self::People];

    fn file(self, dir: &Path) -> PathBuf {
        dir.join(format!("ca-{}.pem", self.word()))
    }

    /// Where a root is kept that was brought to a member which has one below it.
    fn root_file(self, dir: &Path) -> PathBuf {
        dir.join(format!("root-{}.pem", self.word()))
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
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
    /// What is in a member's own file.
    #[error(
        "{0:?} does not hold the certificate authority that was written there: restore it from a copy, or remove this member from the \
         cluster, and let it join again under another name"
    )]
    Damaged(PathBuf),
    /// It is a root, and not this one.
    #[error("{0:?} is the root of another cluster, or of another kind of certificates")]
    Foreign(PathBuf),
    /// It is none that others can be put below.
    #[error("{0:?} is not there: this member does not have the root keys")]
    NoRoot(PathBuf),
    /// Its certificate allows none below it.
    #[error(
        "the authorities of this cluster were made before members could join: their certificates allow no other below them"
    )]
    NoneBelow,
    /// What was given as an authority below the root is none.
    #[error("the authority that was given is not of the cluster, or not for this key")]
    NotBelow,
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
    /// What it is below; `None` where it is the root.
    root: Option<CertificateDer<'static>>,
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
        // One below it, as members have that joined.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = name(&root_name(purpose, cluster));
        valid_for_years(&mut params);
        let certificate = params.self_signed(&key.0)?;
        let text = format!(
            "{}{}",
            pem::encode("CERTIFICATE", certificate.der()),
            key.to_pem().as_str()
        );
        files::create(&purpose.file(dir), files::vouch(&text).as_bytes())?;
        Self::load(dir, purpose)
    }

    /// Reads its file.
    ///
    /// # Errors
    /// When it is not private, or does not hold an authority as it was written.
    pub fn load(dir: &Path, purpose: Purpose) -> Result<Self, AuthorityError> {
        Self::read(&purpose.file(dir)).map_err(|error| match error {
            AuthorityError::Content(file) => AuthorityError::Damaged(file),
            other => other,
        })
    }

    /// Reads the root: the member's own authority where that is it, else one that was brought there.
    ///
    /// # Errors
    /// When the root's key is not there, is not private, or is none.
    pub fn load_root(dir: &Path, purpose: Purpose) -> Result<Self, AuthorityError> {
        let own = Self::load(dir, purpose)?;
        if own.root.is_none() {
            return Ok(own);
        }
        let file = purpose.root_file(dir);
        match Self::read(&file) {
            Ok(root) if root.root.is_none() && root.certificate() == own.certificate() => Ok(root),
            Ok(_) => Err(AuthorityError::Content(file)),
            Err(AuthorityError::File(SecretFileError::Missing(file))) => Err(AuthorityError::NoRoot(file)),
            Err(error) => Err(error),
        }
    }

    /// Writes the root into another folder (0600), as [`bring_root`](Self::bring_root) takes it.
    ///
    /// # Errors
    /// When it is not here, or is there already, or cannot be written.
    pub fn copy_root(dir: &Path, purpose: Purpose, to: &Path) -> Result<(), AuthorityError> {
        Self::load_root(dir, purpose)?;
        let brought = purpose.root_file(dir);
        let from = match brought.exists() {
            true => brought,
            false => purpose.file(dir),
        };
        Ok(files::create(&purpose.root_file(to), &files::read(&from)?)?)
    }

    /// Takes a root from a folder that [`copy_root`](Self::copy_root) wrote.
    ///
    /// # Errors
    /// When it is none, is of another cluster, is here already, or cannot be written.
    pub fn bring_root(dir: &Path, purpose: Purpose, from: &Path) -> Result<(), AuthorityError> {
        let own = Self::load(dir, purpose)?;
        let file = purpose.root_file(from);
        let root = Self::read(&file)?;
        if root.root.is_some() || root.certificate() != own.certificate() {
            return Err(AuthorityError::Content(file));
        }
        let place = match own.root {
            Some(_) => purpose.root_file(dir),
            // It is here.
            None => return Err(SecretFileError::Exists(purpose.file(dir)).into()),
        };
        Ok(files::create(&place, &files::read(&file)?)?)
    }

    /// Takes a root from a folder that [`copy_root`](Self::copy_root) wrote, as the authority of a member that had none: the first of a
    /// cluster that is restored.
    ///
    /// # Errors
    /// When it is none, is of another cluster, or cannot be written.
    pub fn take_root(
        dir: &Path,
        purpose: Purpose,
        from: &Path,
        cluster: &str,
    ) -> Result<Self, AuthorityError> {
        let file = purpose.root_file(from);
        let root = Self::read(&file)?;
        if root.root.is_some()
            || common_name(&root.certificate).as_deref() != Some(&root_name(purpose, cluster))
        {
            return Err(AuthorityError::Foreign(file));
        }
        files::create(&purpose.file(dir), &files::read(&file)?)?;
        Self::load(dir, purpose)
    }

    fn read(file: &Path) -> Result<Self, AuthorityError> {
        let bytes = files::read(file)?;
        let content = || AuthorityError::Content(file.to_owned());
        let text = files::vouched(&bytes).ok_or_else(content)?;
        let mut certificates = pem::certificates(text.as_bytes())
            .map_err(|_| content())?
            .into_iter();
        let certificate = certificates.next().ok_or_else(content)?;
        let root = certificates.next();
        let key = KeyPair::from_pem(text).map_err(|_| content())?;
        // One that was changed may be a certificate still, and a key: another one than everybody knows.
        let above = root.as_ref().unwrap_or(&certificate);
        let is_whole = is_signed_by(&certificate, above)
            && is_signed_by(above, above)
            && is_of(&certificate, &key.public_info());
        if !is_whole {
            return Err(content());
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key.0).map_err(|_| content())?;
        Ok(Self {
            certificate,
            root,
            issuer,
        })
    }

    /// What it is known by: the root's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        self.root.as_ref().unwrap_or(&self.certificate)
    }

    /// The authority below this one for a member that has the request's key, DER. Nothing is below it.
    ///
    /// # Errors
    /// When the request is not valid, or this is not the root.
    pub fn below(
        &self,
        request: &[u8],
        purpose: Purpose,
        member: &SpiffeId,
    ) -> Result<Vec<u8>, AuthorityError> {
        if self.root.is_some() || !allows_below(&self.certificate) {
            return Err(AuthorityError::NoneBelow);
        }
        let request = parse_request(request)?;
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names.push(uri(member)?);
        params.distinguished_name = name(&format!(
            "Verger {} of {} at {}",
            purpose.word(),
            short(&member.cluster),
            member.peer
        ));
        params.use_authority_key_identifier_extension = true;
        valid_for_years(&mut params);
        let made = params.signed_by(&request.public_key, &self.issuer)?;
        Ok(made.der().to_vec())
    }

    /// Writes the file (0600) of an authority that was [put below](Self::below) the root, with its key.
    ///
    /// # Errors
    /// When the certificates are not these: one for this key, signed by the root. When it is there already, or cannot be written.
    pub fn keep_below(
        dir: &Path,
        purpose: Purpose,
        key: &KeyPair,
        certificate: &[u8],
        root: &[u8],
    ) -> Result<Self, AuthorityError> {
        if !is_signed_by(certificate, root) || !is_of(certificate, &key.public_info()) {
            return Err(AuthorityError::NotBelow);
        }
        let text = format!(
            "{}{}{}",
            pem::encode("CERTIFICATE", certificate),
            pem::encode("CERTIFICATE", root),
            key.to_pem().as_str()
        );
        files::create(&purpose.file(dir), files::vouch(&text).as_bytes())?;
        Self::load(dir, purpose)
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
        params.subject_alt_names.push(uri(id)?);
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
        let above = self.root.iter().map(|root| root.to_vec());
        Ok(Issued {
            chain: [leaf.der().to_vec(), self.certificate.to_vec()]
                .into_iter()
                .chain(above)
                .collect(),
            not_after,
        })
    }
}

fn parse_request(request: &[u8]) -> Result<CertificateSigningRequestParams, AuthorityError> {
    // Checks the signature: whoever asks holds the key.
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
        .map_err(|error| AuthorityError::Request(error.to_string()))
}

fn uri(id: &SpiffeId) -> Result<SanType, AuthorityError> {
    let uri = id
        .to_string()
        .try_into()
        .map_err(|_| AuthorityError::Request("the name is not ASCII".to_owned()))?;
    Ok(SanType::URI(uri))
}

fn valid_for_years(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::from_secs(AUTHORITY_YEARS * 365 * 86_400);
}

fn root_name(purpose: Purpose, cluster: &str) -> String {
    format!("Verger {} of {}", purpose.word(), short(cluster))
}

fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    Some(name.as_str().ok()?.to_owned())
}

fn short(cluster: &str) -> &str {
    &cluster[..16.min(cluster.len())]
}

fn allows_below(root: &[u8]) -> bool {
    let Ok((_, root)) = x509_parser::parse_x509_certificate(root) else {
        return false;
    };
    let constraints = root.basic_constraints().ok().flatten();
    constraints.is_some_and(|of| of.value.path_len_constraint.is_none_or(|length| length > 0))
}

fn is_signed_by(certificate: &[u8], root: &[u8]) -> bool {
    let (Ok((_, certificate)), Ok((_, root))) = (
        x509_parser::parse_x509_certificate(certificate),
        x509_parser::parse_x509_certificate(root),
    ) else {
        return false;
    };
    certificate.is_ca() && certificate.verify_signature(Some(root.public_key())).is_ok()
}

fn is_of(certificate: &[u8], key: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == key)
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
