//! The applied state in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::model::{AgentId, Name};
use verger_policy::set::PolicySet;
use verger_seal::{SignedHead, TrustRoot};

use crate::Response;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::command::SnapshotPlace;
use crate::findings::Findings;
use crate::objects::Objects;
use crate::proposals::Proposals;
use crate::stamps::Stamps;
use crate::version::ClusterVersion;

/// The founding of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Digest of trust root version 1.
    pub id: Digest,
    /// The trust root in force.
    pub trust_root: TrustRoot,
    /// The envelope of version 1, verbatim.
    pub envelope: Bytes,
    /// Those of the versions after it, in their order.
    pub later: Vec<Bytes>,
}

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Hash of the secret.
    pub secret_hash: Digest,
    /// The only agent it serves.
    pub agent: AgentId,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether it was used.
    pub spent: bool,
    /// Whether the host that uses it waits until a person has approved it.
    pub approval: bool,
    /// Who used it and waits.
    pub asked: Option<Asked>,
}

/// A host that has shown a token, and waits until a person has approved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Digest of the agent's public key.
    pub key: Digest,
    /// Digest of its machine's id, where it said.
    pub machine: Option<Digest>,
    /// Since when.
    pub at: Timestamp,
    /// Who refused it, if anybody did.
    pub refused_by: Option<String>,
}

/// Who decided, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `person/ada`.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// May be empty.
    pub reason: String,
}

/// What a host that is known may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All that agents may.
    Enrolled,
    /// Nothing, until it comes back by another token.
    Evicted(Verdict),
    /// Nothing, and neither its id nor its key comes back by any token.
    Banned(Verdict),
}

/// An enrolled host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// When it was first enrolled.
    pub enrolled: Timestamp,
    /// Digest of the agent's public key.
    pub key: Digest,
    /// Sequence of the last transition taken in.
    pub last_sequence: u64,
    /// Transitions that were acknowledged and that there was no room for: of so many changes nothing is known.
    pub not_kept: u64,
    /// Digest of the id of the machine it was enrolled on, to which it is bound; `None` where it did not say.
    pub machine: Option<Digest>,
    /// What it may.
    pub standing: Standing,
    /// The chain over all transitions taken in; `None` where it is not known: what was taken in before it was kept, or told
    /// anew by an agent that keeps none.
    pub chain: Option<Digest>,
    /// The newest that the agent signed of its findings, byte for byte.
    pub head: Option<SignedHead>,
}

impl Host {
    /// Whether it may what agents may.
    pub const fn serves(&self) -> bool {
        matches!(self.standing, Standing::Enrolled)
    }

    /// Whether an agent that says it is on this machine, or does not say, can be this one. A host that said nothing when it was
    /// enrolled is bound to no machine, and can be on any.
    pub fn is_on(&self, machine: Option<&Digest>) -> bool {
        self.machine.is_none() || self.machine.as_ref() == machine
    }
}

/// A person's login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Digest of the only public key that serves.
    pub key: Digest,
    /// When it was given.
    pub created: Timestamp,
    /// That it serves no more, whatever the key.
    pub revoked: Option<Verdict>,
    /// On whose word.
    pub kind: LoginKind,
}

/// On whose word somebody has a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginKind {
    /// Of somebody who may give logins, or who is on a member's own host. Its certificate is renewed.
    Local,
    /// Of an identity provider. It is not renewed.
    Vouched {
        /// What the provider said.
        word: Vouched,
        /// When it ends.
        ends: Timestamp,
    },
    /// Of somebody on a member's own host, in an emergency. It has every power through the API, and is not renewed.
    BreakGlass {
        /// Why.
        reason: String,
        /// When it ends.
        ends: Timestamp,
    },
}

/// What an identity provider says of a person, after it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// The provider.
    pub issuer: String,
    /// Its own name for the person, which is never another's.
    pub subject: String,
    /// When it said so.
    pub issued: Timestamp,
    /// The groups that the person is in.
    pub groups: BTreeSet<Name>,
}

impl Login {
    /// When it ends by itself; `None` where its certificate is renewed.
    pub const fn ends(&self) -> Option<Timestamp> {
        match &self.kind {
            LoginKind::Local => None,
            LoginKind::Vouched { ends, .. } | LoginKind::BreakGlass { ends, .. } => Some(*ends),
        }
    }

    /// The groups that it puts the person in.
    pub fn groups(&self) -> BTreeSet<Name> {
        match &self.kind {
            LoginKind::Vouched { word, .. } => word.groups.clone(),
            LoginKind::Local | LoginKind::BreakGlass { .. } => BTreeSet::new(),
        }
    }
}

/// A member of the control plane, as the cluster let it in. The first member, which founded the cluster, has none until it is
/// removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberRecord {
    /// Somebody may come under this name, with the secret of this invitation.
    Invited {
        /// Hash of the secret.
        secret_hash: Digest,
        /// When the invitation ends.
        expires: Timestamp,
    },
    /// It was let in.
    Admitted {
        /// No other member has it, or had it.
        number: u64,
        /// Hash of the secret of the invitation that it used.
        secret_hash: Digest,
        /// Digest of the member's public key.
        key: Digest,
        /// When.
        at: Timestamp,
    },
    /// It is a member no more; nobody comes under its name again.
    Removed {
        /// The number that it had; `None` where it was never let in: the member that founded the cluster.
        number: Option<u64>,
        /// Who removed it: `person/ada`.
        by: String,
        /// When.
        at: Timestamp,
    },
}

impl MemberRecord {
    /// The number that it was given.
    pub const fn number(&self) -> Option<u64> {
        match self {
            Self::Invited { .. } => None,
            Self::Admitted { number, .. } => Some(*number),
            Self::Removed { number, .. } => *number,
        }
    }
}

/// That all this goes on with what a snapshot held, and not with what came after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Which snapshot.
    pub from: SnapshotPlace,
    /// When.
    pub at: Timestamp,
    /// Where the log of what came since begins: no revision of before is as large, whatever came of the log that the snapshot was of.
    pub revision: u64,
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// When.
    pub(crate) at: Timestamp,
    /// Digest of who asked for what; `None` where that was not kept.
    pub(crate) asked: Option<Digest>,
    /// What it was answered.
    pub(crate) response: Response,
}

/// What every member makes of the same log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(crate) revision: u64,
    pub(crate) version: ClusterVersion,
    pub(crate) clock: Clock,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) restored: Option<Restored>,
    pub(crate) set: PolicySet,
    pub(crate) seal: Bytes,
    /// The set's root; `None` before the first set. It takes a while to work out.
    pub(crate) root: Option<Digest>,
    pub(crate) objects: Objects,
    pub(crate) proposals: Proposals,
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) logins: BTreeMap<String, Login>,
    pub(crate) hosts: BTreeMap<AgentId, Host>,
    /// By their names, of one label.
    pub(crate) members: BTreeMap<Name, MemberRecord>,
    pub(crate) findings: Findings,
    pub(crate) requests: BTreeMap<String, Remembered>,
    pub(crate) requests_by_time: BTreeSet<(Timestamp, String)>,
    pub(crate) audit: Audit,
    pub(crate) stamps: Stamps,
}

impl State {
    pub(crate) fn put_request(&mut self, id: String, request: Remembered) {
        self.drop_request(&id);
        self.requests_by_time.insert((request.at, id.clone()));
        self.requests.insert(id, request);
    }

    pub(crate) fn drop_request(&mut self, id: &str) {
        if let Some(Remembered { at, .. }) = self.requests.remove(id) {
            self.requests_by_time.remove(&(at, id.to_owned()));
        }
    }
}
