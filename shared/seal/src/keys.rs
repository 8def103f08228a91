//! Keys that seal: Ed25519 keys of Verger's own (RFC 8032), and SSH keys. The private half never leaves the person's machine,
//! or the security key.

mod invalid;
mod material;
mod sealing;
mod ssh;

use std::fmt;
use std::str::FromStr;

use verger_policy::digest::Digest;

pub use invalid::InvalidKey;
pub(crate) use material::Material;
pub use sealing::SealingKey;
pub(crate) use ssh::SshKey;

use crate::sshsig::{self, InvalidSignature};

/// The public half, in the form it signs in. A key of Verger's own signs the bytes themselves; an SSH key never does, only what
/// SSHSIG makes of them ([`crate::sshsig_signed_data`]), so neither form's signature serves for the other.
///
/// Written as a person writes it: 64 hex digits, or `ssh-ed25519 AAAA…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Form);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    /// Ed25519, of Verger's own.
    Raw([u8; 32]),
    Ssh(SshKey),
}

/// The algorithm of keys of Verger's own.
const RAW: &str = "ed25519";

impl PublicKey {
    /// Takes the 32 bytes of a point, for a key of Verger's own.
    ///
    /// # Errors
    /// When they are none, one of the weak ones, or not the point's only canonical spelling (a key must not be able to
    /// count twice).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        Material::ed25519(bytes).ok_or(InvalidKey::Public)?;
        Ok(Self(Form::Raw(bytes)))
    }

    /// Reads 64 lower-case hex digits: a key of Verger's own.
    ///
    /// # Errors
    /// When it is no key.
    pub fn from_hex(text: &str) -> Result<Self, InvalidKey> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidKey::Public);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidKey::Public)?;
        Self::from_bytes(bytes)
    }

    /// Reads what a trust root states: [`Self::algorithm`] and [`Self::encoded`].
    ///
    /// # Errors
    /// When it is no key that may seal, or not in its only spelling.
    pub fn from_parts(algorithm: &str, encoded: &str) -> Result<Self, InvalidKey> {
        if algorithm == RAW {
            return Self::from_hex(encoded);
        }
        SshKey::from_parts(algorithm, encoded).map(|key| Self(Form::Ssh(key)))
    }

    /// Takes the bytes of an SSH key on the wire (RFC 4253, section 6.6), as `ssh-agent` lists it.
    ///
    /// # Errors
    /// When it is no SSH key that may seal.
    pub fn from_ssh_wire(bytes: &[u8]) -> Result<Self, InvalidKey> {
        SshKey::from_wire(bytes).map(|key| Self(Form::Ssh(key)))
    }

    /// The bytes of an SSH key on the wire; none of a key of Verger's own.
    pub fn ssh_wire(&self) -> Option<Vec<u8>> {
        self.ssh().map(SshKey::wire)
    }

    const fn ssh(&self) -> Option<&SshKey> {
        match &self.0 {
            Form::Raw(_) => None,
            Form::Ssh(key) => Some(key),
        }
    }

    /// `ed25519` for a key of Verger's own; SSH's name for the kind of an SSH key.
    pub const fn algorithm(&self) -> &'static str {
        match &self.0 {
            Form::Raw(_) => RAW,
            Form::Ssh(key) => key.algorithm(),
        }
    }

    /// The key without its algorithm: 64 hex digits, or base64 of the wire.
    pub fn encoded(&self) -> String {
        match &self.0 {
            Form::Raw(bytes) => hex::encode(bytes),
            Form::Ssh(key) => key.base64(),
        }
    }

    /// The key's id, for people to compare; never a reason to trust. Of a key of Verger's own `sha256:` and the digest of
    /// `verger/v1/key\0` and the 32 bytes; of an SSH key `SHA256:…` as `ssh-keygen -l` prints it.
    pub fn id(&self) -> String {
        match &self.0 {
            Form::Raw(key) => {
                let mut bytes = b"verger/v1/key\0".to_vec();
                bytes.extend(key);
                Digest::of(&bytes).to_string()
            }
            Form::Ssh(key) => key.fingerprint(),
        }
    }

    /// Whether it is a key of Verger's own.
    pub const fn is_own(&self) -> bool {
        matches!(self.0, Form::Raw(_))
    }

    /// Whether it lies in a security key (FIDO), which a person touches to sign.
    pub const fn is_hardware(&self) -> bool {
        matches!(&self.0, Form::Ssh(key) if key.application.is_some())
    }

    /// Whether both are the same key, be it in another form: they count once.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.material() == other.material()
    }

    pub(crate) const fn material(&self) -> Material {
        match &self.0 {
            Form::Raw(bytes) => Material::Ed25519(*bytes),
            Form::Ssh(key) => key.material,
        }
    }

    /// Puts together this key's signature from the signature proper that `ssh-agent` gave for
    /// [`crate::sshsig_signed_data`]; none for a key of Verger's own. [`Self::check`] says whether it is one.
    pub fn sshsig(&self, proper: &[u8]) -> Option<Vec<u8>> {
        self.ssh().map(|key| sshsig::wrap(key, proper))
    }

    /// Whether `signature` over `message` is this key's: 64 bytes by the strict rules of Ed25519 (no malleability, no small
    /// order) for a key of Verger's own, else an SSHSIG that names exactly this key, with the touch of a person if it is a FIDO
    /// key.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        match &self.0 {
            Form::Raw(_) => {
                let signature = signature.try_into().map_err(|_| InvalidSignature::Form)?;
                if self.material().verifies(message, signature) {
                    Ok(())
                } else {
                    Err(InvalidSignature::Forged)
                }
            }
            Form::Ssh(key) => sshsig::check(key, message, signature),
        }
    }

    /// Whether [`Self::check`] finds nothing wrong.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.check(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    /// Reads 64 hex digits, or a line of a `.pub` file: a kind, base64, and a comment that means nothing.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some(_), None) => Self::from_hex(text),
            (Some(RAW) | None, _) => Err(InvalidKey::Public),
            (Some(kind), Some(base64)) if text.lines().count() == 1 => Self::from_parts(kind, base64),
            _ => Err(InvalidKey::Public),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Raw(bytes) => f.write_str(&hex::encode(bytes)),
            Form::Ssh(key) => key.fmt(f),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests;
