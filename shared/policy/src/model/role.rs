//! `Role` and `RoleBinding`: what people may do through the controllers' API.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::control::words;
use super::{InvalidName, Kind, Labels, Name};

words! {
    /// What somebody may do.
    Verb {
        /// Say that a finding is known.
        Ack = "ack",
        /// Put an object into the set, or another in its place, with a whole seal.
        Apply = "apply",
        /// Let in, or refuse, who waits for it.
        Approve = "approve",
        /// Shut out for good, or end that.
        Ban = "ban",
        /// Make one.
        Create = "create",
        /// Take it out: an object out of the set, with a whole seal.
        Delete = "delete",
        /// Shut out, until it is let in anew.
        Evict = "evict",
        /// Look at one.
        Get = "get",
        /// Look at all.
        List = "list",
        /// Put a change forward that others are to sign: of an object, or its removal.
        Propose = "propose",
        /// Renew one's own.
        Renew = "renew",
        /// Take another's out of use.
        Revoke = "revoke",
        /// Put another in its place.
        Rotate = "rotate",
        /// Sign what was proposed: a change of an object, or its removal.
        Sign = "sign",
        /// Be told of changes.
        Watch = "watch",
        /// Take back what was proposed.
        Withdraw = "withdraw",
    }
}

words! {
    /// What it is done to. The kinds of policy objects go by their own words.
    Resource {
        /// Exceptions.
        Exception = "Exception",
        /// Guardrails.
        Guardrail = "Guardrail",
        /// Sealed labels of hosts.
        Host = "Host",
        /// Roles.
        Role = "Role",
        /// Who has which role.
        RoleBinding = "RoleBinding",
        /// Workloads.
        Workload = "Workload",
        /// The record of what was done and denied.
        Audit = "audit",
        /// Logins: one's own to renew, and those of others to create and to revoke.
        Certificates = "certificates",
        /// Findings; their name and labels are those of the workload they are about.
        Findings = "findings",
        /// Enrolled hosts; their name is the agent's id, their labels are the sealed ones.
        Hosts = "hosts",
        /// Instances; their name and labels are those of their host.
        Instances = "instances",
        /// Changes that wait for signatures.
        Proposals = "proposals",
        /// The policy set as such: sealed again with nothing changed.
        Set = "set",
        /// What the cluster says of itself.
        Status = "status",
        /// Tokens that let a host join; their name is the id of the agent they are for.
        Tokens = "tokens",
        /// The keys that may seal, and how many of them it takes.
        TrustRoot = "trust-root",
    }
}

impl Resource {
    /// That of policy objects of a kind.
    pub const fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Exception => Self::Exception,
            Kind::Guardrail => Self::Guardrail,
            Kind::Host => Self::Host,
            Kind::Role => Self::Role,
            Kind::RoleBinding => Self::RoleBinding,
            Kind::Workload => Self::Workload,
        }
    }

    /// What can be done to it, sorted. Nothing else means anything.
    pub const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Exception
            | Self::Guardrail
            | Self::Host
            | Self::Role
            | Self::RoleBinding
            | Self::Workload => &[
                Verb::Apply,
                Verb::Delete,
                Verb::Get,
                Verb::List,
                Verb::Propose,
                Verb::Sign,
                Verb::Watch,
            ],
            Self::Audit => &[Verb::List, Verb::Watch],
            Self::Certificates => &[Verb::Create, Verb::Renew, Verb::Revoke],
            Self::Findings => &[Verb::Ack, Verb::Get, Verb::List, Verb::Watch],
            Self::Hosts => &[
                Verb::Approve,
                Verb::Ban,
                Verb::Delete,
                Verb::Evict,
                Verb::Get,
                Verb::List,
            ],
            Self::Instances => &[Verb::Get, Verb::List],
            Self::Proposals => &[Verb::Get, Verb::List, Verb::Withdraw],
            Self::Set => &[Verb::Apply, Verb::Propose, Verb::Sign],
            Self::Status => &[Verb::Get],
            Self::Tokens => &[Verb::Create],
            Self::TrustRoot => &[Verb::Rotate],
        }
    }

    /// Whether single ones have a name and labels, by which a scope can tell them apart.
    pub const fn has_names(self) -> bool {
        !matches!(
            self,
            Self::Audit | Self::Certificates | Self::Proposals | Self::Set | Self::Status | Self::TrustRoot
        )
    }
}

