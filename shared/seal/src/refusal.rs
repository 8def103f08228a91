//! Why something sealed is refused. One reason each, with a stable word.

use jiff::Timestamp;
use verger_policy::digest::Digest;

use crate::dsse::InvalidEnvelope;

/// Why a seal, or the set under it, is refused. The last good set stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an envelope.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// Signed for another purpose.
    #[error("what is signed is a `{found}`, wanted is a `{wanted}`")]
    WrongPurpose {
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// None of the signatures is by a key of the trust root.
    #[error("no key of the trust root has signed this")]
    WrongKey,
    /// A signature names a key of the trust root, but that key signed something else.
    #[error(
        "what was signed has been altered, or the signature is forged: it names a key of the trust root, but is not its own"
    )]
    Altered,
    /// Too few distinct keys.
    #[error("{signers} distinct keys have signed, {threshold} are needed")]
    BelowThreshold {
        /// How many did.
        signers: usize,
        /// How many must.
        threshold: usize,
    },
    /// Nobody is named whose word on freshness counts.
    #[error("the trust root names no members' keys: `verger trust rotate --add-member` adds one")]
    NoMemberKeys,
    /// What is signed has no meaning.
    #[error("what is signed cannot be read: {0}")]
    Malformed(&'static str),
    /// For another cluster.
    #[error("the seal is for another cluster")]
    OtherCluster,
    /// Made under another trust root.
    #[error("the seal was made under another trust root than the one in force")]
    OtherTrustRoot,
    /// Not the version of the trust root that comes next.
    #[error("this is version {found} of the trust root, the next one is version {wanted}")]
    TrustRootVersion {
        /// What it is.
        found: u64,
        /// What it should be.
        wanted: u64,
    },
    /// Signatures over something else than what they are added to.
    #[error("this was signed over another statement")]
    OtherStatement,
    /// Past its time.
    #[error("the seal ended at {not_after}; seal the set again")]
    Expired {
        /// When it ended.
        not_after: Timestamp,
    },
    /// For another epoch than the set offered.
    #[error("the seal is for epoch {sealed}, the set is epoch {set}")]
    EpochMismatch {
        /// What was sealed.
        sealed: u64,
        /// What was offered.
        set: u64,
    },
    /// For other contents.
    #[error("the set's root is {set}, sealed is {sealed}")]
    RootMismatch {
        /// What was sealed.
        sealed: Digest,
        /// What was offered.
        set: Digest,
    },
    /// For another number of entries.
    #[error("the set has {set} entries, sealed are {sealed}")]
    CountMismatch {
        /// What was sealed.
        sealed: u64,
        /// What was offered.
        set: u64,
    },
    /// Older than what is held.
    #[error("epoch {offered} is older than epoch {held}, which is held")]
    LowerEpoch {
        /// What was offered.
        offered: u64,
        /// What is held.
        held: u64,
    },
    /// The epoch that is held, with other contents.
    #[error("epoch {0} is held already, with another root: somebody sealed two sets under one number")]
    SameEpochOtherRoot(u64),
    /// Too far ahead.
    #[error(
        "epoch {offered} is further than {bound} ahead of epoch {held}; a person must confirm it on this host: `verger-agent confirm-epoch`"
    )]
    EpochJump {
        /// What was offered.
        offered: u64,
        /// What is held.
        held: u64,
        /// How far it may be.
        bound: u64,
    },
}

impl Refusal {
    /// A stable word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "envelope",
            Self::WrongPurpose { .. } => "wrong-purpose",
            Self::WrongKey => "wrong-key",
            Self::Altered => "altered",
            Self::BelowThreshold { .. } => "below-threshold",
            Self::NoMemberKeys => "no-member-keys",
            Self::Malformed(_) => "malformed",
            Self::OtherCluster => "other-cluster",
            Self::OtherStatement => "other-statement",
            Self::OtherTrustRoot => "trust-root-mismatch",
            Self::TrustRootVersion { .. } => "trust-root-version",
            Self::Expired { .. } => "expired",
            Self::EpochMismatch { .. } => "epoch-mismatch",
            Self::RootMismatch { .. } => "root-mismatch",
            Self::CountMismatch { sealed, set } if *set < *sealed => "entry-left-out",
            Self::CountMismatch { .. } => "entry-added",
            Self::LowerEpoch { .. } => "lower-epoch",
            Self::SameEpochOtherRoot(_) => "same-epoch-other-root",
            Self::EpochJump { .. } => "epoch-jump",
        }
    }
}
