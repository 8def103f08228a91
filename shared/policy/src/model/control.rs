//! The controls, their modes and severities.

use std::collections::BTreeMap;

/// A word that is none of those allowed in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is none of: {allowed}", shown = super::printable_within(.found, 60))]
pub struct InvalidWord {
    /// What was written; hostile bytes, which the message shows escaped and cut.
    pub found: String,
    /// The allowed words, comma separated.
    pub allowed: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word policy files, messages and output use.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result { f.write_str(self.word()) }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::model::InvalidWord;
            fn from_str(text: &str) -> Result<Self, $crate::model::InvalidWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::model::InvalidWord { found: text.to_owned(), allowed: concat!($($word, " "),+).trim_ascii_end() }),
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a rule protects (00-product, the six guarantees and those around them).
    Control {
        /// Network and IPC between workloads.
        Channels = "channels",
        /// The blessed configuration.
        Config = "config",
        /// Files and libraries, by checksum.
        Files = "files",
        /// Who may control a container.
        Operation = "operation",
        /// Who may touch content inside one.
        Content = "content",
        /// Nothing runs as root.
        Privilege = "privilege",
        /// The host's operating system.
        Host = "host",
        /// Anti-malware.
        Malware = "malware",
    }
}

words! {
    /// How far a control goes. The order is that of strictness.
    Mode {
        /// Watch and propose a draft.
        Learn = "learn",
        /// Report violations.
        Monitor = "monitor",
        /// Prevent violations.
        Enforce = "enforce",
    }
}

words! {
    /// How bad a violation is.
    Severity {
        /// For information.
        Info = "info",
        /// Low.
        Low = "low",
        /// Medium.
        Medium = "medium",
        /// High.
        High = "high",
        /// A way to the host or to every workload on it.
        Critical = "critical",
    }
}

/// The modes a workload asks for: a default and exceptions from it per control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// The mode of every control that is not listed.
    pub default: Mode,
    /// Per control.
    pub controls: BTreeMap<Control, Mode>,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            default: Mode::Monitor,
            controls: BTreeMap::new(),
        }
    }
}

impl Modes {
    /// The mode asked for `control`.
    pub fn of(&self, control: Control) -> Mode {
        self.controls.get(&control).copied().unwrap_or(self.default)
    }
}