words! {
    /// What a rule of a role does. A deny wins over every allow; what no rule allows is denied.
    Effect {
        /// Lets it happen.
        Allow = "allow",
        /// Forbids it, whoever else allows it.
        Deny = "deny",
    }
}

/// The most rules a role, and the most names a scope may state: deciding takes time for each.
pub const MAX_ROLE_WORDS: usize = 128;

/// The `spec` of a `Role`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Role {
    /// What it allows and denies. At least one, at most [`MAX_ROLE_WORDS`]; their order means nothing.
    pub rules: BTreeSet<RoleRule>,
}

/// One rule of a role: every verb on every resource that knows the verb.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RoleRule {
    /// What it does.
    pub effect: Effect,
    /// At least one; each means something on one of the resources at least.
    pub verbs: BTreeSet<Verb>,
    /// At least one; each knows one of the verbs at least.
    pub resources: BTreeSet<Resource>,
    /// Which of them.
    #[serde(flatten)]
    pub scope: Scope,
}

/// Which single ones of a resource: those whose name fits one of the patterns, and that have all of the labels.
///
/// What is asked of all at once (a list, a watch) is within no scope of an allow, and within every scope of a deny: a
/// list would show what is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Scope {
    /// Patterns of names, at most [`MAX_ROLE_WORDS`]. Empty: any name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<NamePattern>,
    /// Labels, at most [`MAX_ROLE_WORDS`]. Empty: any.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl Scope {
    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        self.names.is_empty() && self.labels.is_empty()
    }
}

/// A name, or everything below one: `payments/web`, `payments/*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern {
    name: Name,
    below: bool,
}

impl NamePattern {
    /// The name, or what is above the names that fit.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it fits what is below [`Self::name`], and not that name itself.
    pub const fn is_below(&self) -> bool {
        self.below
    }
}

impl FromStr for NamePattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (name, below) = match text.strip_suffix("/*") {
            Some(above) => (above, true),
            None => (text, false),
        };
        let name = name.parse()?;
        Ok(Self { name, below })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.below { "/*" } else { "" })
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The `spec` of a `RoleBinding`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleBinding {
    /// A built-in role, or the name of a `Role`.
    pub role: Name,
    /// Who has it. At least one.
    pub subjects: BTreeSet<RoleSubject>,
    /// Narrows every rule of the role.
    #[serde(skip_serializing_if = "Scope::is_everything")]
    pub scope: Scope,
}

/// Who has a role: `person/ada`, `group/sre`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleSubject {
    /// Everybody in a group, as the login says.
    Group(Name),
    /// A person, by the name in the certificate.
    Person(PersonName),
}

/// A text that names no subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// Neither of the two.
    #[error("a subject is written person/NAME or group/NAME")]
    Class,
    /// What follows is no name.
    #[error("what follows the slash is not a name")]
    Name,
}

impl FromStr for RoleSubject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        match text.split_once('/') {
            Some(("person", name)) => name.parse().map(Self::Person),
            Some(("group", name)) => name.parse().map(Self::Group).map_err(|_| InvalidSubject::Name),
            _ => Err(InvalidSubject::Class),
        }
    }
}

impl fmt::Display for RoleSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Person(name) => write!(f, "person/{name}"),
        }
    }
}

impl Serialize for RoleSubject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of a person, as certificates have it: 1 to 64 of `a-z 0-9 - .`, beginning and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonName(String);

impl PersonName {
    /// Borrows the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PersonName {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        let bytes = text.as_bytes();
        let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
        let inner = bytes
            .iter()
            .all(|byte| plain(byte) || matches!(byte, b'-' | b'.'));
        if !ends || !inner || bytes.len() > 64 {
            return Err(InvalidSubject::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
