//! What an agent signs of its findings: how far it has told them, and what stands.
//!
//! The key is that of its certificate (ECDSA over P-256), which nobody but the agent has; the controllers know it from the
//! enrolment by its digest. The bytes that are signed are DSSE's pre-authentication encoding under a type of their own: no
//! signature that this key makes for TLS or for a request of a certificate serves here, nor the other way round. A controller
//! can withhold a head, or show an old one, and make none up.

use jiff::Timestamp;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::finding::{Chain, Told};
use verger_policy::model::AgentId;

use crate::dsse;

/// The payload type: bound to this purpose.
pub const FINDINGS_HEAD_PAYLOAD_TYPE: &str = "application/vnd.verger.findings-head.v1+json";
/// The longest statement that is read, bytes; a true one has less than a thousand.
const MAX_STATEMENT: usize = 2 << 10;
/// A SubjectPublicKeyInfo of an uncompressed point of P-256 (RFC 5480) up to the point.
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingsHead {
    /// In this cluster only.
    pub cluster: Digest,
    /// Whose findings.
    pub agent: AgentId,
    /// Where they stand.
    pub told: Told,
    /// When it was signed, by the agent's clock, in whole milliseconds.
    pub at: Timestamp,
}

/// Numbers are texts: JSON's are exact up to 2^53 only.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    agent: String,
    at: String,
    chain: String,
    cluster_id: String,
    open: String,
    sequence: String,
    table: String,
}

/// A head with the key that signed it, and its signature. The bytes are kept as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// The statement, RFC 8785 JSON.
    pub statement: Vec<u8>,
    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub key: Vec<u8>,
    /// `r || s` of ECDSA over SHA-256, 64 bytes.
    pub signature: Vec<u8>,
}

/// Why a head counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadRefusal {
    /// Not a key of an agent.
    #[error("the key of the head is no public key of P-256")]
    Key,
    /// Not signed by the key it names.
    #[error("the head is not signed by the key it comes with, or was altered")]
    Signature,
    /// Signed, and without meaning.
    #[error("the head cannot be read: {0}")]
    Malformed(&'static str),
}

impl FindingsHead {
    /// The bytes of the statement: RFC 8785 JSON.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let Self {
            cluster,
            agent,
            told: Told { chain, open, table },
            at,
        } = self;
        let json = Json {
            agent: agent.to_string(),
            at: at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            chain: chain.digest.to_string(),
            cluster_id: cluster.to_string(),
            open: open.to_string(),
            sequence: chain.sequence.to_string(),
            table: table.to_string(),
        };
        serde_json_canonicalizer::to_vec(&json).expect("strings only")
    }

    /// The bytes that the agent's key signs.
    pub fn to_sign(&self) -> Vec<u8> {
        dsse::encoding(FINDINGS_HEAD_PAYLOAD_TYPE, &self.canonical_bytes())
    }

    /// Reads a statement; only its canonical spelling.
    ///
    /// # Errors
    /// When it is none.
    fn from_canonical(bytes: &[u8]) -> Result<Self, HeadRefusal> {
        if bytes.len() > MAX_STATEMENT {
            return Err(HeadRefusal::Malformed("it is too long"));
        }
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|_| HeadRefusal::Malformed("it is not a statement on findings"))?;
        let Json {
            agent,
            at,
            chain,
            cluster_id,
            open,
            sequence,
            table,
        } = json;
        let digest = |text: String, what| text.parse().map_err(|_| HeadRefusal::Malformed(what));
        let number = |text: String, what| text.parse().map_err(|_| HeadRefusal::Malformed(what));
        let head = Self {
            cluster: digest(cluster_id, "clusterId is no digest")?,
            agent: agent
                .parse()
                .map_err(|_| HeadRefusal::Malformed("agent is no name"))?,
            told: Told {
                chain: Chain {
                    sequence: number(sequence, "sequence is no number")?,
                    digest: digest(chain, "chain is no digest")?,
                },
                open: number(open, "open is no number")?,
                table: digest(table, "table is no digest")?,
            },
            at: at
                .parse()
                .map_err(|_| HeadRefusal::Malformed("at is no instant"))?,
        };
        if head.canonical_bytes() != bytes {
            return Err(HeadRefusal::Malformed("it is not in its canonical spelling"));
        }
        Ok(head)
    }
}

impl SignedHead {
    /// The digest of the key: what an enrolment is recorded under.
    pub fn key_digest(&self) -> Digest {
        Digest::of(&self.key)
    }

    /// What is signed, once the signature is that of the key it comes with. Whose key that is, is for the caller to know, by
    /// [its digest](Self::key_digest).
    ///
    /// # Errors
    /// When it is not.
    pub fn open(&self) -> Result<FindingsHead, HeadRefusal> {
        let Self {
            statement,
            key,
            signature,
        } = self;
        let point = key.strip_prefix(&P256_INFO).ok_or(HeadRefusal::Key)?;
        // Uncompressed: a key must not have two digests.
        if point.len() != 65 || point[0] != 4 {
            return Err(HeadRefusal::Key);
        }
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| HeadRefusal::Key)?;
        let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| HeadRefusal::Signature)?;
        let signed = dsse::encoding(FINDINGS_HEAD_PAYLOAD_TYPE, statement);
        key.verify(&signed, &signature)
            .map_err(|_| HeadRefusal::Signature)?;
        FindingsHead::from_canonical(statement)
    }
}

/// An agent's key where it is held as a number. Agents hold theirs with their certificate, in `verger-transport`.
pub struct AgentKey(p256::ecdsa::SigningKey);

impl AgentKey {
    /// Takes a scalar, 32 bytes, big end first; none if it is 0, or not below the order of the curve.
    pub fn from_scalar(scalar: [u8; 32]) -> Option<Self> {
        p256::ecdsa::SigningKey::from_slice(&scalar).ok().map(Self)
    }

    /// The public half, as a SubjectPublicKeyInfo in DER.
    pub fn public_info(&self) -> Vec<u8> {
        let point = self.0.verifying_key().to_sec1_point(false);
        [&P256_INFO, point.as_bytes()].concat()
    }

    /// Signs bytes as they are: `r || s`.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = self.0.sign(bytes);
        signature.to_bytes().to_vec()
    }

    /// Signs a head.
    pub fn sign_head(&self, head: &FindingsHead) -> SignedHead {
        SignedHead {
            statement: head.canonical_bytes(),
            key: self.public_info(),
            signature: self.sign(&head.to_sign()),
        }
    }
}

#[cfg(test)]
mod tests;
