//! What a command is answered.

use verger_policy::digest::Digest;
use verger_policy::finding::FindingUid;
use verger_policy::model::{AgentId, Name, printable};

use crate::limits;
use crate::version::ClusterVersion;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The cluster exists now; its id.
    Founded(Digest),
    /// The set is in force.
    SetApplied {
        /// Its epoch.
        epoch: u64,
        /// Its root.
        root: Digest,
        /// Where in the log.
        revision: u64,
    },
    /// The token is kept; its id.
    TokenCreated(String),
    /// The host is recorded.
    Enrolled,
    /// A person has to approve the host first.
    AwaitsApproval,
    /// What was decided on a host or a login is in force.
    Decided,
    /// Everything of this agent up to this sequence is kept.
    Ingested(u64),
    /// The finding is acknowledged.
    FindingAcknowledged(FindingUid),
    /// The proposal is kept; its number.
    Proposed(u64),
    /// The signatures are kept.
    Signed {
        /// Of which proposal.
        number: u64,
        /// How many more are needed.
        wanting: u32,
    },
    /// The proposal is gone; its number.
    Withdrawn(u64),
    /// The person has that login, and no other.
    LoginCreated,
    /// The break-glass login is over.
    BreakGlassEnded,
    /// The member may come; the invitation's id.
    MemberInvited(String),
    /// The member is let in.
    MemberAdmitted {
        /// Its number, which no other has or had. 1 is that of the member that founded the cluster.
        number: u64,
    },
    /// The member is none any more, or the invitation is gone.
    MemberRemoved,
    /// What became of a member is on record.
    MemberNoted,
    /// The cluster has that version, or had a later one before.
    VersionRaised,
    /// That a snapshot is saved is on record.
    SnapshotNoted,
    /// It goes on with what the snapshot held.
    Restored,
    /// The host is gone.
    HostRemoved,
    /// It is said.
    SilenceTold,
    /// It is said.
    CopyTold,
    /// It is said.
    AheadTold,
    /// The refused calls are on record.
    DeniedNoted,
    /// The certificate is on record.
    CertificateRecorded,
    /// The stamp is kept.
    Stamped {
        /// Whether a majority has signed it.
        whole: bool,
    },
    /// Time has moved, if it was to.
    Ticked,
    /// Nothing was changed.
    Refused(Refused),
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A cluster is founded once.
    #[error("this cluster is already founded, on trust root {0}")]
    AlreadyFounded(Digest),
    /// Nothing works before the founding.
    #[error("this cluster is not founded yet: run `verger-controller init`")]
    NotFounded,
    /// The trust root offered cannot found a cluster.
    #[error("the trust root is refused: {0}")]
    TrustRoot(String),
    /// Somebody else changed the set first.
    #[error(
        "the policy set is at epoch {current}, the change was made on {expected}: fetch it, look at the difference, and apply again"
    )]
    EpochConflict {
        /// The epoch the change was made on.
        expected: u64,
        /// The epoch there is.
        current: u64,
    },
    /// The change does not make a valid set.
    #[error("the change is refused: {0}")]
    Set(String),
    /// The seal is not good for the set the change makes.
    #[error("the seal is refused ({word}): {detail}")]
    Seal {
        /// The reason, a stable word.
        word: &'static str,
        /// In a sentence.
        detail: String,
    },
    /// What members signed of freshness is not so, or not theirs.
    #[error("the stamp is refused ({word}): {detail}")]
    Stamp {
        /// The reason, a stable word.
        word: &'static str,
        /// In a sentence.
        detail: String,
    },
    /// The seal of a proposal needs no more signatures.
    #[error("the seal has all the signatures it needs: apply the change instead of proposing it")]
    SealComplete,
    /// There is no such proposal: it was applied, taken back, or overtaken long ago.
    #[error(
        "there is no proposal {0}: it was applied or taken back, or gave way to newer ones; `verger proposals` lists them"
    )]
    NoSuchProposal(u64),
    /// Too many proposals wait for signatures.
    #[error("too many changes wait for signatures: sign some, or take some back")]
    TooManyProposals,
    /// A repeat of a request made another token; its secret was only ever in the first answer.
    #[error("this request already made token {0}; ask again with a new request id")]
    TokenAlreadyCreated(String),
    /// Another request was made under this id, or by somebody else.
    #[error("the request id was used for another request already; make a new one")]
    RequestIdReused,
    /// Too many people have logins.
    #[error("there are as many logins as there may be: {0}")]
    TooManyLogins(usize),
    /// The name's login is not of this identity provider and subject.
    #[error(
        "{} has a login that is not of this identity provider's account: let the provider give another name, or name it in `replace_logins` of the controllers' configuration",
        printable(.0)
    )]
    LoginTaken(String),
    /// The person's login was revoked; an identity provider's word does not give it back.
    #[error(
        "the login of person/{} was revoked: whoever may revoke logins can lift that (`verger context revoke --lift`)",
        printable(.0)
    )]
    LoginRevoked(String),
    /// The provider's word is from before the login there is: it was used already, or the login was given since.
    #[error("the identity provider's word is older than the login there is: log in again")]
    LoginStale,
    /// The login would be over already.
    #[error("the login would be over already: see that the controllers' clocks are right, and ask again")]
    LoginOver,
    /// Only break-glass logins are named so.
    #[error("names that begin with `break-glass.` are those of break-glass logins: choose another")]
    LoginName,
    /// There is none.
    #[error("{} has no break-glass login", printable(.0))]
    NoBreakGlass(String),
    /// Too many tokens wait to be used.
    #[error("too many join tokens are waiting to be used; let them expire first")]
    TooManyTokens,
    /// The name is, or was, a member's.
    #[error(
        "the name {0} was given to a member already, and a name is used once: invite the new member under another name"
    )]
    MemberNameTaken(Name),
    /// There are too many rows of members.
    #[error(
        "there are as many members, names of removed members and invitations as there may be: {0}; take out invitations that nobody used, or let them expire first"
    )]
    TooManyMembers(usize),
    /// The program of who would be a member knows older versions only.
    #[error(
        "the cluster is at version {cluster}, and the program that would join knows versions up to {newest}: join with the program that the other members run"
    )]
    VersionNewer {
        /// The cluster's.
        cluster: ClusterVersion,
        /// The newest that the program knows.
        newest: ClusterVersion,
    },
    /// Somebody was let in as a member a moment ago.
    #[error(
        "member {0} was let in within the last {seconds} seconds, and which versions it knows is not known yet: the version is raised after that",
        seconds = limits::JOINING_SECONDS
    )]
    MemberJoins(Name),
    /// No such token, another's, spent, expired, or the secret is wrong. One reason for all: which one is nobody's business.
    #[error(
        "the join token is not valid: it is unknown, spent, expired, or for another agent; make a new one with `verger token create`"
    )]
    Token,
    /// The host was refused by the person who was to approve it.
    #[error(
        "a person refused to let this host in; make another token with `verger token create` if that was a mistake"
    )]
    Rejected,
    /// Nobody waits for approval under that id with that key.
    #[error("no host waits for approval under this id with this key: `verger hosts` lists those that wait")]
    NotWaiting,
    /// The id is another key's.
    #[error(
        "agent {0} is enrolled with another key: if this is the same host, which lost its own, run `verger hosts {0} --evict`, then join again; else join under another id"
    )]
    OtherKey(AgentId),
    /// The key is in use on another machine.
    #[error(
        "the identity of agent {0} belongs to another machine: two machines with one identity are told apart by nobody. Remove the agent's data_dir on the copy and join under an id of its own; if the host moved to this machine, run `verger hosts {0} --evict`, then join again"
    )]
    CopiedIdentity(AgentId),
    /// The key is bound to a machine, and whoever has it does not say which one it is on.
    #[error(
        "the identity of agent {0} belongs to the machine it was enrolled on, and this agent does not say which one it is on: give the machine back its id (`systemd-machine-id-setup`; `machine_id` in the agent's configuration names the file), and start the agent again; if the id is lost for good, run `verger hosts {0} --evict`, then join again"
    )]
    NoMachine(AgentId),
    /// The host is evicted.
    #[error("agent {0} is evicted: it comes back by another token, of `verger token create --agent {0}`")]
    Evicted(AgentId),
    /// The id or the key is banned.
    #[error(
        "agent {agent} is banned ({reason}): until `verger hosts {agent} --unban`, neither its id nor its key is let in"
    )]
    Banned {
        /// Under which id.
        agent: AgentId,
        /// Why, made printable.
        reason: String,
    },
    /// There is no ban to lift.
    #[error("agent {0} is not banned")]
    NotBanned(AgentId),
    /// Nothing is to be lifted.
    #[error("the login of person/{} is not revoked", printable(.0))]
    NotRevoked(String),
    /// The agent is not enrolled.
    #[error("this agent is not enrolled")]
    UnknownAgent,
    /// Transitions are missing in front of these.
    #[error("transitions are missing: the next one must have sequence {expected}")]
    SequenceGap {
        /// The next sequence.
        expected: u64,
    },
    /// A finding's uid is not that of what it says, or only controllers raise it.
    #[error(
        "a finding's uid is not that of its rule, subject, image and field, or its rule is one of the controllers' own"
    )]
    ForgedFinding,
    /// What is signed of an agent's findings is not that agent's, or of another cluster.
    #[error("what is signed of the host's findings is refused: {0}")]
    ForgedHead(&'static str),
    /// No such finding.
    #[error("there is no such finding")]
    NoSuchFinding,
    /// The command cannot be read.
    #[error("the command is refused: {0}")]
    Invalid(#[from] crate::InvalidCommand),
}

impl Refused {
    /// A stable word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::AlreadyFounded(_) => "ALREADY_FOUNDED",
            Self::NotFounded => "NOT_FOUNDED",
            Self::TrustRoot(_) => "TRUST_ROOT_REFUSED",
            Self::EpochConflict { .. } => "EPOCH_CONFLICT",
            Self::Set(_) => "SET_REFUSED",
            Self::Seal { .. } => "SEAL_REFUSED",
            Self::Stamp { .. } => "STAMP_REFUSED",
            Self::SealComplete => "SEAL_COMPLETE",
            Self::NoSuchProposal(_) => "NO_SUCH_PROPOSAL",
            Self::TooManyProposals => "TOO_MANY_PROPOSALS",
            Self::TokenAlreadyCreated(_) => "TOKEN_ALREADY_CREATED",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::TooManyLogins(_) => "TOO_MANY_LOGINS",
            Self::LoginTaken(_) => "LOGIN_TAKEN",
            Self::LoginRevoked(_) => "LOGIN_REVOKED",
            Self::LoginStale => "LOGIN_STALE",
            Self::LoginOver => "LOGIN_OVER",
            Self::LoginName => "LOGIN_NAME",
            Self::NoBreakGlass(_) => "NO_BREAK_GLASS",
            Self::TooManyTokens => "TOO_MANY_TOKENS",
            Self::MemberNameTaken(_) => "MEMBER_NAME_TAKEN",
            Self::TooManyMembers(_) => "TOO_MANY_MEMBERS",
            Self::VersionNewer { .. } => "CLUSTER_VERSION_NEWER",
            Self::MemberJoins(_) => "MEMBER_JOINS",
            Self::Token => "TOKEN_REFUSED",
            Self::Rejected => "REJECTED",
            Self::NotWaiting => "NOT_WAITING",
            Self::OtherKey(_) => "OTHER_KEY",
            Self::CopiedIdentity(_) => "COPIED_IDENTITY",
            Self::NoMachine(_) => "NO_MACHINE",
            Self::Evicted(_) => "EVICTED",
            Self::Banned { .. } => "BANNED",
            Self::NotBanned(_) => "NOT_BANNED",
            Self::NotRevoked(_) => "NOT_REVOKED",
            Self::UnknownAgent => "UNKNOWN_AGENT",
            Self::SequenceGap { .. } => "SEQUENCE_GAP",
            Self::ForgedFinding => "FORGED_FINDING",
            Self::ForgedHead(_) => "FORGED_HEAD",
            Self::NoSuchFinding => "NO_SUCH_FINDING",
            Self::Invalid(_) => "INVALID_COMMAND",
        }
    }
}
