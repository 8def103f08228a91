//! `floor.json`: how far this host has come, kept with its identity and apart from the ledger. So an older ledger, or none, takes
//! nothing back; and neither does a clock that was set back.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use verger_agent_core::ledger::Floor;
use verger_policy::digest::Digest;
use verger_policy::model::damaged_json;
use verger_transport::files::{self, SecretFileError};

use crate::config::Config;

/// Time alone is written this often: a host that was off knows it to within that.
const TIME_EVERY: SignedDuration = SignedDuration::from_mins(10);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster_id: String,
    /// Absent before the first set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// The latest time that members said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Position {
    trust_root: u64,
    epoch: u64,
    root: String,
}

/// What is known, and where it is kept.
#[derive(Debug)]
pub(crate) struct FloorFile {
    file: PathBuf,
    cluster: Digest,
    pub(crate) floor: Option<Floor>,
    pub(crate) time: Option<Timestamp>,
}

impl FloorFile {
    /// Reads what is known; a host that has just joined knows nothing.
    ///
    /// # Errors
    /// When the file is damaged, or another cluster's: names it, and what to do.
    pub(crate) fn load(config: &Config, cluster: Digest) -> anyhow::Result<Self> {
        let file = config.floor_file();
        let nothing = Self {
            file: file.clone(),
            cluster,
            floor: None,
            time: None,
        };
        let bytes = match files::read(&file) {
            Ok(bytes) => bytes,
            Err(SecretFileError::Missing(_)) => return Ok(nothing),
            Err(error) => return Err(error.into()),
        };
        let (floor, time) = parse(&bytes, &cluster).map_err(|what| {
            anyhow::anyhow!(
                "{}: {what}. It keeps this host from going back to older policy: restore it; or, if you are sure of the ledger in \
                 {}, remove it",
                file.display(),
                config.store_dir().display()
            )
        })?;
        Ok(Self {
            floor,
            time,
            ..nothing
        })
    }

    /// Whether this is worth writing: another position, or a time that is much later.
    pub(crate) fn is_news(&self, floor: Option<Floor>, time: Option<Timestamp>) -> bool {
        let later = match (self.time, time) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(held), Some(time)) => time.duration_since(held) >= TIME_EVERY,
        };
        floor != self.floor || later
    }

    /// Writes it, on stable storage.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub(crate) fn keep(&mut self, floor: Option<Floor>, time: Option<Timestamp>) -> anyhow::Result<()> {
        let stored = Stored {
            format: 1,
            cluster_id: self.cluster.hex(),
            position: floor.map(|floor| Position {
                trust_root: floor.trust_root,
                epoch: floor.epoch,
                root: floor.root.to_string(),
            }),
            time,
        };
        files::replace(&self.file, &serde_json::to_vec_pretty(&stored)?)?;
        (self.floor, self.time) = (floor, time);
        Ok(())
    }
}

type Known = (Option<Floor>, Option<Timestamp>);

fn parse(bytes: &[u8], cluster: &Digest) -> Result<Known, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| damaged_json(&error))?;
    let Stored {
        format,
        cluster_id,
        position,
        time,
    } = stored;
    if format != 1 {
        return Err(format!("it has format {format}, and this agent knows 1"));
    }
    if cluster_id != cluster.hex() {
        return Err("it is another cluster's".to_owned());
    }
    let read = |Position {
                    trust_root,
                    epoch,
                    root,
                }: Position| {
        let root = root
            .parse()
            .map_err(|_| "damaged: `root` is no digest".to_owned())?;
        Ok::<_, String>(Floor {
            trust_root,
            epoch,
            root,
        })
    };
    Ok((position.map(read).transpose()?, time))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bolero::check;
    use verger_fuzz::Damaged;
    use verger_policy::model::printable;

    use super::*;

    fn config(folder: &std::path::Path) -> Config {
        let file = folder.join("agent.toml");
        std::fs::write(&file, format!("data_dir = {folder:?}\n")).unwrap();
        Config::load(&file).unwrap()
    }

    fn floor(epoch: u64) -> Option<Floor> {
        Some(Floor {
            trust_root: 2,
            epoch,
            root: Digest::of(b"root"),
        })
    }

    #[test]
    fn what_was_kept_is_there_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let (config, cluster) = (config(folder.path()), Digest::of(b"cluster"));
        let mut known = FloorFile::load(&config, cluster).unwrap();
        assert_eq!((known.floor, known.time), (None, None));
        let time = Timestamp::from_second(1_800_000_000).unwrap();
        assert!(known.is_news(floor(7), None) && known.is_news(None, Some(time)));
        known.keep(floor(7), Some(time)).unwrap();
        let later = |seconds| Some(time + SignedDuration::from_secs(seconds));
        assert!(!known.is_news(floor(7), later(599)) && known.is_news(floor(7), later(600)));
        assert!(known.is_news(floor(8), later(0)));
        let again = FloorFile::load(&config, cluster).unwrap();
        assert_eq!((again.floor, again.time), (floor(7), Some(time)));
        let other = FloorFile::load(&config, Digest::of(b"other")).unwrap_err();
        assert!(other.to_string().contains("another cluster"), "{other}");
    }

    #[test]
    fn its_bytes_are_frozen_and_a_damaged_file_is_no_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let (config, cluster) = (config(folder.path()), Digest::of(b"cluster"));
        let mut known = FloorFile::load(&config, cluster).unwrap();
        let time = Timestamp::from_second(1_800_000_000).unwrap();
        known.keep(floor(7), Some(time)).unwrap();
        let text = std::fs::read_to_string(config.floor_file()).unwrap();
        let wanted = format!(
            "{{\n  \"format\": 1,\n  \"clusterId\": \"{}\",\n  \"position\": {{\n    \"trustRoot\": 2,\n    \"epoch\": 7,\n    \"root\": \"{}\"\n  }},\n  \"time\": \"2027-01-15T08:00:00Z\"\n}}",
            cluster.hex(),
            Digest::of(b"root")
        );
        assert_eq!(text, wanted);
        for damaged in [
            "",
            "{}",
            &text[..50],
            &text.replace("\"epoch\": 7", "\"epoch\": -7"),
        ] {
            files::replace(&config.floor_file(), damaged.as_bytes()).unwrap();
            let error = FloorFile::load(&config, cluster).unwrap_err().to_string();
            assert!(
                error.contains("floor.json") && error.contains("remove it"),
                "{error}"
            );
        }
    }

    #[test]
    fn hostile_bytes_are_refused_in_words_that_may_be_shown() {
        let cluster = Digest::of(b"cluster");
        let good = format!(
            "{{\"format\":1,\"clusterId\":\"{}\",\"position\":{{\"trustRoot\":1,\"epoch\":7,\"root\":\"{}\"}},\"time\":\"2027-01-15T08:00:00Z\"}}",
            cluster.hex(),
            Digest::of(b"root")
        );
        check!()
            .with_generator(Damaged::json([good]))
            .with_iterations(2_000)
            .for_each(|bytes| {
                if let Err(what) = parse(bytes, &cluster) {
                    assert!(printable(&what) == what && what.len() < 1_000, "{what:.300}");
                }
            });
    }
}
