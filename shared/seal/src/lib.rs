//! The seal: whose signatures make a policy set policy.
//!
//! Pure functions over bytes, keys and times that are passed in; used by agent, controller and CLI alike. The crate does no
//! I/O and knows no clock and no randomness. Keys are Ed25519 keys of Verger's own and SSH keys, and the verification counts
//! distinct ones against any threshold.
//!
//! The order of trust: a person brings the cluster id, which names version 1 of the [`TrustRoot`]; each version vouches
//! for the next; the one in force says whose seal on a [`SetStatement`] counts; the statement says which set, by its root. It
//! says, too, whose majority on a [`Stamp`] counts: that of the members, who say which set is the newest, and what time it is.

mod chain;
mod dsse;
mod findings_head;
mod freshness;
#[cfg(test)]
mod frozen;
#[cfg(test)]
mod fuzz;
mod keys;
mod partial;
mod refusal;
mod rotation;
mod sshsig;
mod statement;
mod trust_root;
mod verify;
mod wire;

pub use chain::{
    AUDIT_ROWS, AUDIT_SECONDS, BrokenChain, ChainCheck, ChainHead, ChainRow, InvalidChainHead, Keepsake,
    KeptHead, KeptRows, Verified,
};
pub use dsse::{Envelope, InvalidEnvelope, MAX_ENVELOPE_BYTES, MAX_SIGNATURES};
pub use findings_head::{AgentKey, FINDINGS_HEAD_PAYLOAD_TYPE, FindingsHead, HeadRefusal, SignedHead};
pub use freshness::{FRESHNESS_PAYLOAD_TYPE, MemberKey, Stamp, merge_stamps, verify_stamp};
pub use keys::{InvalidKey, PublicKey, SealingKey};
pub use partial::PartialSeal;
pub use refusal::Refusal;
pub use rotation::{MAX_ROTATION_BYTES, Rotation, verify_rotation};
pub use sshsig::{InvalidSignature, SSHSIG_NAMESPACE, sshsig_signed_data};
pub use statement::{DEFAULT_VALID_DAYS, MAX_EPOCH, SET_PAYLOAD_TYPE, SetStatement, default_not_after};
pub use trust_root::{MAX_KEYS, MAX_LATER_VERSIONS, TRUST_ROOT_PAYLOAD_TYPE, Terms, TrustRoot, TrustedKey};
pub use verify::{MAX_EPOCH_JUMP, SealedSet, admit, follows, verify_held, verify_set};
pub use wire::{Reader, put_string};
