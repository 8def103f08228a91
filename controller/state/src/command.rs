//! Commands: what members agree on.

mod stored_form;

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::finding::{FindingUid, Transition};
use verger_policy::model::{AgentId, Name, ObjectKey};
use verger_seal::SignedHead;

use crate::logins::in_short;
use crate::state::Vouched;
use crate::version::ClusterVersion;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The proposer's clock.
    pub stamp: Timestamp,
    /// Who asked: `person/ada`, `agent/h1`, `controller/1`.
    pub actor: String,
    /// Makes a repeat answer as the first did; with anything else, or of somebody else, it is refused. `None` where the action is idempotent by itself.
    pub request_id: Option<String>,
    /// The address it was asked from, as the member saw it; `None` where nobody called.
    pub from: Option<String>,
    /// The rules of roles that decided, in words; empty where none did.
    pub policies: Vec<String>,
    /// Whether who proposes it counts what is refused ([`Action::NoteDenied`]): then a refusal leaves no row of its own, and nobody
    /// can fill the audit with commands that change nothing.
    pub counted: bool,
    /// What to do.
    pub action: Action,
}

/// What a call that was refused asked for, as far as that is known. Unknown parts are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// `apply`.
    pub verb: String,
    /// `Workload/web`.
    pub resource: String,
    /// The request's id.
    pub request_id: String,
}

/// Which snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPlace {
    /// The SHA-256 that its file ends with.
    pub digest: Digest,
    /// The last entry of the log that is in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberTurn {
    /// It votes.
    Promoted,
    /// It votes no more.
    Demoted,
    /// It leads.
    Leads,
}

