//! What is known beside the ledger: how far this host had come, should the ledger be lost or set back.

use verger_policy::digest::Digest;

use crate::freshness::KnownTime;

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

/// All that is kept beside the ledger, written whole or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// How far this host has come; none before the first set.
    pub floor: Option<Floor>,
    /// What is known of time; none before the first stamp.
    pub time: Option<KnownTime>,
    /// What was kept here was gone, and is made anew from the ledger, which may have been set back before that. Until members say
    /// that the set in it is the newest; where none are named, until a set is accepted.
    pub doubted: bool,
}
