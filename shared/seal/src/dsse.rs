//! DSSE envelopes (<https://github.com/secure-systems-lab/dsse>, protocol and envelope 1.0): signatures over a payload and
//! its type.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::keys::{PublicKey, SealingKey};
use crate::sshsig::InvalidSignature;

/// The largest envelope that is read, bytes.
pub const MAX_ENVELOPE_BYTES: usize = 256 << 10;
/// The most signatures in one. With [`crate::MAX_KEYS`] it bounds the work of verifying to about a thousand
/// signatures, some tens of milliseconds.
pub const MAX_SIGNATURES: usize = 32;

/// A payload with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    key_id: String,
    bytes: Vec<u8>,
}

/// Bytes that are no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    /// Too long.
    #[error("an envelope of {0} bytes is over the limit of {MAX_ENVELOPE_BYTES}")]
    TooLarge(usize),
    /// Not its JSON.
    #[error("not a DSSE envelope")]
    Json,
    /// A field is not base64.
    #[error("the envelope's `{0}` is not base64")]
    Base64(&'static str),
    /// Too many signatures, or none.
    #[error("an envelope has 1 to {MAX_SIGNATURES} signatures, this one {0}")]
    Signatures(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    payload_type: String,
    payload: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    keyid: String,
    sig: String,
}

/// The bytes that are signed (DSSE's pre-authentication encoding).
pub(crate) fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend(payload);
    bytes
}

impl Envelope {
    /// Signs a payload with every key given, at most [`MAX_SIGNATURES`] (no envelope with more is ever read).
    pub fn seal(payload_type: &str, payload: Vec<u8>, keys: &[&SealingKey]) -> Self {
        let mut envelope = Self {
            payload_type: payload_type.to_owned(),
            payload,
            signatures: Vec::new(),
        };
        for key in keys {
            envelope.add(key);
        }
        envelope
    }

    /// Adds the signature of one more person, who has looked at the payload.
    pub fn add(&mut self, key: &SealingKey) {
        let bytes = key.sign(&self.to_sign());
        self.signatures.push(Signature {
            key_id: key.public().id(),
            bytes,
        });
    }

    /// The bytes that every signature is over, for those who sign elsewhere: see [`Self::attach`].
    pub fn to_sign(&self) -> Vec<u8> {
        encoding(&self.payload_type, &self.payload)
    }

    /// Adds a signature that was made elsewhere, such as by `ssh-agent`.
    ///
    /// # Errors
    /// When it is not that key's over [`Self::to_sign`]; nothing is added.
    pub fn attach(&mut self, key: &PublicKey, signature: Vec<u8>) -> Result<(), InvalidSignature> {
        key.check(&self.to_sign(), &signature)?;
        self.signatures.push(Signature {
            key_id: key.id(),
            bytes: signature,
        });
        Ok(())
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// When it is too large, or not exactly an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        let envelope = Self::parse_draft(bytes)?;
        if envelope.signatures.is_empty() {
            return Err(InvalidEnvelope::Signatures(0));
        }
        Ok(envelope)
    }