impl MemberTurn {
    const fn word(self) -> &'static str {
        match self {
            Self::Promoted => "promote-member",
            Self::Demoted => "demote-member",
            Self::Leads => "transfer-leader",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Found the cluster on trust root version 1.
    Found {
        /// Its envelope.
        trust_root: Bytes,
    },
    /// Make the next policy set.
    ApplySet {
        /// The epoch it was made on.
        expected_epoch: u64,
        /// Canonical bytes of objects put in or replaced.
        upserts: Vec<Bytes>,
        /// Objects taken out.
        deletes: Vec<ObjectKey>,
        /// The seal over the set it makes.
        seal: Bytes,
    },
    /// Replace the trust root, and seal the set anew under it.
    RotateTrustRoot {
        /// Envelope of the version after the one in force.
        trust_root: Bytes,
        /// The seal over the next set, which holds the same objects, under that version.
        seal: Bytes,
    },
    /// Keep a join token.
    CreateToken {
        /// Its public half.
        id: String,
        /// The hash of its secret half.
        secret_hash: Digest,
        /// The only agent it serves.
        agent: AgentId,
        /// When it ends.
        expires: Timestamp,
        /// Whether the host that uses it waits until a person has approved it.
        approval: bool,
    },
    /// Spend a join token and record the host: both or neither.
    Enrol {
        /// The token's public half.
        token_id: String,
        /// The hash of the secret that was presented.
        secret_hash: Digest,
        /// Who it says it is.
        agent: AgentId,
        /// Digest of its public key.
        key: Digest,
        /// Digest of its machine's id, where it said.
        machine: Option<Digest>,
    },
    /// Take in transitions of findings.
    Ingest {
        /// Whose.
        agent: AgentId,
        /// Sequence of the first.
        first_sequence: u64,
        /// In order, without a gap.
        transitions: Vec<Transition>,
        /// Whether what was told before is forgotten first: everything is told anew from here.
        anew: bool,
        /// Where it is: the agent's chain before the first; `None` where the agent keeps none.
        chain_before: Option<Digest>,
        /// What the agent signed of its findings as they are afterwards, if it did.
        head: Option<SignedHead>,
    },
    /// Record that a person has seen a finding.
    AckFinding {
        /// Which.
        uid: FindingUid,
        /// Why it may wait.
        note: String,
    },
    /// Keep a change that one person has sealed, for others to seal.
    Propose {
        /// The epoch it was made on.
        expected_epoch: u64,
        /// Canonical bytes of objects put in or replaced.
        upserts: Vec<Bytes>,
        /// Objects taken out.
        deletes: Vec<ObjectKey>,
        /// The seal so far.
        seal: Bytes,
    },
    /// Add signatures to a proposal; with the last that is needed the set is made.
    SignProposal {
        /// Which.
        number: u64,
        /// The same statement, signed by others.
        seal: Bytes,
    },
    /// Take a proposal back.
    WithdrawProposal {
        /// Which.
        number: u64,
    },
    /// Record that a person's login was issued anew on a member's own host, for who has no login any more.
    RecoverLogin {
        /// Whose.
        person: String,
        /// Why.
        reason: String,
        /// Digest of the new login's public key: no other serves from then on.
        key: Digest,
    },
    /// Give a person a login, in place of any other.
    CreateLogin {
        /// Whose.
        person: String,
        /// Digest of its public key.
        key: Digest,
    },
    /// Give a person a login on an identity provider's word.
    LogIn {
        /// Whose.
        person: String,
        /// Digest of its public key.
        key: Digest,
        /// What the provider said.
        word: Vouched,
        /// When it is to end, which it does earlier where that is too long.
        ends: Timestamp,
        /// Whether it may take the place of a login that is not of this provider and subject.
        replaces: bool,
    },
    /// Give a person every power through the API for a short while, under a name of its own: asked for on a member's own host.
    BreakGlass {
        /// Whose.
        person: String,
        /// Why.
        reason: String,
        /// Digest of its public key.
        key: Digest,
        /// When it is to end, which it does earlier where that is too long.
        ends: Timestamp,
    },
    /// End a break-glass login before its time.
    EndBreakGlass {
        /// Whose.
        person: String,
    },
    /// Record that a person's certificate was issued, before it is given to anybody.
    RecordCertificate {
        /// Whose.
        person: String,
        /// Digest of the certificate.
        digest: Digest,
        /// When it ends.
        ends: Timestamp,
    },
    /// Let somebody come as a member, in place of any invitation under that name that nobody used.
    InviteMember {
        /// Under which name, of one label.
        member: Name,
        /// The public half of the invitation.
        id: String,
        /// The hash of its secret half.
        secret_hash: Digest,
        /// When it ends, which it does earlier where that is too long.
        expires: Timestamp,
    },
    /// Use an invitation and record the member: both or neither.
    AdmitMember {
        /// Who it says it is.
        member: Name,
        /// The hash of the secret that was presented.
        secret_hash: Digest,
        /// Digest of the public key that it is to be known by.
        key: Digest,
        /// The newest version that its program knows.
        newest: ClusterVersion,
    },
    /// Take a member out for good, or an invitation that nobody used.
    RemoveMember {
        /// Whose.
        member: Name,
    },
    /// Somebody had a member vote, vote no more, or lead: Raft holds that, and this is for the record.
    NoteMember {
        /// Which.
        member: Name,
        /// What became of it.
        turn: MemberTurn,
        /// Whether what might have stopped the cluster was meant.
        forced: bool,
    },
    /// From here on all write what that version writes: every member knows it.
    RaiseVersion {
        /// To which.
        to: ClusterVersion,
    },
    /// Somebody is given a snapshot of all of this: for the record.
    SaveSnapshot,
    /// Go on with what a snapshot held, as a new cluster of one member: the first command of its log.
    Restore {
        /// Which snapshot.
        from: SnapshotPlace,
        /// Who the members were, by number.
        members: Vec<(Name, u64)>,
    },
    /// Take a host out: its agent is no longer known, and what it told is forgotten.
    RemoveHost {
        /// Whose.
        agent: AgentId,
    },
    /// Let in a host that waits for approval, or refuse it.
    DecideHost {
        /// Whose.
        agent: AgentId,
        /// Digest of the public key that the person looked at.
        key: Digest,
        /// Which of the two.
        approved: bool,
    },
    /// Take a host's certificate out of use.
    EvictHost {
        /// Whose.
        agent: AgentId,
        /// Why; may be empty.
        reason: String,
    },
    /// Evict a host, and keep its id and key out, whatever token they have.
    BanHost {
        /// Whose.
        agent: AgentId,
        /// Why.
        reason: String,
    },
    /// Lift a ban.
    UnbanHost {
        /// Whose.
        agent: AgentId,
    },
    /// Take a person's login out of use.
    RevokeLogin {
        /// Whose.
        person: String,
        /// Why.
        reason: String,
    },
    /// Lift that: whoever is vouched for may log in again. No login of before serves.
    RestoreLogin {
        /// Whose.
        person: String,
    },
    /// Say that an agent's key was used elsewhere than on the machine it was enrolled on.
    TellCopy {
        /// Which.
        agent: AgentId,
        /// Digest of the other machine's id; `None` where it was not said.
        machine: Option<Digest>,
    },
    /// Say how far an agent's ledger is: further than the set in force, or not any more.
    TellAhead {
        /// Which.
        agent: AgentId,
        /// The epoch in its ledger.
        epoch: u64,
    },
    /// Say that an agent has not been heard of, or is heard of again.
    TellSilence {
        /// Which.
        agent: AgentId,
        /// Whether it is silent.
        silent: bool,
        /// When it was last heard of, where that is known.
        since: Option<Timestamp>,
        /// Whether it leaves no row in the audit: the finding is its record, and an agent that comes and goes cannot fill the audit.
        unrecorded: bool,
    },
    /// Record that calls of the actor were refused, by a member or by the log. Alike ones are counted together.
    NoteDenied {
        /// The first of them: `verger.policy.v1.PolicyService/Apply`.
        rpc: String,
        /// Why, as the caller was told: `NOT_A_PERSON`.
        reason: String,
        /// How many.
        attempts: u64,
        /// When the first of them was, by the member's clock.
        since: Timestamp,
        /// What the first of them asked for.
        about: About,
    },
    /// Keep what members have signed of the cluster's freshness.
    Stamp {
        /// A stamp that one member or more have signed.
        envelope: Bytes,
    },
    /// Move the replicated time, and nothing else.
    Tick {
        /// Where it may move to; no later than the stamp.
        until: Timestamp,
    },
}

impl Action {
    /// What the audit says of it beside its word.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::NoteDenied {
                rpc, since, about, ..
            } if about.verb.is_empty() => format!("{rpc}, since {since}"),
            Self::NoteDenied {
                rpc, since, about, ..
            } => format!("{rpc}, since {since}: {} {}", about.verb, about.resource),
            Self::RecordCertificate { person, digest, ends } => {
                format!("of person/{person}, certificate {digest}, until {ends}")
            }
            Self::RecoverLogin { person, reason, key } => format!("of person/{person}, key {key}: {reason}"),
            Self::CreateLogin { person, key } => format!("of person/{person}, key {key}"),
            Self::RemoveHost { agent }
            | Self::TellSilence { agent, .. }
            | Self::TellCopy { agent, .. }
            | Self::TellAhead { agent, .. }
            | Self::UnbanHost { agent } => format!("agent {agent}"),
            Self::DecideHost { agent, key, .. } => format!("agent {agent}, key {key}"),
            Self::EvictHost { agent, reason } if reason.is_empty() => format!("agent {agent}"),
            Self::EvictHost { agent, reason } | Self::BanHost { agent, reason } => {
                format!("agent {agent}: {reason}")
            }
            Self::RevokeLogin { person, reason } => format!("of person/{person}: {reason}"),
            Self::RestoreLogin { person } => format!("of person/{person}"),
            Self::LogIn {
                person,
                key,
                word,
                ends,
                replaces: _,
            } => {
                let Vouched {
                    issuer,
                    subject,
                    issued: _,
                    groups,
                } = word;
                let groups = in_short(groups);
                format!(
                    "of person/{person}, key {key}, until {ends}, by {issuer} as {subject}; groups: {groups}"
                )
            }
            Self::BreakGlass {
                person,
                reason,
                key,
                ends,
            } => format!("for person/{person}, key {key}, until {ends}: {reason}"),
            Self::EndBreakGlass { person } => format!("of person/{person}"),
            Self::SignProposal { number, .. } | Self::WithdrawProposal { number } => {
                format!("proposal {number}")
            }
            Self::CreateToken { agent, .. } => format!("agent {agent}"),
            // Whoever verifies what the agent signs finds the key here.
            Self::Enrol { agent, key, .. } => format!("agent {agent}, key {key}"),
            Self::InviteMember { member, .. } | Self::RemoveMember { member } => format!("member {member}"),
            Self::AdmitMember { member, key, .. } => format!("member {member}, key {key}"),
            Self::NoteMember { member, forced, .. } => match forced {
                true => format!("member {member}, forced"),
                false => format!("member {member}"),
            },
            Self::ApplySet { expected_epoch, .. } | Self::Propose { expected_epoch, .. } => {
                format!("on epoch {expected_epoch}")
            }
            Self::AckFinding { uid, .. } => format!("finding {uid}"),
            Self::RaiseVersion { to } => format!("to {to}"),
            Self::Restore { from, .. } => {
                let SnapshotPlace { digest, index, term } = from;
                format!("from snapshot {digest}, entry {index} of term {term}")
            }
            Self::Found { .. }
            | Self::RotateTrustRoot { .. }
            | Self::Ingest { .. }
            | Self::SaveSnapshot
            | Self::Stamp { .. }
            | Self::Tick { .. } => String::new(),
        }
    }

    /// Its word in the audit.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Found { .. } => "found",
            Self::ApplySet { .. } => "apply-set",
            Self::RotateTrustRoot { .. } => "rotate-trust-root",
            Self::CreateToken { .. } => "create-token",
            Self::Propose { .. } => "propose",
            Self::SignProposal { .. } => "sign-proposal",
            Self::WithdrawProposal { .. } => "withdraw-proposal",
            Self::RecoverLogin { .. } => "recover-login",
            Self::CreateLogin { .. } => "create-login",
            Self::LogIn { .. } => "log-in",
            Self::BreakGlass { .. } => "break-glass",
            Self::EndBreakGlass { .. } => "end-break-glass",
            Self::RecordCertificate { .. } => "record-certificate",
            Self::InviteMember { .. } => "invite-member",
            Self::AdmitMember { .. } => "admit-member",
            Self::RemoveMember { .. } => "remove-member",
            Self::NoteMember { turn, .. } => turn.word(),
            Self::RaiseVersion { .. } => "raise-version",
            Self::SaveSnapshot => "save-snapshot",
            Self::Restore { .. } => "restore",
            Self::RemoveHost { .. } => "remove-host",
            Self::DecideHost { approved: true, .. } => "approve-host",
            Self::DecideHost { approved: false, .. } => "reject-host",
            Self::EvictHost { .. } => "evict-host",
            Self::BanHost { .. } => "ban-host",
            Self::UnbanHost { .. } => "unban-host",
            Self::RevokeLogin { .. } => "revoke-login",
            Self::RestoreLogin { .. } => "restore-login",
            Self::TellCopy { .. } => "tell-copy",
            Self::TellAhead { .. } => "tell-ahead",
            Self::TellSilence { silent: true, .. } => "tell-silence",
            Self::TellSilence { silent: false, .. } => "tell-voice",
            Self::NoteDenied { .. } => "denied",
            Self::Stamp { .. } => "stamp",
            Self::Tick { .. } => "tick",
            Self::Enrol { .. } => "enrol",
            Self::Ingest { .. } => "ingest",
            Self::AckFinding { .. } => "acknowledge-finding",
        }
    }
}

