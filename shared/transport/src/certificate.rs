//! What is read of a peer's certificate.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;

use crate::spiffe_id::{Peer, SpiffeId};

/// How long after its end an agent's certificate is taken for its own renewal: a host may have been switched off, or cut off,
/// for longer than the day it lives.
pub const RENEWAL_GRACE: Duration = Duration::from_secs(30 * 86_400);

/// A peer's certificate, after its chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is.
    pub peer: Peer,
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key: [u8; 32],
    /// When it ends, seconds since 1970.
    pub not_after: i64,
}

impl PeerCertificate {
    /// Reads DER; `None` if it cannot be read or names nobody.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let SpiffeId { cluster: _, peer } = spiffe_id(der)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(Self {
            peer,
            key: Sha256::digest(certificate.public_key().raw).into(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

/// The SPIFFE id in a certificate: exactly one URI name.
pub(crate) fn spiffe_id(der: &[u8]) -> Option<SpiffeId> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let id = uris.next()?.parse().ok()?;
    uris.next().is_none().then_some(id)
}

/// When a certificate begins, seconds since 1970.
pub(crate) fn begins(der: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_before.timestamp())
}

/// When a certificate ended, if that was before `now` (both seconds since 1970) and not longer ago than the grace.
pub(crate) fn lapsed(der: &[u8], now: u64) -> Option<u64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let end = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    (end < now && now - end <= RENEWAL_GRACE.as_secs()).then_some(end)
}
