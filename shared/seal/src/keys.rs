//! Ed25519 keys (RFC 8032). The private half never leaves the person's machine.

use std::fmt;

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use verger_policy::digest::Digest;
use zeroize::Zeroizing;

/// The public half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not the public half of an Ed25519 key.
    #[error("not an Ed25519 public key: write its 64 lower-case hex digits")]
    Public,
    /// Not a private key file.
    #[error("not an Ed25519 private key in PEM (PKCS #8), as `verger keys generate` writes it")]
    Private,
}

impl PublicKey {
    /// Takes the 32 bytes of a point.
    ///
    /// # Errors
    /// When they are none, one of the weak ones, or not the point's only canonical spelling (a key must not be able to
    /// count twice).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidKey::Public)?;
        if key.is_weak() || key.to_edwards().compress().to_bytes() != bytes {
            return Err(InvalidKey::Public);
        }
        Ok(Self(bytes))
    }

    /// Reads 64 lower-case hex digits.
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

    /// The 64 hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The key's id: `sha256:` and the digest of `verger/v1/key\0` and the 32 bytes. For people to compare; never a
    /// reason to trust.
    pub fn id(&self) -> String {
        let mut bytes = b"verger/v1/key\0".to_vec();
        bytes.extend(self.0);
        Digest::of(&bytes).to_string()
    }

    /// Whether `signature` over `message` is this key's, by the strict rules (no malleability, no small order).
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (
            VerifyingKey::from_bytes(&self.0),
            Signature::from_slice(signature),
        ) else {
            return false;
        };
        key.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.hex())
    }
}

/// The private half.
pub struct SealingKey(SigningKey);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.public().id())
    }
}

impl SealingKey {
    /// Makes a key of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads PEM.
    ///
    /// # Errors
    /// When it is no Ed25519 private key.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        SigningKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(|_| InvalidKey::Private)
    }

    /// Writes PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let pem = self
            .0
            .to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF);
        Zeroizing::new(pem.expect("a key has an encoding").to_string())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_read_back() {
        let key = SealingKey::from_seed([9; 32]);
        assert_eq!(
            SealingKey::from_pem(&key.to_pem()).unwrap().public(),
            key.public()
        );
        assert_eq!(PublicKey::from_hex(&key.public().hex()).unwrap(), key.public());
    }

    #[test]
    fn keys_and_signatures_are_those_of_rfc_8032() {
        // Section 7.1, TEST 2.
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let key = SealingKey::from_seed(hex::decode(seed).unwrap().try_into().unwrap());
        assert_eq!(key.public().hex(), public);
        assert_eq!(hex::encode(key.sign(&[0x72])), signature);
        assert!(key.public().verifies(&[0x72], &hex::decode(signature).unwrap()));
    }

    #[test]
    fn a_signature_has_one_spelling_only() {
        let key = SealingKey::from_seed([9; 32]);
        let mut signature = key.sign(b"m");
        assert!(key.public().verifies(b"m", &signature));
        // S + L, the malleable twin that careless verifiers take.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(!key.public().verifies(b"m", &signature));
        assert!(!key.public().verifies(b"m", &signature[..63]));
        assert!(!key.public().verifies(b"m", b""));
    }

    #[test]
    fn a_signature_over_a_weak_point_is_refused() {
        // R is the identity and S = k·a: the equation holds, and only the strict rules refuse it.
        let signature = "0100000000000000000000000000000000000000000000000000000000000000\
                         4b48d3a236fc4c66506b2cd2f990a838fcbcc96223e5ac24eb8cce7c5888d106";
        let key = SealingKey::from_seed([9; 32]);
        let signature = Signature::from_slice(&hex::decode(signature).unwrap()).unwrap();
        let lenient = VerifyingKey::from_bytes(&key.public().0).unwrap();
        assert!(ed25519_dalek::Verifier::verify(&lenient, b"m", &signature).is_ok());
        assert!(!key.public().verifies(b"m", &signature.to_bytes()));
    }

    #[test]
    fn weak_points_and_other_spellings_are_no_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        // p + 3, which careless readers take for y = 3.
        let mut unreduced = [0xff; 32];
        (unreduced[0], unreduced[31]) = (0xf0, 0x7f);
        for bytes in [identity, [0; 32], unreduced, [0xff; 32]] {
            assert_eq!(PublicKey::from_bytes(bytes), Err(InvalidKey::Public), "{bytes:?}");
        }
        let public = SealingKey::from_seed([9; 32]).public().hex();
        for text in [
            "",
            "00",
            &public.to_uppercase(),
            &format!("{public} "),
            &public[1..],
        ] {
            assert_eq!(PublicKey::from_hex(text), Err(InvalidKey::Public), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_private_keys() {
        let key = SealingKey::from_seed([9; 32]);
        let pem = key.to_pem();
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            &pem.replace("PRIVATE", "PUBLIC"),
            &pem[..pem.len() / 2],
        ] {
            assert_eq!(SealingKey::from_pem(text).map(|_| ()), Err(InvalidKey::Private));
        }
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let key = SealingKey::from_seed([9; 32]);
        assert_eq!(format!("{key:?}"), format!("SealingKey({})", key.public().id()));
    }
}
