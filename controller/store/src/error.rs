//! Says what went wrong with stored bytes, in which file, and what an operator can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use verger_durable::NotDurable;

/// What an operator does about a damaged file. The remedy differs by what the file held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The log and vote have no second copy on this member.
    RejoinUnderNewId,
    /// The rows are rebuilt from snapshot and log.
    RebuildState,
    /// Nothing else on this member has what was in it, and peers have.
    FetchSnapshot,
    /// An exported file can be made again.
    ExportAgain,
    /// A snapshot that somebody kept is only as good as its bytes.
    OtherCopy,
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RejoinUnderNewId => {
                "do not start this member again on these files: remove it from the cluster and let it join again \
                 under another name; without a quorum, restore the cluster from a backup"
            }
            Self::RebuildState => {
                "discard the state directory; it is rebuilt from the last snapshot file and the log"
            }
            Self::FetchSnapshot => {
                "remove this member from the cluster and let it join again under another name: it fetches a fresh \
                 snapshot; without a quorum, restore the cluster from a backup"
            }
            Self::ExportAgain => "make the export again",
            Self::OtherCopy => "take another copy of this snapshot, or one that was saved at another time",
        })
    }
}

/// Why the store could not do what was asked.
///
/// Cloneable, because one failed sync answers every batch that waited for it. Paths are printed escaped.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Stored bytes are not what was written. Never answered by starting empty.
    #[error("store damaged: {file:?}: {what}. Remedy: {remedy}")]
    Damaged {
        /// The file that holds the damage.
        file: PathBuf,
        /// What was found.
        what: String,
        /// What to do.
        remedy: Remedy,
    },
    /// The bytes were written by a newer program.
    #[error("{file:?} has format version {found}; this program reads up to {supported}: run a newer program")]
    Newer {
        /// The file.
        file: PathBuf,
        /// The version found.
        found: u8,
        /// The newest version this program reads.
        supported: u8,
    },
    /// No space was left. Nothing acknowledged is lost; writes are accepted again once space returns.
    #[error(
        "no space left for {file:?}: {source}. Free some space; reads go on, writes are refused until then"
    )]
    Full {
        /// The file that could not grow.
        file: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// An earlier sync or write failed, so nothing can be promised any more until a restart.
    #[error(
        "{file:?} failed earlier ({cause}) and takes no more calls: check the disk, then restart the member"
    )]
    Latched {
        /// The file whose write failed.
        file: PathBuf,
        /// The first failure.
        cause: String,
    },
    /// The system refused a file operation.
    #[error("cannot {action} {file:?}: {source}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// A record does not follow the one before it.
    #[error("log records out of order: expected index {expected}, got {found}")]
    OutOfOrder {
        /// The index that would follow.
        expected: u64,
        /// The index given.
        found: u64,
    },
    /// A value is over the store's limit. Nothing was written.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The request contradicts what is stored. Nothing was written.
    #[error("refused: {what}")]
    Refused {
        /// Why.
        what: String,
    },
    /// Another process holds the file.
    #[error("{file:?} is in use by another process: stop it first")]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// A writer thread has stopped.
    #[error("the thread that writes has stopped: restart the member")]
    Closed,
}

impl StoreError {
    pub(crate) fn damaged(file: &Path, remedy: Remedy, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            what: what.into(),
            remedy,
        }
    }

    /// Tells a full disk from every other refusal of the system.
    pub(crate) fn io(file: &Path, action: &'static str, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                file,
                source: Arc::new(source),
            },
            _ => Self::Io {
                file,
                action,
                source: Arc::new(source),
            },
        }
    }

    /// Tells whether the failure means stored bytes cannot be trusted.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Newer { .. })
    }
}

impl From<NotDurable> for StoreError {
    fn from(NotDurable { file, action, source }: NotDurable) -> Self {
        Self::io(&file, action, source)
    }
}
