//! What this person last saw of a cluster's set, verified; kept beside the context.
//!
//! A seal says that a set was blessed once, not that it is the last one: whoever holds a controller can show an older set
//! with its true seal, and a person would sign it anew as what follows. Agents refuse lower epochs by their ledger; this
//! is the person's.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::model::damaged_json;
use verger_policy::set::PolicySet;
use verger_transport::files as secret;

use crate::exit::{Exit, Failure};
use crate::files::lock_beside;

/// A set, by what tells it from every other of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub epoch: u64,
    pub root: Digest,
    /// When this person first saw it, or sealed it.
    pub at: Timestamp,
    pub how: How,
}

/// How a set came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum How {
    /// A controller showed it, with its seal.
    Shown,
    /// This person sealed it, and the cluster took it.
    Sealed,
}

impl Seen {
    pub(crate) fn of(set: &PolicySet, at: Timestamp, how: How) -> Self {
        Self {
            epoch: set.epoch(),
            root: set.root(),
            at,
            how,
        }
    }

    /// Whether a cluster that showed `self` and only goes forward cannot show `shown` afterwards.
    fn excludes(&self, shown: &Self) -> bool {
        shown.epoch < self.epoch || (shown.epoch == self.epoch && shown.root != self.root)
    }
}

/// The file. Its fields are few, so that a person can read what it says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    cluster_id: String,
    epoch: u64,
    root: String,
    at: Timestamp,
    how: How,
}

/// The place where it is kept: one file per cluster.
#[derive(Debug)]
pub(crate) struct Memory {
    file: PathBuf,
    cluster: Digest,
}

impl Memory {
    /// `seen-CLUSTER.json`, in the folder of the context.
    pub(crate) fn beside(context: &Path, cluster: Digest) -> Self {
        Self {
            file: context.with_file_name(format!("seen-{}.json", cluster.hex())),
            cluster,
        }
    }

    /// What was seen last; none before the first time.
    ///
    /// # Errors
    /// When the file cannot be read, others can, or it is damaged: never as if nothing had been seen.
    pub(crate) fn recall(&self) -> anyhow::Result<Option<Seen>> {
        let bytes = match secret::read(&self.file) {
            Ok(bytes) => bytes,
            Err(secret::SecretFileError::Missing(_)) => return Ok(None),
            Err(error @ secret::SecretFileError::Io { .. }) => return Err(error.into()),
            Err(error) => return Err(Failure::input(error.to_string()).into()),
        };
        parse(&bytes, self.cluster).map(Some).map_err(|what| {
            Failure::input(format!(
                "{}: {what}. It says which policy set of this cluster you saw last, and guards you against being shown an \
                 older one. Ask somebody else for the epoch they see (`verger diff` prints it); then remove the file, and the \
                 next set that the cluster shows is taken as it is",
                self.file.display()
            ))
            .into()
        })
    }

    /// Takes in what a controller answered to a request that was sent when `before` was remembered.
    ///
    /// Another run may remember something newer meanwhile, which says nothing against this answer, and is kept. With
    /// `accept`, what contradicts the memory replaces it; the sentence to say then is given back.
    ///
    /// # Errors
    /// When `shown` is older than what was seen, or another of the same epoch; when the file cannot be read or written.
    pub(crate) fn admit(
        &self,
        before: Option<&Seen>,
        shown: &Seen,
        accept: bool,
    ) -> anyhow::Result<Option<String>> {
        match before.filter(|before| before.excludes(shown)) {
            None => self.keep(shown).map(|()| None),
            Some(before) if accept => {
                let _lock = lock_beside(&self.file).with_context(|| self.unwritable())?;
                self.write(shown)?;
                Ok(Some(format!(
                    "warning: accepted epoch {} (root {}); forgotten is that {}",
                    shown.epoch,
                    shown.root,
                    told(before)
                )))
            }
            Some(before) => Err(self.gone_back(before, shown).into()),
        }
    }

    /// Remembers a set, unless a newer one is remembered.
    ///
    /// # Errors
    /// When another set of the same epoch is remembered; when the file cannot be read or written.
    pub(crate) fn keep(&self, seen: &Seen) -> anyhow::Result<()> {
        // Before the first set there is nothing that could be taken back.
        if seen.epoch == 0 {
            return Ok(());
        }
        let _lock = lock_beside(&self.file).with_context(|| self.unwritable())?;
        match self.recall()? {
            Some(held) if held.epoch == seen.epoch && held.excludes(seen) => {
                Err(self.gone_back(&held, seen).into())
            }
            Some(held) if held.epoch >= seen.epoch => Ok(()),
            _ => self.write(seen),
        }
    }

    fn write(&self, seen: &Seen) -> anyhow::Result<()> {
        let mut bytes = stored(seen, self.cluster);
        bytes.push(b'\n');
        secret::replace(&self.file, &bytes).with_context(|| self.unwritable())
    }

    fn unwritable(&self) -> String {
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        format!(
            "cannot write {}: what you see of the cluster's policy set must be remembered beside your context. Make {} \
             writable, or keep the context elsewhere (--context FILE)",
            self.file.display(),
            folder.unwrap_or(Path::new("the folder")).display()
        )
    }

    fn gone_back(&self, before: &Seen, shown: &Seen) -> Failure {
        let (what, remedy) = if shown.epoch < before.epoch {
            (
                "the cluster has gone back",
                "If a controller was restored from an older copy and you want to go on from there, say so with \
                 --accept-older-set; agents that hold the later set refuse everything up to its epoch",
            )
        } else {
            (
                "the cluster shows another set of the same epoch",
                "Two sets of one epoch were signed with keys of the trust root: find out by whom. To go on with the one that is \
                 shown now, say so with --accept-older-set",
            )
        };
        Failure::new(
            Exit::Violation,
            format!(
                "{what}: it shows epoch {} (root {}), but {} ({}). Nothing more was signed. Ask whoever runs the controllers. {remedy}",
                shown.epoch,
                shown.root,
                told(before),
                self.file.display()
            ),
        )
    }
}

/// What was seen and when, as the end of a sentence.
fn told(seen: &Seen) -> String {
    let how = match seen.how {
        How::Shown => "it showed you",
        How::Sealed => "you sealed",
    };
    format!("{how} epoch {} (root {}) at {}", seen.epoch, seen.root, seen.at)
}

fn stored(seen: &Seen, cluster: Digest) -> Vec<u8> {
    let stored = Stored {
        cluster_id: cluster.hex(),
        epoch: seen.epoch,
        root: seen.root.to_string(),
        at: seen.at,
        how: seen.how,
    };
    serde_json::to_vec_pretty(&stored).expect("strings and a number")
}

fn parse(bytes: &[u8], cluster: Digest) -> Result<Seen, String> {
    let Stored {
        cluster_id,
        epoch,
        root,
        at,
        how,
    } = serde_json::from_slice(bytes).map_err(|error| damaged_json(&error))?;
    if cluster_id != cluster.hex() {
        return Err("damaged: `clusterId` is another cluster's than the context's".to_owned());
    }
    let root = root
        .parse()
        .map_err(|_| "damaged: `root` is not sha256: and 64 hex digits".to_owned())?;
    Ok(Seen { epoch, root, at, how })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
