//! What is known beside the ledger: how far this host had come, should the ledger be lost or set back.

use verger_policy::digest::Digest;

/// The highest position that this host ever accepted. It is kept with the host's identity, apart from the ledger: whoever puts an
/// older ledger in the place of this host's takes nothing back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The version of the trust root.
    pub trust_root: u64,
    /// The epoch.
    pub epoch: u64,
    /// The root of that epoch's set.
    pub root: Digest,
}
