//! A certificate with its key.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::certificate::spiffe_id;
use crate::files::{self, SecretFileError};
use crate::pem;

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Its file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// What is in it.
    #[error("{0}")]
    Content(String),
    /// Key and certificate do not belong together, or the key is of a kind that is not used.
    #[error("the key cannot be used with the certificate")]
    Key(#[source] rustls::Error),
    /// The certificate library.
    #[error("cannot make a key or a request")]
    Make(#[from] rcgen::Error),
}

/// A private key, made here and never sent.
pub struct KeyPair(pub(crate) rcgen::KeyPair);

impl KeyPair {
    /// Makes one (ECDSA over P-256).
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self(rcgen::KeyPair::generate_for(
            &rcgen::PKCS_ECDSA_P256_SHA256,
        )?))
    }

    /// Reads the key in a PEM text; certificates may stand before it, as in the files this crate writes.
    ///
    /// # Errors
    /// When it is no key.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        // rcgen's own reader takes the first section, whatever it is.
        Ok(Self(rcgen::KeyPair::try_from(&pem::key(pem)?)?))
    }

    /// Writes PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// Signs bytes (ECDSA over SHA-256): `r || s`, 64 bytes. For statements that say what they are for: the key serves TLS too.
    ///
    /// # Errors
    /// When the key is not over P-256, or the system gives no randomness.
    pub fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], IdentityError> {
        let signature = rcgen::SigningKey::sign(&self.0, bytes)?;
        fixed(&signature)
            .ok_or_else(|| IdentityError::Content("the key does not sign as one over P-256 does".to_owned()))
    }

    /// The public half, as a SubjectPublicKeyInfo in DER.
    pub fn public_info(&self) -> Vec<u8> {
        rcgen::PublicKeyData::subject_public_key_info(&self.0)
    }

    /// Asks for a certificate (PKCS #10, DER). It names nobody: the name is the issuer's to give.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, IdentityError> {
        let request = rcgen::CertificateParams::new([])?.serialize_request(&self.0)?;
        Ok(request.der().to_vec())
    }
}

/// `r || s` of a signature in DER (RFC 3279, section 2.2.3): two integers in a sequence; `None` if it is none of P-256.
fn fixed(der: &[u8]) -> Option<[u8; 64]> {
    let (head, mut rest) = der.split_first_chunk::<2>()?;
    if *head != [0x30, u8::try_from(rest.len()).ok()?] {
        return None;
    }
    let mut both = [0; 64];
    for half in both.chunks_mut(32) {
        let (&[kind, length], after) = rest.split_first_chunk::<2>()?;
        if kind != 0x02 {
            return None;
        }
        let (integer, after) = after.split_at_checked(length.into())?;
        // A zero in front only says that the number is not negative.
        let integer = integer.strip_prefix(&[0]).unwrap_or(integer);
        let place = 32_usize.checked_sub(integer.len())?;
        half.get_mut(place..)?.copy_from_slice(integer);
        rest = after;
    }
    rest.is_empty().then_some(both)
}

/// A certificate chain, leaf first, with its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<String>,
}

impl Identity {
    /// Puts a chain and a key together.
    pub fn new(chain: Vec<Vec<u8>>, key: &KeyPair) -> Self {
        Self {
            chain: chain.into_iter().map(CertificateDer::from).collect(),
            key: key.to_pem(),
        }
    }

