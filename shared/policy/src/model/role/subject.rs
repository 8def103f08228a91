//! Who has a role.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::model::Name;

/// Who has a role: `person/ada`, `group/sre`, `local/1000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleSubject {
    /// Everybody in a group, as the login says.
    Group(Name),
    /// A user of a host, who calls its runtime.
    Local(LocalUid),
    /// A person, by the name in the certificate.
    Person(PersonName),
}

/// The number of a user of a host, as the kernel has it (credentials(7)). Never 0: root on a host may do everything there,
/// whatever roles say; and never the highest, which names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalUid(u32);

impl LocalUid {
    /// None for root, and for the number that is nobody's.
    pub const fn new(uid: u32) -> Option<Self> {
        match uid {
            0 | u32::MAX => None,
            uid => Some(Self(uid)),
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for LocalUid {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let uid = text.parse().ok().and_then(Self::new);
        uid.filter(|uid| uid.to_string() == text)
            .ok_or(InvalidSubject::Uid)
    }
}

impl fmt::Display for LocalUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that names no subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// None of the three.
    #[error("a subject is written person/NAME, group/NAME or local/UID")]
    Class,
    /// What follows is no name.
    #[error("what follows the slash is not a name")]
    Name,
    /// What follows is no number of a user, or root's.
    #[error(
        "what follows `local/` is not the number of a user from 1 to 4294967294; root may do everything on its host anyway"
    )]
    Uid,
}

impl FromStr for RoleSubject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        match text.split_once('/') {
            Some(("person", name)) => name.parse().map(Self::Person),
            Some(("local", uid)) => uid.parse().map(Self::Local),
            Some(("group", name)) => name.parse().map(Self::Group).map_err(|_| InvalidSubject::Name),
            _ => Err(InvalidSubject::Class),
        }
    }
}

impl fmt::Display for RoleSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Local(uid) => write!(f, "local/{uid}"),
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
