//! The types openraft is instantiated with.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std::LeaderId;
use verger_controller_state::Response;

/// A member's number within the cluster.
pub(crate) type MemberId = u64;

openraft::declare_raft_types!(
    /// One leader a term (standard Raft), so that a log id is a term and an index.
    pub(crate) TypeConfig:
        D = Batch,
        R = Replies,
        NodeId = MemberId,
        Node = openraft::BasicNode,
        LeaderId = LeaderId<u64, MemberId>,
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// Commands packed into one log entry, each encoded.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) Vec<Bytes>);

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.0.len())
    }
}

// Commands may hold what people would rather not find in a log.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One reply per command of the batch, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies(pub(crate) Vec<Response>);
