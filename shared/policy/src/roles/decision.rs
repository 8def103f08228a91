//! What was decided, and by which rules.

use std::fmt;

use crate::model::{Name, RoleRule};

/// Whether somebody may do something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// What decides, sorted. Never empty.
    pub because: Vec<Because>,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Because {
    /// The set binds no role: everybody with a login that a person of the cluster gave may do everything.
    NothingBound,
    /// The set binds no role, and the login is an identity provider's: it may do nothing until one is bound.
    NothingBoundYet,
    /// No rule allows it.
    NothingAllows,
    /// The resource does not know the verb, so no rule could allow it.
    Meaningless,
    /// A rule.
    Rule(GivenRule),
    /// A deny that could not be evaluated, and so denies.
    Unevaluated(GivenRule),
}

/// A rule of a role, and the binding that gives it to whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GivenRule {
    /// The name of the `RoleBinding`.
    pub binding: Name,
    /// The role, built in or not.
    pub role: Name,
    /// The rule; its scope is its own, without the binding's.
    pub rule: RoleRule,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingBound => {
                f.write_str("no role is bound to anybody, so everybody with a local login may do everything")
            }
            Self::NothingBoundYet => f.write_str(
                "no role is bound to anybody, and until one is, a login by an identity provider may do nothing",
            ),
            Self::NothingAllows => f.write_str("no rule allows it"),
            Self::Meaningless => f.write_str("the resource does not know the verb"),
            Self::Rule(given) => given.fmt(f),
            Self::Unevaluated(given) => write!(f, "{given} (it could not be evaluated, and so denies)"),
        }
    }
}

impl fmt::Display for GivenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { binding, role, rule } = self;
        write!(f, "`{rule}` of role {role}, given by RoleBinding/{binding}")
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, because) in self.because.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            because.fmt(f)?;
        }
        Ok(())
    }
}
