//! SPIFFE names (<https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>): `spiffe://<cluster id>/<role>/<name>`.

use std::fmt;
use std::str::FromStr;

/// Who somebody is within a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A member of the control plane.
    Controller(Label),
    /// An agent.
    Agent(Label),
    /// A person.
    Person(Label),
}

/// A name: 1 to 64 of `a-z 0-9 - .`, beginning and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no name of a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeer {
    /// The name has characters, or a length, that names cannot have.
    #[error("a name is 1 to 64 of a-z, 0-9, `-` and `.`, and begins and ends with a letter or digit")]
    Name,
    /// Not `controller/NAME`, `agent/NAME`, `person/NAME`.
    #[error("a peer is written `controller/NAME`, `agent/NAME` or `person/NAME`")]
    Role,
    /// Not a SPIFFE id of a cluster.
    #[error("not a SPIFFE id of a cluster: `spiffe://` and 64 lower-case hex digits, then the peer")]
    Id,
}

impl FromStr for Label {
    type Err = InvalidPeer;

    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let bytes = text.as_bytes();
        let alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
        if bytes.len() > 64
            || !ends
            || !bytes
                .iter()
                .all(|byte| alphanumeric(byte) || matches!(byte, b'-' | b'.'))
        {
            return Err(InvalidPeer::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(name) => write!(f, "controller/{name}"),
            Self::Agent(name) => write!(f, "agent/{name}"),
            Self::Person(name) => write!(f, "person/{name}"),
        }
    }
}

impl FromStr for Peer {
    type Err = InvalidPeer;

    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let (role, name) = text.split_once('/').ok_or(InvalidPeer::Role)?;
        let name = name.parse()?;
        match role {
            "controller" => Ok(Self::Controller(name)),
            "agent" => Ok(Self::Agent(name)),
            "person" => Ok(Self::Person(name)),
            _ => Err(InvalidPeer::Role),
        }
    }
}

/// A peer of a cluster, as certificates carry it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    /// The cluster id: 64 lower-case hex digits.
    pub cluster: String,
    /// Who.
    pub peer: Peer,
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}", self.cluster, self.peer)
    }
}

/// Whether a text is a cluster id.
pub(crate) fn is_cluster_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for SpiffeId {
    type Err = InvalidPeer;

    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let rest = text.strip_prefix("spiffe://").ok_or(InvalidPeer::Id)?;
        let (cluster, peer) = rest.split_once('/').ok_or(InvalidPeer::Id)?;
        if !is_cluster_id(cluster) {
            return Err(InvalidPeer::Id);
        }
        Ok(Self {
            cluster: cluster.to_owned(),
            peer: peer.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_round_trips() {
        let text = format!("spiffe://{}/agent/web-1.eu", "ab".repeat(32));
        assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
    }

    #[test]
    fn other_spellings_are_refused() {
        let cluster = "ab".repeat(32);
        for text in [
            String::new(),
            format!("spiffe://{cluster}"),
            format!("spiffe://{cluster}/agent/"),
            format!("spiffe://{cluster}/agent/a/b"),
            format!("spiffe://{cluster}/root/a"),
            format!("spiffe://{cluster}/agent/A"),
            format!("spiffe://{cluster}/agent/a%2e"),
            format!("SPIFFE://{cluster}/agent/a"),
            format!("spiffe://{}/agent/a", cluster.to_uppercase()),
            format!("spiffe://{cluster}/agent/{}", "a".repeat(65)),
            format!("spiffe://{cluster}/agent/-a"),
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