/// Stored bytes that are no command this version knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// Too long.
    #[error("a command of {0} bytes is over the limit")]
    TooLarge(usize),
    /// Not a message.
    #[error("the bytes of a command cannot be decoded")]
    Undecodable,
    /// Written by a newer version.
    #[error("the command has format {0}; this version knows 1")]
    Format(u32),
    /// A field has no valid value.
    #[error("the command's `{0}` is not valid")]
    Field(&'static str),
}

impl Command {
    /// One of a member's own, for which nobody called, and no role decides.
    pub fn of_member(member: &str, stamp: Timestamp, action: Action) -> Self {
        Self {
            stamp,
            actor: format!("controller/{member}"),
            request_id: None,
            from: None,
            policies: Vec::new(),
            counted: false,
            action,
        }
    }

    /// Digest of who asks for what, which is the same when they ask again: without the time, the request's id, and what is made
    /// anew for each attempt.
    pub(crate) fn asked(&self) -> Digest {
        let action = match &self.action {
            Action::CreateToken { agent, approval, .. } => Action::CreateToken {
                id: String::new(),
                secret_hash: Digest::from_bytes([0; 32]),
                agent: agent.clone(),
                expires: Timestamp::UNIX_EPOCH,
                approval: *approval,
            },
            Action::InviteMember { member, .. } => Action::InviteMember {
                member: member.clone(),
                id: String::new(),
                secret_hash: Digest::from_bytes([0; 32]),
                expires: Timestamp::UNIX_EPOCH,
            },
            action => action.clone(),
        };
        let asked = Self {
            stamp: Timestamp::UNIX_EPOCH,
            actor: self.actor.clone(),
            request_id: None,
            from: None,
            policies: Vec::new(),
            counted: false,
            action,
        };
        Digest::of(&asked.encode())
    }
}
