//! The points behind public keys, and what their signatures are held to.

use ed25519_dalek::{Signature, VerifyingKey};
use p256::ecdsa::signature::Verifier as _;

/// What tells keys apart: the same point in another form, or for another application, is the same key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Material {
    /// The 32 bytes of a point of edwards25519 (RFC 8032), in their only canonical spelling.
    Ed25519([u8; 32]),
    /// The 65 bytes of a point of NIST P-256, uncompressed (SEC 1, section 2.3.3).
    P256([u8; 65]),
}

impl Material {
    /// A point that can be a key: on its curve, in its only spelling, and none of the weak ones.
    pub(crate) fn ed25519(bytes: [u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(&bytes).ok()?;
        let sound = !key.is_weak() && key.to_edwards().compress().to_bytes() == bytes;
        sound.then_some(Self::Ed25519(bytes))
    }

    /// A point that can be a key: on its curve, and uncompressed (a key must not be able to count twice).
    pub(crate) fn p256(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 65] = bytes.try_into().ok()?;
        let sound = bytes[0] == 4 && p256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).is_ok();
        sound.then_some(Self::P256(bytes))
    }

    /// Whether a signature over `message` is this point's: 64 bytes, `R || S` of Ed25519 by the strict rules (no
    /// malleability, no small order), `r || s` of ECDSA over SHA-256. ECDSA takes `s` and `-s` alike, as every SSH does.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match self {
            Self::Ed25519(point) => VerifyingKey::from_bytes(point).is_ok_and(|key| {
                key.verify_strict(message, &Signature::from_bytes(signature))
                    .is_ok()
            }),
            Self::P256(point) => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point);
                let signature = p256::ecdsa::Signature::from_slice(signature);
                key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
            }
        }
    }
}