    /// Reads PEM texts.
    ///
    /// # Errors
    /// When there is no certificate, or one cannot be read.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, IdentityError> {
        Ok(Self {
            chain: pem::certificates(chain.as_bytes())?,
            key: Zeroizing::new(key.to_owned()),
        })
    }

    /// Reads a file that holds the chain and the key.
    ///
    /// # Errors
    /// When the file is not private, or does not hold both.
    pub fn load(file: &Path) -> Result<Self, IdentityError> {
        let bytes = files::read(file)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| IdentityError::Content(format!("{file:?} is not PEM")))?;
        Ok(Self {
            chain: linked(pem::certificates(text.as_bytes())?),
            // The key alone: what else is in the file would be written beside it again.
            key: pem::key_text(text)?,
        })
    }

    /// Writes a file that holds the chain and the key, in one step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), IdentityError> {
        let text = Zeroizing::new(format!("{}{}", self.chain_pem(), self.key.as_str()));
        Ok(files::replace(file, text.as_bytes())?)
    }

    /// Puts the chain that a renewal gave together with this identity's key.
    ///
    /// # Errors
    /// When it [does not replace](Self::replaces) this one: then this one is to be kept.
    pub fn renewed(&self, chain: Vec<Vec<u8>>) -> Result<Self, IdentityError> {
        let renewed = Self {
            chain: chain.into_iter().map(CertificateDer::from).collect(),
            key: self.key.clone(),
        };
        renewed.replaces(self)?;
        Ok(renewed)
    }

    /// Checks that this identity can take the place of `old`: it can be read and used with its key, names the same peer, and
    /// ends neither before now nor before `old`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn replaces(&self, old: &Self) -> Result<(), IdentityError> {
        let wrong = |what: &str| Err(IdentityError::Content(what.to_owned()));
        for certificate in &self.chain {
            let parsed = x509_parser::parse_x509_certificate(certificate);
            if !parsed.is_ok_and(|(rest, _)| rest.is_empty()) {
                return wrong("a certificate of its chain cannot be read");
            }
        }
        let not_after = self.not_after()?;
        self.certified()?;
        let name = |identity: &Self| identity.chain.first().and_then(|leaf| spiffe_id(leaf));
        if name(self).is_none() || name(self) != name(old) {
            return wrong("it is for somebody else");
        }
        if not_after < old.not_after()? {
            return wrong("it ends before the one that it should replace");
        }
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        if not_after <= now {
            return wrong("it has ended already");
        }
        Ok(())
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|certificate| pem::encode("CERTIFICATE", certificate))
            .collect()
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// The key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn key(&self) -> Result<KeyPair, IdentityError> {
        KeyPair::from_pem(&self.key)
    }

    /// When the leaf ends, seconds since 1970.
    ///
    /// # Errors
    /// When the leaf cannot be read.
    pub fn not_after(&self) -> Result<i64, IdentityError> {
        self.validity().map(|(_, not_after)| not_after)
    }

    /// When the leaf begins and ends, seconds since 1970.
    ///
    /// # Errors
    /// When the leaf cannot be read.
    pub fn validity(&self) -> Result<(i64, i64), IdentityError> {
        let leaf = self
            .chain
            .first()
            .ok_or_else(|| IdentityError::Content("there is no certificate".to_owned()))?;
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|error| IdentityError::Content(format!("the certificate cannot be read: {error}")))?;
        let validity = leaf.validity();
        Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
    }

    pub(crate) fn certified(&self) -> Result<Arc<CertifiedKey>, IdentityError> {
        let key = pem::key(&self.key)?;
        let signer = rustls::crypto::ring::sign::any_supported_type(&key).map_err(IdentityError::Key)?;
        let certified = CertifiedKey::new(self.chain.clone(), signer);
        certified.keys_match().map_err(IdentityError::Key)?;
        Ok(Arc::new(certified))
    }
}

/// A leaf, and for as long as there is one the certificate of who issued the one before: files of before had older chains behind.
fn linked(certificates: Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    let mut chain: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in certificates {
        let is_next = match chain.last() {
            None => true,
            Some(before) => {
                let names = |certificate: &CertificateDer<'_>| {
                    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
                    let (subject, issuer) = (parsed.subject().as_raw(), parsed.issuer().as_raw());
                    Some((subject.to_vec(), issuer.to_vec()))
                };
                match (names(before), names(&certificate)) {
                    // Who issued its own certificate is the last.
                    (Some((subject, issuer)), Some((next, _))) => subject != issuer && issuer == next,
                    // What cannot be read is refused where it is used.
                    _ => true,
                }
            }
        };
        if !is_next {
            break;
        }
        chain.push(certificate);
    }
    chain
}

#[cfg(test)]
mod tests;
