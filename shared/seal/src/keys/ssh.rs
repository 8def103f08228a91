//! SSH public keys (RFC 4253 section 6.6, RFC 8709, RFC 5656, and PROTOCOL.u2f of OpenSSH for the FIDO kinds).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use verger_policy::digest::Digest;

use super::invalid::InvalidKey;
use super::material::Material;
use crate::wire::{Reader, put_string};

const ED25519: &str = "ssh-ed25519";
const P256: &str = "ecdsa-sha2-nistp256";
const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com";
const SK_P256: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
/// The curve's name inside keys and signatures.
const CURVE: &[u8] = b"nistp256";
/// The longest application of a FIDO key, bytes.
const MAX_APPLICATION: usize = 64;
/// The longest base64 of a key, characters; the longest one that is taken has about 260.
const MAX_BASE64: usize = 1024;

/// An SSH key that may seal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SshKey {
    pub(crate) material: Material,
    /// Only FIDO keys have one: what they were made for. Signed with every signature.
    pub(crate) application: Option<Application>,
}

/// The application of a FIDO key, in a fixed space, so that keys stay values that are copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Application {
    bytes: [u8; MAX_APPLICATION],
    length: usize,
}

impl Application {
    /// Takes only what `ssh-keygen` makes: `ssh:` and what may follow it. A key for a web site signs what the site asks for.
    fn new(text: &[u8]) -> Result<Self, InvalidKey> {
        let printable = text.iter().all(|byte| (0x21..0x7f).contains(byte));
        if text.len() > MAX_APPLICATION || !text.starts_with(b"ssh:") || !printable {
            return Err(InvalidKey::Application);
        }
        let mut bytes = [0; MAX_APPLICATION];
        bytes[..text.len()].copy_from_slice(text);
        Ok(Self {
            bytes,
            length: text.len(),
        })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl SshKey {
    /// The name of its kind, as SSH has it.
    pub(crate) const fn algorithm(&self) -> &'static str {
        match (&self.material, &self.application) {
            (Material::Ed25519(_), None) => ED25519,
            (Material::P256(_), None) => P256,
            (Material::Ed25519(_), Some(_)) => SK_ED25519,
            (Material::P256(_), Some(_)) => SK_P256,
        }
    }

    /// Its bytes on the wire.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, self.algorithm().as_bytes());
        match &self.material {
            Material::Ed25519(point) => put_string(&mut out, point),
            Material::P256(point) => {
                put_string(&mut out, CURVE);
                put_string(&mut out, point);
            }
        }
        if let Some(application) = &self.application {
            put_string(&mut out, application.as_bytes());
        }
        out
    }

    /// Reads exactly its bytes on the wire.
    pub(crate) fn from_wire(bytes: &[u8]) -> Result<Self, InvalidKey> {
        let mut reader = Reader::new(bytes);
        let algorithm = reader.string().ok_or(InvalidKey::Malformed)?;
        let algorithm = std::str::from_utf8(algorithm).map_err(|_| InvalidKey::Malformed)?;
        let material = match algorithm {
            ED25519 | SK_ED25519 => {
                let point = reader.string().and_then(|point| point.try_into().ok());
                point.and_then(Material::ed25519)
            }
            P256 | SK_P256 => {
                let curve = reader.string() == Some(CURVE);
                reader.string().filter(|_| curve).and_then(Material::p256)
            }
            other => return Err(refused(other)),
        };
        let material = material.ok_or(InvalidKey::Malformed)?;
        let application = match algorithm {
            SK_ED25519 | SK_P256 => {
                let text = reader.string().ok_or(InvalidKey::Malformed)?;
                Some(Application::new(text)?)
            }
            _ => None,
        };
        if !reader.is_done() {
            return Err(InvalidKey::Malformed);
        }
        Ok(Self {
            material,
            application,
        })
    }

    /// Reads the name of a kind, and base64 of the wire in its only spelling.
    pub(crate) fn from_parts(algorithm: &str, base64: &str) -> Result<Self, InvalidKey> {
        if !matches!(algorithm, ED25519 | P256 | SK_ED25519 | SK_P256) {
            return Err(refused(algorithm));
        }
        if base64.len() > MAX_BASE64 {
            return Err(InvalidKey::Malformed);
        }
        let wire = STANDARD.decode(base64).map_err(|_| InvalidKey::Malformed)?;
        let key = Self::from_wire(&wire)?;
        if key.algorithm() != algorithm {
            return Err(InvalidKey::Malformed);
        }
        Ok(key)
    }

    /// Base64 of the wire.
    pub(crate) fn base64(&self) -> String {
        STANDARD.encode(self.wire())
    }

    /// `SHA256:` and the digest of the wire, as `ssh-keygen -l` prints it.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = Digest::of(&self.wire());
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest.as_bytes()))
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.base64())
    }
}

/// Why a kind is not taken.
fn refused(algorithm: &str) -> InvalidKey {
    match algorithm {
        _ if algorithm.contains("-cert-v0") => InvalidKey::Certificate,
        "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512" => InvalidKey::Rsa,
        "ssh-dss" => InvalidKey::Dsa,
        "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => InvalidKey::Curve,
        _ => InvalidKey::Kind,
    }
}

#[cfg(test)]
mod tests;
