//! `members.json`: where the members of the control plane are called, as they said; what joining said is kept beside it, and never
//! given up. Who lists only itself keeps an agent for as long as it answers, and what it withholds is seen by what a majority signs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use verger_transport::files::{self, SecretFileError};
use verger_transport::is_address;

use crate::config::Config;

/// Members that are remembered.
const MOST: usize = 16;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    format: u32,
    addresses: Vec<String>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct MembersFile(PathBuf);

/// Those of them that are addresses, each once.
fn usable(addresses: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for address in addresses {
        if is_address(&address) && !kept.contains(&address) && kept.len() < MOST {
            kept.push(address);
        }
    }
    kept
}

impl MembersFile {
    pub(crate) fn new(config: &Config) -> Self {
        Self(config.data_dir.join("members.json"))
    }

    /// What was kept; nothing where there is no such file, or none that can be read.
    pub(crate) fn load(&self) -> Vec<String> {
        let bytes = match files::read(&self.0) {
            Ok(bytes) => bytes,
            Err(SecretFileError::Missing(_)) => return Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "where the members are called is not known but by joining");
                return Vec::new();
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(Stored { format: 1, addresses }) => usable(addresses),
            _ => {
                tracing::warn!(file = %self.0.display(), "damaged; the members will say again where they are called");
                Vec::new()
            }
        }
    }

    /// Keeps what members said, and gives what of it can be used.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep(&self, addresses: Vec<String>) -> Result<Vec<String>, SecretFileError> {
        let addresses = usable(addresses);
        let stored = Stored {
            format: 1,
            addresses: addresses.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&stored).expect("strings only");
        files::replace(&self.0, &bytes)?;
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn addresses(of: &[&str]) -> Vec<String> {
        of.iter().map(|address| (*address).to_owned()).collect()
    }

    #[test]
    fn what_is_kept_is_read_and_what_is_no_address_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = MembersFile(folder.path().join("members.json"));
        assert!(file.load().is_empty());
        let said = addresses(&[
            "c1:7400",
            "c2.example:7400",
            "c1:7400",
            "x",
            "a b:1",
            "c:99999",
            ":1",
            "[fd00::1]:7400",
        ]);
        let kept = addresses(&["c1:7400", "c2.example:7400", "[fd00::1]:7400"]);
        assert_eq!(file.keep(said).unwrap(), kept);
        assert_eq!(file.load(), kept);
        let frozen = "{\n  \"format\": 1,\n  \"addresses\": [\n    \"c1:7400\"\n  ]\n}";
        file.keep(addresses(&["c1:7400"])).unwrap();
        assert_eq!(std::fs::read_to_string(&file.0).unwrap(), frozen);
        let many = (0..100).map(|number| format!("c{number}:1")).collect();
        assert_eq!(file.keep(many).unwrap().len(), MOST);
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = MembersFile(folder.path().join("members.json"));
        for text in ["", "{", "{\"format\":2,\"addresses\":[]}", "[]"] {
            files::replace(&file.0, text.as_bytes()).unwrap();
            assert!(file.load().is_empty(), "{text}");
        }
    }
}
