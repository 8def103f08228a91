//! `Role` and `RoleBinding`: what people may do through the controllers' API, and what a host's users may do to what its
//! runtime holds.

mod subject;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{InvalidName, Labels, Name};

pub use subject::{InvalidSubject, LocalUid, PersonName, RoleSubject};
pub use words::{Effect, Resource, Verb};

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
    /// On which hosts its local users have it, by sealed labels. Empty: on every host. It narrows nothing of what people and
    /// groups have: they call the cluster, and no host.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub hosts: Labels,
}
