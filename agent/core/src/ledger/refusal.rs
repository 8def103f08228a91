//! Why a set is refused, and why a ledger cannot be used.

use verger_policy::digest::Digest;
use verger_policy::draft::InvalidObject;
use verger_policy::model::ObjectKey;
use verger_policy::set::SetError;
use verger_seal::Refusal;

/// Why an offered set is refused. The last good set stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedOffer {
    /// The seal, or how the set follows the held one.
    #[error(transparent)]
    Seal(#[from] Refusal),
    /// A later version of the trust root.
    #[error("a later version of the trust root: {0}")]
    TrustRoot(Refusal),
    /// The entries do not make a set, or a body is not its entry's.
    #[error("the set does not fit together: {0}")]
    Set(#[from] SetError),
    /// A body is not in the one spelling that is signed.
    #[error("the body of {key} is not canonical: {problem}")]
    NotCanonical {
        /// Of which object.
        key: ObjectKey,
        /// What is wrong with it.
        problem: InvalidObject,
    },
    /// A body is of another object than said.
    #[error("the body sent as that of {0} is another object's")]
    MislabelledBody(ObjectKey),
    /// A body is there twice.
    #[error("the body of {0} was sent twice")]
    BodyTwice(ObjectKey),
    /// A body that no entry names.
    #[error("a body of {0} was sent and the set has no such entry")]
    StrayBody(ObjectKey),
    /// This host is selected by an object whose body was neither sent nor held.
    #[error("{0} concerns this host, and its body was not sent")]
    MissingBody(ObjectKey),
}

impl RefusedOffer {
    /// A stable word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Seal(refusal) => refusal.word(),
            Self::TrustRoot(refusal) => of_trust_root(refusal),
            Self::Set(problem) => problem.word(),
            Self::NotCanonical { .. } => "not-canonical",
            Self::MislabelledBody(_) => "mislabelled-body",
            Self::BodyTwice(_) => "body-twice",
            Self::StrayBody(_) => "stray-body",
            Self::MissingBody(_) => "missing-body",
        }
    }
}

/// What may be wrong with a seal as well has another word where it is wrong with a version of the trust root.
const fn of_trust_root(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Envelope(_) => "trust-root-envelope",
        Refusal::WrongPurpose { .. } => "trust-root-wrong-purpose",
        Refusal::WrongKey => "trust-root-wrong-key",
        Refusal::Altered => "trust-root-altered",
        Refusal::BelowThreshold { .. } => "trust-root-below-threshold",
        Refusal::Malformed(_) => "trust-root-malformed",
        Refusal::OtherCluster => "trust-root-other-cluster",
        _ => refusal.word(),
    }
}

/// Why a ledger cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableLedger {
    /// Nothing was ever accepted.
    #[error("this host is not enrolled: run the join command that `verger` printed")]
    NotEnrolled,
    /// The trust root is none.
    #[error("the trust root is not usable: {0}")]
    TrustRoot(Refusal),
    /// Somebody else's trust root.
    #[error(
        "the trust root is that of cluster {found}; the join command names {wanted}: do not trust this controller"
    )]
    OtherCluster {
        /// Whose it is.
        found: Digest,
        /// Whose it should be.
        wanted: Digest,
    },
    /// The set is not the highest ever accepted.
    #[error(
        "the ledger holds epoch {held}, and epoch {highest} was accepted: it was tampered with or damaged"
    )]
    EpochBack {
        /// The held set's.
        held: u64,
        /// The highest.
        highest: u64,
    },
    /// The held set would be refused today.
    #[error("the held set is refused: {0}")]
    Set(RefusedOffer),
}
