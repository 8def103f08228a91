//! Seccomp filters as an OCI config has them (runtime-spec, "Seccomp"): which of two lets through no more than the other.
//!
//! Filters are written by whoever launches, and what a runtime makes of rules that contradict each other is libseccomp's affair. So what is
//! told here holds whatever that is, and of what cannot be told so nothing is said.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    default: Action,
    architectures: BTreeSet<String>,
    /// Which flags it is loaded with; none said is not the same to every runtime as an empty list.
    flags: Option<BTreeSet<String>>,
    /// By system call, in the order in which they are given.
    rules: BTreeMap<String, Vec<Rule>>,
}

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// Somebody else decides.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
}

impl Action {
    const fn denies(self) -> bool {
        match self {
            Self::Errno | Self::Trap | Self::KillThread | Self::KillProcess => true,
            Self::Allow | Self::Log | Self::Trace => false,
        }
    }
}

/// What becomes of a system call with such arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    action: Action,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    default_action: Action,
    #[serde(rename = "defaultErrnoRet")]
    _default_errno: Option<u32>,
    architectures: Option<BTreeSet<String>>,
    flags: Option<BTreeSet<String>>,
    syscalls: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    names: Vec<String>,
    action: Action,
    #[serde(rename = "errnoRet")]
    _errno: Option<u32>,
    args: Option<Vec<Argument>>,
}

/// What becomes of all calls of one name.
enum Fate<'a> {
    /// All the same.
    Always(Action),
    /// None of them is let through, one way or another.
    Denied,
    /// It is told by their arguments.
    ByArguments(&'a [Rule]),
}

impl Filter {
    /// Reads one.
    ///
    /// # Errors
    /// When it is something else, or says what is not known here (such as who is asked about a call).
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let Document {
            default_action: default,
            _default_errno: _,
            architectures,
            flags,
            syscalls,
        } = serde_json::from_slice(bytes)?;
        let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
        for entry in syscalls.unwrap_or_default() {
            let rule = Rule {
                action: entry.action,
                arguments: entry.args.unwrap_or_default(),
            };
            for name in entry.names {
                rules.entry(name).or_default().push(rule.clone());
            }
        }
        Ok(Self {
            default,
            architectures: architectures.unwrap_or_default(),
            flags,
            rules,
        })
    }

    fn fate(&self, name: &str) -> Fate<'_> {
        let Some(rules) = self.rules.get(name) else {
            return Fate::Always(self.default);
        };
        if self.default.denies() && rules.iter().all(|rule| rule.action.denies()) {
            return Fate::Denied;
        }
        match rules.first() {
            Some(first)
                if rules
                    .iter()
                    .all(|rule| rule.action == first.action && rule.arguments.is_empty()) =>
            {
                Fate::Always(first.action)
            }
            _ => Fate::ByArguments(rules),
        }
    }

    /// Whether it is seen to let through no more than the other does. Where that cannot be told it is not.
    pub fn lets_no_more_through_than(&self, other: &Self) -> bool {
        // A call of an architecture that a filter does not list ends the process (seccomp_init(3), "SCMP_FLTATR_ACT_BADARCH").
        self.architectures.is_subset(&other.architectures)
            && self.flags == other.flags
            && no_more(self.default, other.default)
            && self
                .rules
                .keys()
                .chain(other.rules.keys())
                .all(|name| self.is_no_laxer_of(name, other))
    }

    fn is_no_laxer_of(&self, name: &str, other: &Self) -> bool {
        match (self.fate(name), other.fate(name)) {
            (Fate::Denied, _) | (_, Fate::Always(Action::Allow)) => true,
            (Fate::Always(own), Fate::Always(others)) => no_more(own, others),
            (Fate::Always(own), _) => own.denies(),
            (Fate::ByArguments(own), Fate::ByArguments(others)) => {
                let adds = |rules: &[Rule]| rules.iter().all(|rule| rule.action == Action::Allow);
                // Where rules do nothing but let through, more of them let more through.
                let is_part = adds(own) && adds(others) && own.iter().all(|rule| others.contains(rule));
                (self.default.denies() && is_part) || (self.default == other.default && own == others)
            }
            (Fate::ByArguments(_), _) => false,
        }
    }
}

/// Whether what has the one fate would have no worse a one than the other: none is let through, all are, or it is the same.
fn no_more(own: Action, others: Action) -> bool {
    own.denies() || others == Action::Allow || own == others
}

#[cfg(test)]
mod tests;
