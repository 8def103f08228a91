//! What the header of a snapshot says.

use bytes::Bytes;

const INDEX: usize = 8;
const TERM: usize = 8;

/// The header of a snapshot: `index u64, term u64`, and where Raft stood, as the member encoded it (`verger.stored.v1.RaftMark`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The log index of the last record whose effect is inside.
    pub index: u64,
    /// That record's term.
    pub term: u64,
    /// Where Raft stood.
    pub mark: Bytes,
}

impl SnapshotHeader {
    /// Encodes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(INDEX + TERM + self.mark.len());
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.term.to_le_bytes());
        bytes.extend_from_slice(&self.mark);
        bytes
    }

    /// Decodes it; `None` where it is too short to be one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (index, rest) = bytes.split_first_chunk::<INDEX>()?;
        let (term, mark) = rest.split_first_chunk::<TERM>()?;
        Some(Self {
            index: u64::from_le_bytes(*index),
            term: u64::from_le_bytes(*term),
            mark: Bytes::copy_from_slice(mark),
        })
    }
}
