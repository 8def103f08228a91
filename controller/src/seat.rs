//! Which member of which cluster this is.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_transport::files::{self, SecretFileError};

/// The number of the member that founds a cluster.
pub(crate) const FIRST: u64 = 1;
/// The format that is written. The first has no digest.
const FORMAT: u32 = 2;

/// `member.json`, beside the log. Written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Seat {
    format: u32,
    /// Its number in the cluster.
    pub(crate) number: u64,
    /// The cluster's id: 64 hex digits.
    pub(crate) cluster_id: String,
    /// SHA-256 of both. A digit that was changed makes this another member of the cluster, which may be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

fn digest(number: u64, cluster_id: &str) -> String {
    Digest::of(format!("{number} {cluster_id}").as_bytes()).to_string()
}

fn file(raft_dir: &Path) -> PathBuf {
    raft_dir.join("member.json")
}

impl Seat {
    pub(crate) fn new(number: u64, cluster_id: String) -> Self {
        Self {
            format: FORMAT,
            number,
            digest: Some(digest(number, &cluster_id)),
            cluster_id,
        }
    }

    /// Whether it is as it was written.
    fn is_whole(&self) -> bool {
        let is_id =
            self.cluster_id.len() == 64 && self.cluster_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_vouched_for = match (self.format, &self.digest) {
            (1, None) => true,
            (FORMAT, Some(found)) => *found == digest(self.number, &self.cluster_id),
            _ => false,
        };
        is_id && self.number > 0 && is_vouched_for
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
            seat.format <= FORMAT,
            "{}: format {} is of a newer version; run that one",
            file.display(),
            seat.format
        );
        anyhow::ensure!(seat.is_whole(), damaged());
        Ok(Some(seat))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_written_in_each_format_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = "ab".repeat(32);
        assert_eq!(Seat::load(dir.path()).unwrap(), None);
        let first = format!("{{\n  \"format\": 1,\n  \"number\": 17,\n  \"clusterId\": \"{cluster}\"\n}}");
        files::create(&file(dir.path()), first.as_bytes()).unwrap();
        let seat = Seat::load(dir.path()).unwrap().unwrap();
        assert_eq!((seat.number, &seat.cluster_id), (17, &cluster));

        let dir = tempfile::tempdir().unwrap();
        let digest = "sha256:872ae02197f5b5143094bfd2f211e79a2df41e6a3910466ad1b4750d0681e581";
        let second = format!(
            "{{\n  \"format\": 2,\n  \"number\": 17,\n  \"clusterId\": \"{cluster}\",\n  \"digest\": \"{digest}\"\n}}"
        );
        let seat = Seat::new(17, cluster);
        seat.keep(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(file(dir.path())).unwrap(), second);
        assert_eq!(Seat::load(dir.path()).unwrap(), Some(seat.clone()));
        assert!(seat.keep(dir.path()).is_err(), "it is written once");
    }

    #[test]
    fn every_changed_byte_is_refused_by_name_or_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let seat = Seat::new(17, "ab".repeat(32));
        seat.keep(dir.path()).unwrap();
        let whole = std::fs::read(file(dir.path())).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(file(dir.path()), bytes).unwrap();
                match Seat::load(dir.path()) {
                    Ok(found) => assert_eq!(found.as_ref(), Some(&seat), "byte {at}, bit {bit}"),
                    Err(error) => {
                        let error = format!("{error:#}");
                        assert!(
                            error.contains("member.json") && error.contains("damaged; restore it")
                                || error.contains("newer version"),
                            "{error}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_damaged_file_and_one_of_a_newer_version_are_refused_by_name() {
        for (text, told) in [
            ("{", "damaged"),
            ("{\"format\":1,\"number\":0,\"clusterId\":\"\"}", "damaged"),
            ("{\"format\":0,\"number\":1,\"clusterId\":\"\"}", "damaged"),
            ("{\"format\":3,\"number\":1,\"clusterId\":\"\"}", "newer version"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            files::create(&file(dir.path()), text.as_bytes()).unwrap();
            let error = format!("{:#}", Seat::load(dir.path()).unwrap_err());
            assert!(error.contains(told) && error.contains("member.json"), "{error}");
        }
    }
}
