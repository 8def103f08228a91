//! What the members of a cluster sign of its freshness: which set is the newest, where the audit stands, and what time it is.
//!
//! A member that was taken over can withhold newer sets; it cannot make the others say that there are none. Their keys are in the
//! trust root, apart from those that seal: a member's key says nothing of policy.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::model::printable_within;
use zeroize::Zeroizing;

use crate::chain::ChainHead;
use crate::dsse::Envelope;
use crate::keys::{InvalidKey, PublicKey, SealingKey};
use crate::refusal::Refusal;
use crate::statement::MAX_EPOCH;
use crate::trust_root::{TrustRoot, unsigned};

/// The DSSE payload type: bound to this purpose, so that no signature made for anything else serves here.
pub const FRESHNESS_PAYLOAD_TYPE: &str = "application/vnd.verger.freshness.v1+json";

/// What is signed, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// For this cluster only.
    pub cluster_id: Digest,
    /// The newest set's number.
    pub epoch: u64,
    /// Its root.
    pub root: Digest,
    /// The version of the trust root in force.
    pub trust_root_version: u64,
    /// The digest of that version.
    pub trust_root_digest: Digest,
    /// When, in whole seconds.
    pub at: Timestamp,
    /// The audit's head then, or a little before.
    pub audit: ChainHead,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    at: String,
    audit_head: String,
    cluster_id: String,
    epoch: u64,
    root: String,
    trust_root_digest: String,
    trust_root_version: u64,
}

impl Stamp {
    /// States what is newest under a trust root. The moment is cut to whole seconds.
    pub fn new(trust_root: &TrustRoot, epoch: u64, root: Digest, audit: ChainHead, at: Timestamp) -> Self {
        Self {
            cluster_id: trust_root.cluster_id(),
            epoch,
            root,
            trust_root_version: trust_root.version(),
            trust_root_digest: trust_root.digest(),
            at: Timestamp::from_second(at.as_second()).expect("an instant cut to its second is one"),
            audit,
        }
    }

    /// The bytes that are signed: RFC 8785 JSON.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let Self {
            cluster_id,
            epoch,
            root,
            trust_root_version,
            trust_root_digest,
            at,
            audit,
        } = self;
        let json = Json {
            at: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            audit_head: audit.to_string(),
            cluster_id: cluster_id.to_string(),
            epoch: *epoch,
            root: root.to_string(),
            trust_root_digest: trust_root_digest.to_string(),
            trust_root_version: *trust_root_version,
        };
        serde_json_canonicalizer::to_vec(&json).expect("strings and bounded integers")
    }

    /// Reads what was signed; only its canonical spelling.
    fn from_canonical(bytes: &[u8]) -> Result<Self, Refusal> {
        let Json {
            at,
            audit_head,
            cluster_id,
            epoch,
            root,
            trust_root_digest,
            trust_root_version,
        } = serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed("not a freshness stamp"))?;
        if epoch > MAX_EPOCH || trust_root_version > MAX_EPOCH {
            return Err(Refusal::Malformed("a number is beyond 2^53 - 1"));
        }
        let digest = |text: &str| -> Result<Digest, Refusal> {
            text.parse()
                .map_err(|_| Refusal::Malformed("a digest of the stamp is none"))
        };
        let stamp = Self {
            cluster_id: digest(&cluster_id)?,
            epoch,
            root: digest(&root)?,
            trust_root_version,
            trust_root_digest: digest(&trust_root_digest)?,
            at: at.parse().map_err(|_| Refusal::Malformed("`at` is no instant"))?,
            audit: audit_head
                .parse()
                .map_err(|_| Refusal::Malformed("`auditHead` is no head"))?,
        };
        if stamp.canonical_bytes() != bytes {
            return Err(Refusal::Malformed("not in its canonical spelling"));
        }
        Ok(stamp)
    }

    /// Reads a stamp that waits for more signatures: one member's at least. It says nothing yet.
    ///
    /// # Errors
    /// Each failure with its own reason.
    pub fn read(trust_root: &TrustRoot, envelope: &[u8]) -> Result<(Self, Envelope), Refusal> {
        if trust_root.members().is_empty() {
            return Err(Refusal::NoMemberKeys);
        }
        let envelope = Envelope::parse(envelope)?;
        purpose(&envelope)?;
        let signers = envelope.signers(trust_root.members().iter().map(|key| key.public));
        if signers.is_empty() {
            return Err(unsigned(trust_root.members(), &envelope));
        }
        let stamp = statement_of(trust_root, &envelope)?;
        Ok((stamp, envelope))
    }
}

fn purpose(envelope: &Envelope) -> Result<(), Refusal> {
    if envelope.payload_type() == FRESHNESS_PAYLOAD_TYPE {
        return Ok(());
    }
    Err(Refusal::WrongPurpose {
        found: printable_within(envelope.payload_type(), 80),
        wanted: FRESHNESS_PAYLOAD_TYPE,
    })
}

fn statement_of(trust_root: &TrustRoot, envelope: &Envelope) -> Result<Stamp, Refusal> {
    let stamp = Stamp::from_canonical(envelope.payload())?;
    if stamp.cluster_id != trust_root.cluster_id() {
        return Err(Refusal::OtherCluster);
    }
    if (stamp.trust_root_version, stamp.trust_root_digest) != (trust_root.version(), trust_root.digest()) {
        return Err(Refusal::OtherTrustRoot);
    }
    Ok(stamp)
}

/// Verifies a stamp: a majority of distinct members, purpose, cluster, trust root. How old it may be is for the reader to say.
///
/// # Errors
/// Each failure with its own reason.
pub fn verify_stamp(trust_root: &TrustRoot, envelope: &[u8]) -> Result<Stamp, Refusal> {
    let envelope = Envelope::parse(envelope)?;
    purpose(&envelope)?;
    // Nothing of the payload is looked at before enough are known to have signed it.
    trust_root.signed_by_members(&envelope)?;
    statement_of(trust_root, &envelope)
}

/// One stamp with the members' signatures of both, each once; those of others are left out.
///
/// # Errors
/// When they are not of the same bytes.
pub fn merge_stamps(trust_root: &TrustRoot, one: &Envelope, other: &Envelope) -> Result<Envelope, Refusal> {
    if one.payload_type() != other.payload_type() || one.payload() != other.payload() {
        return Err(Refusal::OtherStatement);
    }
    let mut both = one.clone();
    both.take_over(other);
    Ok(both.only_signed_by(trust_root.members().iter().map(|key| key.public)))
}

/// The key that a member stamps with, and can do nothing else with: no other statement is made under it.
pub struct MemberKey(SealingKey);

impl MemberKey {
    /// Makes a key of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SealingKey::from_seed(seed))
    }

    /// Reads PEM.
    ///
    /// # Errors
    /// When it is no Ed25519 key of Verger's own.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        SealingKey::from_pem(pem).map(Self)
    }

    /// Writes PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.0.to_pem().expect("a key of Verger's own has that form")
    }

    /// The half that goes into the trust root.
    pub fn public(&self) -> PublicKey {
        self.0.public()
    }

    /// Signs a stamp.
    pub fn stamp(&self, stamp: &Stamp) -> Envelope {
        Envelope::seal(FRESHNESS_PAYLOAD_TYPE, stamp.canonical_bytes(), &[&self.0])
    }
}

#[cfg(test)]
mod tests;
