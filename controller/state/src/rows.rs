//! The applied state as rows: what a member keeps on disk, and rebuilds the memory image from.

mod read;
mod write;

pub use read::Rebuild;
pub(crate) use write::*;

use crate::version::ClusterVersion;

/// The stored format of rows.
const FORMAT: u32 = 1;
/// That of the cluster's row where the seal is in a row of its own.
const SEAL_APART: u32 = 2;

// Rows of the tree `cluster`.
const CLUSTER_KEY: &[u8] = b"cluster";
// By itself, so that a restarted member's clock is where the others' is.
const SEAL_KEY: &[u8] = b"seal";
// By itself: whoever opens rows looks there first.
const VERSION_KEY: &[u8] = ClusterVersion::ROW.1;
const CLOCK_KEY: &[u8] = b"clock";
const HELD_BACK_KEY: &[u8] = b"held_back";
const RESTORED_KEY: &[u8] = b"restored";
const HORIZONS_KEY: &[u8] = b"horizons";
// Followed by the version, big-endian.
const TRUST_ROOT_PREFIX: &[u8] = b"trust_root/";
const PROPOSAL_HEAD_KEY: &[u8] = b"proposals";
const AUDIT_HEAD_KEY: &[u8] = b"audit";
const STAMP_KEY: &[u8] = b"stamp";
const PARTIAL_STAMP_KEY: &[u8] = b"stamp_partial";

/// What a row is about. One tree of the store each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// The founding, the epoch, the seal; the clock; the last number of a proposal; how far what is gone is forgotten; where the audit stands; stamps.
    Cluster,
    /// Policy objects, and tombstones of deleted ones.
    Objects,
    /// Proposals, and their bodies.
    Proposals,
    /// Join tokens.
    Tokens,
    /// People's logins.
    Logins,
    /// Enrolled hosts.
    Hosts,
    /// Members of the control plane that were invited, let in or removed.
    Members,
    /// One row per finding and host.
    Findings,
    /// One row per finding, and tombstones of those that are gone.
    FindingHeads,
    /// Requests remembered.
    Requests,
    /// What was done, by whom.
    Audit,
}

impl Tree {
    /// Every tree.
    pub const ALL: [Self; 11] = [
        Self::Cluster,
        Self::Objects,
        Self::Proposals,
        Self::Tokens,
        Self::Logins,
        Self::Hosts,
        Self::Members,
        Self::Findings,
        Self::FindingHeads,
        Self::Requests,
        Self::Audit,
    ];

    /// Its name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Objects => "objects",
            Self::Proposals => "proposals",
            Self::Tokens => "tokens",
            Self::Logins => "logins",
            Self::Hosts => "hosts",
            Self::Members => "members",
            Self::Findings => "findings",
            Self::FindingHeads => "finding_heads",
            Self::Requests => "requests",
            Self::Audit => "audit",
        }
    }

    /// The tree of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tree| tree.name() == name)
    }
}

/// A row put (`value` is there) or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Where.
    pub tree: Tree,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// A stored row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of `{tree}` cannot be read: {what}", tree = tree.name())]
pub struct DamagedRow {
    /// In this tree.
    pub tree: Tree,
    /// What is wrong.
    pub what: String,
}
