//! What can go wrong on disk.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Bytes on disk are not those that were acknowledged. Never answered by an empty start.
    #[error("{}: the store is damaged: {what}; {remedy}", file.display())]
    Damaged {
        /// Which file or folder.
        file: PathBuf,
        /// What was found.
        what: String,
        /// What a person does about it.
        remedy: &'static str,
    },
    /// The disk has no room. Nothing was written; reads go on; the next call tries again.
    #[error("{}: {available} bytes are free and {needed} are needed; nothing was written, free some space", file.display())]
    Full {
        /// Where.
        file: PathBuf,
        /// Needed with the reserve, bytes.
        needed: u64,
        /// Free, bytes.
        available: u64,
    },
    /// An earlier write did not reach stable storage, so nothing on it can be promised any more.
    #[error("{}: an earlier write failed and the store no longer serves; check the disk, then restart the agent", file.display())]
    Latched {
        /// Where.
        file: PathBuf,
    },
    /// Another process has it.
    #[error("{}: another process has the store open; stop it first", file.display())]
    Busy {
        /// Where.
        file: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}", file.display())]
    Io {
        /// To do what.
        doing: &'static str,
        /// With what.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One value is over the limit. Nothing was written.
    #[error("{what} has {bytes} bytes and the limit is {limit}; nothing was written")]
    TooLarge {
        /// Which.
        what: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A set below the highest epoch ever accepted. Nothing was written.
    #[error("epoch {offered} is below {highest}, the highest this agent ever accepted; nothing was written")]
    EpochBack {
        /// Offered.
        offered: u64,
        /// Highest.
        highest: u64,
    },
    /// A delta that does not fit what is held. Nothing was written.
    #[error("the change does not fit the ledger: {what}; nothing was written")]
    Unfit {
        /// In what.
        what: String,
    },
    /// The transitions that wait take all the room they may. Nothing was written.
    #[error(
        "{waiting} bytes of findings wait for a controller, {needed} more do not fit the limit of {limit}"
    )]
    SpoolFull {
        /// Bytes waiting.
        waiting: u64,
        /// Bytes asked for.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// A controller says that it holds transitions of numbers that nobody ever gets to. Nothing was written.
    #[error("a controller says that it holds transition {after} of this host, which no host ever gets to")]
    TooFar {
        /// The number.
        after: u64,
    },
    /// An acknowledgement of a transition that does not exist.
    #[error("transition {sequence} was acknowledged, but the last one is {last}")]
    NeverSent {
        /// Acknowledged.
        sequence: u64,
        /// The last number given.
        last: u64,
    },
}

impl StoreError {
    /// Wraps an error of the operating system.
    pub fn io(doing: &'static str, file: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            file: file.to_owned(),
            source,
        }
    }
}