    /// As [`Self::parse`], for what people are asked to sign: nobody may have yet.
    pub(crate) fn parse_draft(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(InvalidEnvelope::TooLarge(bytes.len()));
        }
        let Json {
            payload_type,
            payload,
            signatures,
        } = serde_json::from_slice(bytes).map_err(|_| InvalidEnvelope::Json)?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(InvalidEnvelope::Signatures(signatures.len()));
        }
        let signatures = signatures
            .into_iter()
            .map(|JsonSignature { keyid, sig }| {
                let bytes = STANDARD.decode(sig).map_err(|_| InvalidEnvelope::Base64("sig"))?;
                Ok(Signature { key_id: keyid, bytes })
            })
            .collect::<Result<_, InvalidEnvelope>>()?;
        let payload = STANDARD
            .decode(payload)
            .map_err(|_| InvalidEnvelope::Base64("payload"))?;
        Ok(Self {
            payload_type,
            payload,
            signatures,
        })
    }

    /// Writes JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let json = Json {
            payload_type: self.payload_type.clone(),
            payload: STANDARD.encode(&self.payload),
            signatures: self
                .signatures
                .iter()
                .map(|Signature { key_id, bytes }| JsonSignature {
                    keyid: key_id.clone(),
                    sig: STANDARD.encode(bytes),
                })
                .collect(),
        };
        serde_json::to_vec(&json).expect("strings only")
    }

    /// What the payload is.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload. Means nothing until [`Self::signers`] says who signed it.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    #[cfg(test)]
    pub(crate) fn payload_in_base64(&self) -> String {
        STANDARD.encode(&self.payload)
    }

    /// Which *distinct* keys of `keys` have signed. Key ids are hints for people: every signature is tried with every
    /// key, and a key counts once however often it signed, and in however many forms it is among `keys`.
    pub fn signers(&self, keys: impl IntoIterator<Item = PublicKey>) -> BTreeSet<PublicKey> {
        let signed = encoding(&self.payload_type, &self.payload);
        let distinct: BTreeSet<PublicKey> = keys.into_iter().collect();
        let mut counted = BTreeSet::new();
        distinct
            .into_iter()
            .filter(|key| {
                self.signatures
                    .iter()
                    .any(|signature| key.verifies(&signed, &signature.bytes))
            })
            .filter(|key| counted.insert(key.material()))
            .collect()
    }

    /// The same envelope with one valid signature of each of these keys, in their order, and no other.
    pub(crate) fn only_signed_by(&self, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let signed = encoding(&self.payload_type, &self.payload);
        let by = |key: PublicKey| {
            let valid = |signature: &&Signature| key.verifies(&signed, &signature.bytes);
            let Signature { key_id: _, bytes } = self.signatures.iter().find(valid)?.clone();
            // The id it came with is a hint of whoever sent it.
            Some(Signature {
                key_id: key.id(),
                bytes,
            })
        };
        Self {
            payload_type: self.payload_type.clone(),
            payload: self.payload.clone(),
            signatures: keys.into_iter().filter_map(by).collect(),
        }
    }

    /// Adds the signatures of another envelope, which is of the same payload.
    pub(crate) fn take_over(&mut self, other: &Self) {
        self.signatures.extend(other.signatures.iter().cloned());
    }

    /// Whether a signature says it is by `key`. A hint: tells an altered envelope from one that strangers signed.
    pub(crate) fn names(&self, key: &PublicKey) -> bool {
        let id = key.id();
        self.signatures.iter().any(|signature| signature.key_id == id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed([seed; 32])
    }

    #[test]
    fn the_signed_encoding_is_that_of_the_specification() {
        // The example of the specification's protocol.md; its lengths are of bytes, not of characters.
        assert_eq!(
            encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        assert_eq!(encoding("ü", b""), "DSSEv1 2 ü 0 ".as_bytes());
    }

    #[test]
    fn type_and_payload_cannot_be_shifted_into_each_other() {
        assert_ne!(encoding("a 1 b", b""), encoding("a", b"b 0 "));
        assert_ne!(encoding("a", b"b"), encoding("ab", b""));
    }

    #[test]
    fn one_key_counts_once_however_often_it_signs() {
        let (one, two) = (key(1), key(2));
        let envelope = Envelope::seal("t", b"p".to_vec(), &[&one, &one, &one]);
        let keys = [one.public(), one.public(), two.public()];
        assert_eq!(envelope.signers(keys), BTreeSet::from([one.public()]));
        assert_eq!(
            Envelope::seal("t", b"p".to_vec(), &[&one, &two])
                .signers(keys)
                .len(),
            2
        );
    }

    #[test]
    fn one_key_counts_once_in_however_many_forms() {
        let (raw, ssh) = (key(1), SealingKey::ssh_ed25519([1; 32]));
        let p256 = SealingKey::ssh_p256([1; 32]).unwrap();
        let envelope = Envelope::seal("t", b"p".to_vec(), &[&raw, &ssh, &p256]);
        assert_eq!(envelope.signers([raw.public()]).len(), 1);
        assert_eq!(envelope.signers([ssh.public()]).len(), 1);
        assert_eq!(envelope.signers([raw.public(), ssh.public()]).len(), 1);
        assert_eq!(
            envelope.signers([ssh.public(), p256.public()]).len(),
            2,
            "another key"
        );
    }

    #[test]
    fn only_a_signature_that_verifies_is_attached() {
        let key = SealingKey::ssh_ed25519([1; 32]);
        let mut envelope = Envelope::seal("t", b"p".to_vec(), &[]);
        let signature = key.sign(&envelope.to_sign());
        for (wrong, public) in [
            (key.sign(b"p"), key.public()),
            (signature.clone(), SealingKey::from_seed([1; 32]).public()),
            (signature.clone(), SealingKey::ssh_ed25519([2; 32]).public()),
            (Vec::new(), key.public()),
        ] {
            envelope.attach(&public, wrong).unwrap_err();
        }
        assert_eq!(envelope, Envelope::seal("t", b"p".to_vec(), &[]));
        envelope.attach(&key.public(), signature).unwrap();
        assert_eq!(envelope, Envelope::seal("t", b"p".to_vec(), &[&key]));
    }

    #[test]
    fn key_ids_decide_nothing() {
        let (one, two) = (key(1), key(2));
        let mut envelope = Envelope::seal("t", b"p".to_vec(), &[&one, &two]);
        // Both signatures under one id; then under ids that name the other key, then under none.
        for ids in [
            [one.public().id(), one.public().id()],
            [two.public().id(), one.public().id()],
            Default::default(),
        ] {
            for (signature, id) in envelope.signatures.iter_mut().zip(ids) {
                signature.key_id = id;
            }
            assert_eq!(envelope.signers([one.public(), two.public()]).len(), 2);
        }
        // A stranger's signature under a trusted id.
        let mut forged = Envelope::seal("t", b"p".to_vec(), &[&key(9)]);
        forged.signatures[0].key_id = one.public().id();
        assert!(forged.signers([one.public()]).is_empty());
    }

    #[test]
    fn every_flipped_bit_of_payload_type_or_signature_is_seen() {
        let one = key(1);
        let envelope = Envelope::seal("type", b"payload".to_vec(), &[&one]);
        for index in 0..envelope.payload.len() * 8 {
            let mut altered = envelope.clone();
            altered.payload[index / 8] ^= 1 << (index % 8);
            assert!(altered.signers([one.public()]).is_empty(), "payload bit {index}");
        }
        for index in 0..64 * 8 {
            let mut altered = envelope.clone();
            altered.signatures[0].bytes[index / 8] ^= 1 << (index % 8);
            assert!(
                altered.signers([one.public()]).is_empty(),
                "signature bit {index}"
            );
        }
        let other = Envelope {
            payload_type: "typf".to_owned(),
            ..envelope.clone()
        };
        assert!(other.signers([one.public()]).is_empty());
        assert_eq!(envelope.signers([one.public()]).len(), 1);
    }

    #[test]
    fn envelopes_read_back() {
        let mut envelope = Envelope::seal("t", b"p".to_vec(), &[&key(1)]);
        envelope.add(&key(2));
        assert_eq!(envelope, Envelope::seal("t", b"p".to_vec(), &[&key(1), &key(2)]));
        assert_eq!(Envelope::parse(&envelope.to_json()), Ok(envelope));
    }

    #[test]
    fn what_is_not_exactly_an_envelope_is_refused() {
        let cases: [(&str, InvalidEnvelope); 10] = [
            ("", InvalidEnvelope::Json),
            ("[]", InvalidEnvelope::Json),
            (
                r#"{"payloadType":"t","payload":"","signatures":[]}"#,
                InvalidEnvelope::Signatures(0),
            ),
            (
                r#"{"payloadType":"t","payload":"","signatures":[{"keyid":"","sig":""}],"x":1}"#,
                InvalidEnvelope::Json,
            ),
            (
                r#"{"payloadType":"t","payload":"","signatures":[{"keyid":"","sig":"","x":1}]}"#,
                InvalidEnvelope::Json,
            ),
            (
                r#"{"payloadType":"t","payload":"","payload":"","signatures":[{"keyid":"","sig":""}]}"#,
                InvalidEnvelope::Json,
            ),
            (
                r#"{"payloadType":"t","payload":"","signatures":[{"keyid":"","sig":""}]}{}"#,
                InvalidEnvelope::Json,
            ),
            (
                r#"{"payloadType":"t","payload":"cA","signatures":[{"keyid":"","sig":""}]}"#,
                InvalidEnvelope::Base64("payload"),
            ),
            (
                r#"{"payloadType":"t","payload":"","signatures":[{"keyid":"","sig":"cB=="}]}"#,
                InvalidEnvelope::Base64("sig"),
            ),
            (
                r#"{"payloadType":"t","payload":"_w==","signatures":[{"keyid":"","sig":""}]}"#,
                InvalidEnvelope::Base64("payload"),
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(Envelope::parse(text.as_bytes()), Err(wanted), "{text}");
        }
    }

    #[test]
    fn envelopes_over_a_limit_are_refused() {
        let blank = vec![b' '; MAX_ENVELOPE_BYTES + 1];
        assert_eq!(
            Envelope::parse(&blank),
            Err(InvalidEnvelope::TooLarge(MAX_ENVELOPE_BYTES + 1))
        );
        let key = key(1);
        let most = Envelope::seal("t", b"p".to_vec(), &[&key; MAX_SIGNATURES]);
        Envelope::parse(&most.to_json()).unwrap();
        let over = Envelope::seal("t", b"p".to_vec(), &[&key; MAX_SIGNATURES + 1]);
        assert_eq!(
            Envelope::parse(&over.to_json()),
            Err(InvalidEnvelope::Signatures(MAX_SIGNATURES + 1))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Envelope::parse(&bytes);
        }

        #[test]
        fn what_is_read_is_written_the_same(kind: String, payload: Vec<u8>) {
            let envelope = Envelope::seal(&kind, payload, &[&key(1)]);
            proptest::prop_assert_eq!(Envelope::parse(&envelope.to_json()), Ok(envelope));
        }
    }
}
