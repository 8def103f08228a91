//! Names, kinds and labels.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::control::words;

words! {
    /// The kind of a policy object.
    Kind {
        /// An exception.
        Exception = "Exception",
        /// A guardrail.
        Guardrail = "Guardrail",
        /// A host and its sealed labels.
        Host = "Host",
        /// A role.
        Role = "Role",
        /// Who has a role.
        RoleBinding = "RoleBinding",
        /// A workload.
        Workload = "Workload",
    }
}

impl Kind {
    /// Whether hosts judge by it. The bodies of other kinds are sent to no agent. Roles and their bindings say what a host's users
    /// may do to its containers.
    pub const fn is_for_hosts(self) -> bool {
        match self {
            Self::Exception
            | Self::Guardrail
            | Self::Host
            | Self::Role
            | Self::RoleBinding
            | Self::Workload => true,
        }
    }
}

words! {
    /// What runs instances.
    RuntimeKind {
        /// Docker Engine.
        Docker = "docker",
        /// Podman.
        Podman = "podman",
    }
}

impl RuntimeKind {
    /// Whether labels of its instances are read: where they are not, an instance may have any.
    pub const fn tells_labels(self) -> bool {
        match self {
            Self::Docker => true,
            // They are in its database alone.
            Self::Podman => false,
        }
    }
}

/// A name that is not a path of DNS labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Empty, or a path component is.
    #[error("a name (or a part of it between slashes) is empty")]
    Empty,
    /// Longer than 253 bytes, or a component longer than 63.
    #[error("a name may have 253 characters, and 63 between slashes")]
    TooLong,
    /// A character outside `a-z 0-9 - .` or one that starts or ends a component with `-` or `.`.
    #[error(
        "a name is made of a-z, 0-9, `-` and `.`, starts and ends with a letter or digit, parts are joined by `/`"
    )]
    BadCharacter,
}

fn check_name(text: &str) -> Result<(), InvalidName> {
    if text.len() > 253 {
        return Err(InvalidName::TooLong);
    }
    for part in text.split('/') {
        let bytes = part.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(InvalidName::Empty);
        };
        if bytes.len() > 63 {
            return Err(InvalidName::TooLong);
        }
        let inner = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
        if !inner(first) || !inner(last) || !bytes.iter().all(|b| inner(b) || matches!(b, b'-' | b'.')) {
            return Err(InvalidName::BadCharacter);
        }
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Borrows the text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check_name(text)?;
                Ok(Self(text.to_owned()))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a policy object: a path of DNS labels such as `payments/web` (RFC 1123 characters, at most 253 bytes).
    Name
}

name_type! {
    /// The identity of an agent, which is the identity of its host. Comes from the agent's certificate alone.
    AgentId
}

/// The identity of a rule, such as `privilege/is-root`: `<control>/<rule>`, known to code and documentation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(Cow<'static, str>);

impl RuleId {
    /// Names a built-in rule.
    pub const fn builtin(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Borrows the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuleId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        check_name(text)?;
        Ok(Self(Cow::Owned(text.to_owned())))
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Labels, or a selector over them: a selector selects what has all of its labels; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Labels(pub BTreeMap<String, String>);

impl Labels {
    /// Whether all of `self`, read as a selector, is found in `labels`.
    pub fn select(&self, labels: &Self) -> bool {
        self.0.iter().all(|(key, value)| labels.0.get(key) == Some(value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What identifies a policy object in a set. Sorted bytewise by kind, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: Name,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// A text that is not `KIND/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObjectKey {
    /// No slash.
    #[error("write an object as `KIND/NAME`, such as `Workload/payments/web`")]
    NoName,
    /// The kind is none.
    #[error("unknown kind")]
    Kind(#[source] super::InvalidWord),
    /// The name is none.
    #[error("the name is not valid")]
    Name(#[source] InvalidName),
}

impl FromStr for ObjectKey {
    type Err = InvalidObjectKey;

    fn from_str(text: &str) -> Result<Self, InvalidObjectKey> {
        let (kind, name) = text.split_once('/').ok_or(InvalidObjectKey::NoName)?;
        Ok(Self {
            kind: kind.parse().map_err(InvalidObjectKey::Kind)?,
            name: name.parse().map_err(InvalidObjectKey::Name)?,
        })
    }
}
