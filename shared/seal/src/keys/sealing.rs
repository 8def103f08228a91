//! Private halves that this process holds.

use std::fmt;

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use super::{Form, InvalidKey, Material, PublicKey, SshKey};
use crate::sshsig;

/// The private half, with the form its public half has.
pub struct SealingKey(Secret);

enum Secret {
    Raw(SigningKey),
    SshEd25519(SigningKey),
    SshP256(p256::ecdsa::SigningKey),
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.public().id())
    }
}

impl SealingKey {
    /// Makes a key of Verger's own of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(Secret::Raw(SigningKey::from_bytes(&seed)))
    }

    /// Makes an `ssh-ed25519` key of 32 random bytes (RFC 8032's private key).
    pub fn ssh_ed25519(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(Secret::SshEd25519(SigningKey::from_bytes(&seed)))
    }

    /// Makes an `ecdsa-sha2-nistp256` key of its scalar, 32 bytes, big end first.
    ///
    /// # Errors
    /// When it is 0, or not below the order of the curve.
    pub fn ssh_p256(scalar: [u8; 32]) -> Result<Self, InvalidKey> {
        let scalar = Zeroizing::new(scalar);
        let key = p256::ecdsa::SigningKey::from_slice(scalar.as_slice());
        key.map(Secret::SshP256)
            .map(Self)
            .map_err(|_| InvalidKey::Private)
    }

    /// Reads PEM: a key of Verger's own.
    ///
    /// # Errors
    /// When it is no Ed25519 private key.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        SigningKey::from_pkcs8_pem(pem)
            .map(Secret::Raw)
            .map(Self)
            .map_err(|_| InvalidKey::Private)
    }

    /// Writes PEM. None of an SSH key, which would come back in another form.
    pub fn to_pem(&self) -> Option<Zeroizing<String>> {
        let Secret::Raw(key) = &self.0 else {
            return None;
        };
        let pem = key.to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF);
        Some(Zeroizing::new(pem.expect("a key has an encoding").to_string()))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let ssh = |material| {
            PublicKey(Form::Ssh(SshKey {
                material,
                application: None,
            }))
        };
        match &self.0 {
            Secret::Raw(key) => PublicKey(Form::Raw(key.verifying_key().to_bytes())),
            Secret::SshEd25519(key) => ssh(Material::Ed25519(key.verifying_key().to_bytes())),
            Secret::SshP256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                ssh(Material::p256(point.as_bytes()).expect("the point of a private key is sound"))
            }
        }
    }

    /// Signs, in the key's form. The same bytes give the same signature (RFC 8032, RFC 6979).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self.public().ssh() {
            None => self.sign_data(message),
            Some(key) => sshsig::wrap(key, &self.sign_data(&sshsig::sshsig_signed_data(message))),
        }
    }

    /// The signature proper over these bytes as they are.
    pub(crate) fn sign_data(&self, data: &[u8]) -> Vec<u8> {
        let signature: [u8; 64] = match &self.0 {
            Secret::Raw(key) | Secret::SshEd25519(key) => key.sign(data).to_bytes(),
            Secret::SshP256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(data);
                signature.to_bytes().into()
            }
        };
        let public = self.public();
        public
            .ssh()
            .map_or_else(|| signature.to_vec(), |key| sshsig::proper(key, &signature))
    }
}
