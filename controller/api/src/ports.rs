//! What the API needs of the rest of the controller.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use verger_controller_state::{Command, Response, State};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_transport::Label;

use crate::status::unavailable;

/// Why the replicated state cannot be used now. Trying again may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// This member does not lead, or stops.
    #[error("{0}")]
    Elsewhere(String),
    /// This member cannot write.
    #[error("{0}")]
    Failed(String),
}

/// The replicated state.
#[async_trait]
pub trait Replicated: Send + Sync + 'static {
    /// Proposes a command; its answer is durable on a quorum.
    async fn propose(&self, command: Command) -> Result<Response, Unavailable>;

    /// Waits until everything acknowledged before this call can be read here.
    async fn catch_up(&self) -> Result<(), Unavailable>;

    /// Shows the state as it is here now.
    fn show(&self, look: &mut dyn FnMut(&State));

    /// The revision applied last, and each later one.
    fn revisions(&self) -> watch::Receiver<u64>;

    /// Whether this member leads.
    fn is_leading(&self) -> bool;
}

/// The rows of the audit. The state knows which there are; what they say is in the store alone.
#[async_trait]
pub trait AuditRows: Send + Sync + 'static {
    /// Reads the values of rows by their keys, in the order asked; `None` for one that the store has no more.
    async fn values(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Bytes>>, Unavailable>;
}

/// Looks at the state and takes a value out.
pub fn read<R>(replicated: &dyn Replicated, look: impl FnOnce(&State) -> R) -> R {
    let mut look = Some(look);
    let mut result = None;
    replicated.show(&mut |state| {
        if let Some(look) = look.take() {
            result = Some(look(state));
        }
    });
    result.expect("`show` calls its argument")
}

/// Looks at the state as it is here; where it refuses, once more as it is when everything is here that was acknowledged anywhere before.
/// What is allowed may be out of date: whoever changes anything by it is asked again where that is applied.
///
/// # Errors
/// What the state refuses, or that it cannot be brought up to date.
pub(crate) async fn refused_surely<R>(
    replicated: &dyn Replicated,
    look: impl Fn(&State) -> Result<R, Status>,
) -> Result<R, Status> {
    match read(replicated, &look) {
        Ok(value) => Ok(value),
        Err(_) => {
            let caught_up = replicated.catch_up().await;
            caught_up.map_err(|error| unavailable(&error))?;
            read(replicated, &look)
        }
    }
}

/// Why a certificate cannot be issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The request is at fault.
    #[error("the certificate request is not valid: {0}")]
    Request(String),
    /// The authority is.
    #[error("the certificate could not be issued: {0}")]
    Authority(String),
    /// The roots are not here.
    #[error("{0}")]
    NoRoots(String),
}

/// A certificate with its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// When the leaf ends.
    pub not_after: jiff::Timestamp,
}

/// Whose certificate is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An agent.
    Agent(AgentId),
    /// A person, by name.
    Person(Label),
    /// A person whose login ends then, and the certificate with it.
    PersonUntil(Label, jiff::Timestamp),
}

/// The authorities of a member that joins, and the roots that they are below; each of members, agents and people, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// Its own.
    pub own: [Vec<u8>; 3],
    /// The roots.
    pub roots: [Vec<u8>; 3],
}

/// A change of who the members are, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new one, as a learner.
    Add(NewMember),
    /// A learner votes from now on.
    Promote(String),
    /// A voter is a learner from now on.
    Demote(String),
    /// It is a member no more.
    Remove(String),
    /// It leads.
    Lead(String),
}

/// A member that is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// Its number, which nobody else had.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Where its peers call it.
    pub peer_address: String,
    /// Where agents and people call it.
    pub address: String,
    /// Where agents enrol, and people log in.
    pub enrol_address: String,
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NotChanged {
    /// Whether asking again may help: nobody leads, or what became of it is not known.
    pub is_passing: bool,
    /// A stable word.
    pub reason: String,
    /// For people.
    pub detail: String,
}

/// Who the members of the control plane are.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// As this member knows it; without invitations.
    fn standing(&self) -> verger_proto::cluster::v1::ListMembersResponse;

    /// Why nobody can join by this member, where that is so.
    fn closed(&self) -> Option<String>;

    /// Has whoever leads make a change, and waits for it. What would leave no quorum that is there is refused, unless it is forced.
    async fn change(&self, change: MemberChange, is_forced: bool) -> Result<(), NotChanged>;
}

/// A snapshot, as it is read of its file.
pub struct SnapshotStream {
    /// Bytes of all of it.
    pub size: u64,
    /// Its bytes, in order, of at most [`SNAPSHOT_PIECE`] each; what goes wrong is the last of them.
    pub pieces: mpsc::Receiver<Result<Bytes, Unavailable>>,
}

/// Bytes of a snapshot that are sent at once: a message that waits for no [place](crate::quotas).
pub const SNAPSHOT_PIECE: usize = 60 << 10;

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSaved {
    /// This member gives one already.
    #[error("{0}")]
    Busy(String),
    /// It cannot tell what was acknowledged, or cannot write.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Snapshots of everything.
#[async_trait]
pub trait Snapshots: Send + Sync + 'static {
    /// Draws one of what was acknowledged before this call.
    async fn save(&self) -> Result<SnapshotStream, NotSaved>;
}

/// The authorities for certificates of agents and people.
pub trait Issuer: Send + Sync + 'static {
    /// Checks a PKCS #10 request and gives the digest of its public key. Nothing else in it is used.
    fn key_of(&self, csr: &[u8]) -> Result<Digest, IssueError>;

    /// Issues a certificate of the life that its kind of holder has.
    fn issue(&self, csr: &[u8], holder: &Holder) -> Result<Issued, IssueError>;

    /// Puts authorities for a member that joins below the roots, for the keys of these requests.
    fn below(&self, csrs: &[Vec<u8>; 3], member: &Label) -> Result<Below, IssueError>;

    /// The certificates members are known by, DER.
    fn member_cas(&self) -> Vec<Vec<u8>>;

    /// The certificates agents are known by, DER.
    fn agent_cas(&self) -> Vec<Vec<u8>>;

    /// The certificates people are known by, DER.
    fn people_cas(&self) -> Vec<Vec<u8>>;
}

/// A source of things that must not be guessed, and of the time.
pub trait Ambient: Send + Sync + 'static {
    /// Fills with random bytes.
    fn random(&self, bytes: &mut [u8]);

    /// Now.
    fn now(&self) -> jiff::Timestamp;
}
