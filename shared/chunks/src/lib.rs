//! A checksummed stream of chunks: snapshot files, and exports of the log. Little-endian throughout.
//!
//! ```text
//! "VGRSNAP" or "VGRLOGX" (7), version u8
//! header:  length u32, crc u32, bytes          crc over the bytes
//! chunk:   length u32 (not 0), crc u32, bytes  crc over the chunk's number (u64, from 0) and the bytes
//! …
//! trailer: 0 u32, chunk count u64, SHA-256 (32) of everything before it, the count included
//! ```
//!
//! Members write them; members and the CLI read them. What they hold is for others to know, but for the header of a snapshot.

#[cfg(test)]
mod fuzz;
mod sink;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;

use std::io;

use sha2::Sha256;

pub use sink::ChunkSink;
pub use snapshot::SnapshotHeader;
pub use source::ChunkSource;

/// The newest version of the format that this program writes and reads.
pub const FORMAT_VERSION: u8 = 1;
/// The largest chunk: a framed log record of the largest size fits.
pub const MAX_CHUNK_BYTES: usize = (64 << 20) + 64;
/// The largest header.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 4 + 8 + 32;

/// What the trailer says, unverified: the number of chunks, and the digest. `None` where there is no trailer.
#[must_use]
pub fn read_trailer(bytes: &[u8; TRAILER_BYTES]) -> Option<(u64, [u8; 32])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<8>()?;
    let digest = rest.try_into().ok()?;
    (*length == [0; 4]).then(|| (u64::from_le_bytes(*count), digest))
}

/// What a stream has come to after a whole chunk: from there another can go on with it.
#[derive(Clone)]
pub struct Kept {
    pub(crate) hash: Sha256,
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
}

impl Kept {
    /// How many bytes that is, from the beginning.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// The rows of a state.
    Snapshot,
    /// Records of a log.
    Log,
}

impl StreamKind {
    const fn magic(self) -> &'static [u8; 7] {
        match self {
            Self::Snapshot => b"VGRSNAP",
            Self::Log => b"VGRLOGX",
        }
    }
}

/// Why a stream is not written, or not read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The system refused it.
    #[error("cannot {action} it")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The bytes are not what was written. In a sentence of this program's own words: nothing of the bytes is in it.
    #[error("{0}")]
    Damaged(String),
    /// The bytes were written by a newer program.
    #[error("it has format version {found}; this program reads up to {FORMAT_VERSION}: run a newer program")]
    Newer {
        /// The version found.
        found: u8,
    },
    /// A part is over its limit. Nothing of it was written.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

fn chunk_crc(number: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), bytes)
}
