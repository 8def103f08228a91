//! Which member of which cluster this is.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use verger_transport::files::{self, SecretFileError};

/// The number of the member that founds a cluster.
pub(crate) const FIRST: u64 = 1;
/// The format that is written.
const FORMAT: u32 = 1;

/// `member.json`, beside the log. Written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Seat {
    format: u32,
    /// Its number in the cluster.
    pub(crate) number: u64,
    /// The cluster's id: 64 hex digits.
    pub(crate) cluster_id: String,
}

fn file(raft_dir: &Path) -> PathBuf {
    raft_dir.join("member.json")
}

impl Seat {
    pub(crate) const fn new(number: u64, cluster_id: String) -> Self {
        Self {
            format: FORMAT,
            number,
            cluster_id,
        }
    }

    /// Writes it down (0600).
    ///
    /// # Errors
    /// When it is there already, or cannot be written.
    pub(crate) fn keep(&self, raft_dir: &Path) -> anyhow::Result<()> {
        Ok(files::create(&file(raft_dir), &serde_json::to_vec_pretty(self)?)?)
    }

    /// Reads it; `None` where there is none, as with members founded before there could be others.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn load(raft_dir: &Path) -> anyhow::Result<Option<Self>> {
        let file = file(raft_dir);
        let bytes = match files::read(&file) {
            Ok(bytes) => bytes,
            Err(SecretFileError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let damaged = || {
            format!(
                "{}: damaged; restore it, or remove this member from the cluster and join again under another name",
                file.display()
            )
        };
        let seat: Self = serde_json::from_slice(&bytes).with_context(damaged)?;
        anyhow::ensure!(
            seat.format == FORMAT,
            "{}: format {} is of a newer version; run that one",
            file.display(),
            seat.format
        );
        let is_id = seat.cluster_id.len() == 64 && seat.cluster_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        anyhow::ensure!(is_id && seat.number > 0, damaged());
        Ok(Some(seat))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_written_in_format_1_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = "ab".repeat(32);
        let frozen = format!("{{\n  \"format\": 1,\n  \"number\": 17,\n  \"clusterId\": \"{cluster}\"\n}}");
        assert_eq!(Seat::load(dir.path()).unwrap(), None);
        let seat = Seat::new(17, cluster);
        seat.keep(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(file(dir.path())).unwrap(), frozen);
        assert_eq!(Seat::load(dir.path()).unwrap(), Some(seat.clone()));
        assert!(seat.keep(dir.path()).is_err(), "it is written once");
    }

    #[test]
    fn a_damaged_file_and_one_of_a_newer_version_are_refused_by_name() {
        for (text, told) in [
            ("{", "damaged"),
            ("{\"format\":1,\"number\":0,\"clusterId\":\"\"}", "damaged"),
            ("{\"format\":2,\"number\":1,\"clusterId\":\"\"}", "newer version"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            files::create(&file(dir.path()), text.as_bytes()).unwrap();
            let error = format!("{:#}", Seat::load(dir.path()).unwrap_err());
            assert!(error.contains(told) && error.contains("member.json"), "{error}");
        }
    }
}
