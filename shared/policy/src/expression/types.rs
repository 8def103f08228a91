//! What an expression's parts are, and how large.

use std::fmt;

/// The most members of a list or a map that an expression sees; of more it is an error.
pub const MAX_MEMBERS: usize = 256;

/// The most members of a list or a map in a member of a list.
pub(super) const MAX_INNER: usize = 64;

/// The longest text that an expression sees, bytes; of a longer one it is an error.
pub const MAX_TEXT: usize = 4096;

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// Text (UTF-8).
    Text,
    /// A list of numbers.
    Ints,
    /// A list of texts.
    Texts,
    /// Texts by text.
    Map,
    /// A list of records with these members.
    Records(&'static [Member]),
    /// A record with these members.
    Record(&'static [Member]),
}

/// A member of a record.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub of: Type,
    /// What it says.
    pub says: &'static str,
}

impl Type {
    /// What the members of a list, or the keys of a map, are.
    pub(super) const fn member(self) -> Option<Self> {
        match self {
            Self::Ints => Some(Self::Int),
            Self::Texts | Self::Map => Some(Self::Text),
            Self::Records(members) => Some(Self::Record(members)),
            Self::Bool | Self::Int | Self::Text | Self::Record(_) => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Int => "a number",
            Self::Text => "text",
            Self::Ints => "a list of numbers",
            Self::Texts => "a list of texts",
            Self::Map => "a map of texts",
            Self::Records(_) => "a list of records",
            Self::Record(_) => "a record",
        })
    }
}

/// What something is, and the most there can be of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) of: Type,
    /// Members of a list or a map.
    pub(super) members: u64,
    /// Bytes of a text, or of each text in it.
    pub(super) text: u64,
}

impl Shape {
    pub(super) const BOOL: Self = Self::small(Type::Bool);
    pub(super) const INT: Self = Self::small(Type::Int);

    const fn small(of: Type) -> Self {
        Self {
            of,
            members: 0,
            text: 0,
        }
    }

    /// Of what an instance has.
    pub(super) const fn seen(of: Type, members: usize) -> Self {
        Self {
            of,
            members: members as u64,
            text: MAX_TEXT as u64,
        }
    }

    /// Of one of its members.
    pub(super) const fn one(self, of: Type) -> Self {
        let members = match of {
            Type::Record(_) => MAX_INNER as u64,
            _ => 0,
        };
        Self {
            of,
            members,
            text: self.text,
        }
    }

    /// Steps that comparing it with another takes at most, once.
    pub(super) fn comparing(self, other: Self) -> u64 {
        let texts = 1 + self.text.min(other.text) / 64;
        match self.of {
            Type::Bool | Type::Int => 1,
            Type::Text => texts,
            _ => 1 + self.members.min(other.members) * texts,
        }
    }
}
