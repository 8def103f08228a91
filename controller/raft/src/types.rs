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
        R = Committed,
        NodeId = MemberId,
        Node = Node,
        LeaderId = LeaderId<u64, MemberId>,
        AsyncRuntime = crate::runtime::Runtime,
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// What is known of a member by all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name in its certificate.
    pub name: String,
    /// Where its peers call it: `HOST:PORT`.
    pub address: String,
    /// Where agents and people call it; empty where that was never said.
    pub api: String,
    /// Where agents enrol and people log in; empty where that was never said.
    pub enrol: String,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

/// Who took commands and waits for their answers: a member, when it was started, and its number for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) member: MemberId,
    pub(crate) start: u64,
    pub(crate) number: u64,
}

/// Commands packed into one log entry, each encoded.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Batch {
    pub(crate) commands: Vec<Bytes>,
    pub(crate) origin: Option<Origin>,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.commands.len())
    }
}

// Commands may hold what people would rather not find in a log.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What whoever leads is told of an entry: nothing. Its answers go to who took its commands, wherever that is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed;

/// One reply per command of a batch, in order.
pub(crate) type Replies = Vec<Response>;
