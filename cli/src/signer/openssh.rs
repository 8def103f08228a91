//! Private keys in OpenSSH's form (PROTOCOL.key). Pure.

use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData};
use ssh_key::{Cipher, Kdf, LineEnding, PrivateKey};
use verger_seal::{InvalidKey, PublicKey, SealingKey};
use zeroize::Zeroizing;

const BEGINNING: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
/// The most rounds of the key derivation that are worked off: a minute or so. `ssh-keygen` makes 16 to 24 unless told otherwise.
const MOST_ROUNDS: u32 = 4096;
/// The rounds of keys that are made here.
const ROUNDS: u32 = 24;

/// A private key file that was read.
pub(super) enum Stored {
    /// Not protected.
    Open(SealingKey),
    /// Protected by a passphrase.
    Locked(Locked),
}

/// A private key that a passphrase protects.
pub(super) struct Locked {
    key: Box<PrivateKey>,
    public: PublicKey,
}

/// Why a private key file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Not exactly such a file.
    #[error("a damaged OpenSSH private key, or one in a cipher that is not taken")]
    Damaged,
    /// The private key is not in it.
    #[error(
        "the key lies in a security key, and this file only names it: `ssh-add` it, and name the .pub file beside it"
    )]
    Hardware,
    /// Of a kind that does not seal.
    #[error("{0}")]
    Kind(InvalidKey),
    /// Protected so that opening it would take too long.
    #[error("its passphrase takes {0} rounds, more than the {MOST_ROUNDS} that are worked off here")]
    Rounds(u32),
    /// The passphrase does not open it.
    #[error("wrong passphrase")]
    Passphrase,
}

/// Whether a text says it is one.
pub(super) fn is_one(text: &str) -> bool {
    text.trim_start().starts_with(BEGINNING)
}

/// Reads a private key file.
///
/// # Errors
/// When it is none, or of a key that does not seal here.
pub(super) fn read(text: &str) -> Result<Stored, Unusable> {
    let key = PrivateKey::from_openssh(text.trim_start()).map_err(|_| Unusable::Damaged)?;
    let wire = key.public_key().to_bytes().map_err(|_| Unusable::Damaged)?;
    let public = PublicKey::from_ssh_wire(&wire).map_err(Unusable::Kind)?;
    if public.is_hardware() {
        return Err(Unusable::Hardware);
    }
    if !key.is_encrypted() {
        return sealing(&key, &public).map(Stored::Open);
    }
    match key.kdf() {
        Kdf::Bcrypt { rounds, .. } if *rounds > MOST_ROUNDS => Err(Unusable::Rounds(*rounds)),
        Kdf::Bcrypt { .. } => Ok(Stored::Locked(Locked {
            key: Box::new(key),
            public,
        })),
        _ => Err(Unusable::Damaged),
    }
}

/// The key, if it is the private half of the public one that stands before it.
fn sealing(key: &PrivateKey, public: &PublicKey) -> Result<SealingKey, Unusable> {
    let key = match key.key_data() {
        KeypairData::Ed25519(Ed25519Keypair { private, .. }) => SealingKey::ssh_ed25519(private.to_bytes()),
        KeypairData::Ecdsa(EcdsaKeypair::NistP256 { private, .. }) => {
            let scalar = private.as_slice().try_into().map_err(|_| Unusable::Damaged)?;
            SealingKey::ssh_p256(scalar).map_err(|_| Unusable::Damaged)?
        }
        _ => return Err(Unusable::Damaged),
    };
    if key.public() == *public {
        Ok(key)
    } else {
        Err(Unusable::Damaged)
    }
}

impl Locked {
    /// The public half, which is not protected.
    pub(super) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Opens it. Takes as long as its rounds: a tenth of a second, up to a minute.
    ///
    /// # Errors
    /// When the passphrase is wrong, or what it opens is not the key.
    pub(super) fn unlock(&self, passphrase: &[u8]) -> Result<SealingKey, Unusable> {
        let key = self.key.decrypt(passphrase).map_err(|_| Unusable::Passphrase)?;
        sealing(&key, &self.public)
    }
}

/// Writes the `ssh-ed25519` key of a seed, protected by a passphrase: AES-256-CTR under bcrypt. `salt` and `check` are random.
///
/// # Errors
/// When the passphrase is empty.
pub(crate) fn lock(
    seed: &[u8; 32],
    passphrase: &[u8],
    salt: [u8; 16],
    check: u32,
) -> anyhow::Result<Zeroizing<String>> {
    let failed = |error| anyhow::anyhow!("the key cannot be protected: {error}");
    let pair = KeypairData::from(pair(seed).map_err(failed)?);
    let kdf = Kdf::Bcrypt {
        salt: salt.to_vec(),
        rounds: ROUNDS,
    };
    PrivateKey::new(pair, "verger")
        .and_then(|key| key.encrypt_with(Cipher::Aes256Ctr, kdf, check, passphrase))
        .and_then(|key| key.to_openssh(LineEnding::LF))
        .map_err(failed)
}

fn pair(seed: &[u8; 32]) -> ssh_key::Result<Ed25519Keypair> {
    let public = SealingKey::ssh_ed25519(*seed).public();
    let wire = public.ssh_wire().expect("an SSH key has bytes on the wire");
    let mut both = Zeroizing::new([0; 64]);
    both[..32].copy_from_slice(seed);
    both[32..].copy_from_slice(&wire[wire.len() - 32..]);
    Ed25519Keypair::from_bytes(&both)
}

#[cfg(test)]
pub(super) mod tests;
