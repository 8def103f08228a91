//! `floor.json`: how far this host has come, kept with its identity and apart from the ledger. So an older ledger, or none, takes
//! nothing back; and neither does a clock that was set back, or a restart what members may not do to time.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use verger_agent_core::freshness::KnownTime;
use verger_agent_core::ledger::{Beside, Floor};
use verger_policy::digest::Digest;
use verger_policy::model::damaged_json;
use verger_transport::files::{self, SecretFileError};

use crate::config::Config;

/// What is written. Format 1, which is read too, had neither `budget` nor `doubted`.
const FORMAT: u32 = 2;

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
    /// How far they moved it ahead by their word alone; absent where that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    /// It was made anew from the ledger.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    doubted: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Position {
    trust_root: u64,
    epoch: u64,
    root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Budget {
    spent_seconds: u64,
    /// What this host's clock said then.
    clock: Timestamp,
}

/// What is kept beside the ledger, and where.
#[derive(Debug)]
pub(crate) struct FloorFile {
    file: PathBuf,
    cluster: Digest,
}

/// What was found there.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// What was kept.
    Kept(Beside),
    /// No file.
    Missing,
    /// Bytes that nobody kept: what is wrong with them, and what a person does about it.
    Damaged(String),
}

impl FloorFile {
    pub(crate) fn new(config: &Config, cluster: Digest) -> Self {
        Self {
            file: config.floor_file(),
            cluster,
        }
    }

    /// What is kept. Where it is gone or damaged, the ledger speaks for it; that is said, and doubted until members say what is the
    /// newest.
    ///
    /// # Errors
    /// When the file cannot be read, is another cluster's, or is damaged and the ledger has no set that could speak for it: names it,
    /// and what to do.
    pub(crate) fn kept(&self, has_set: bool) -> anyhow::Result<Beside> {
        let doubted = Beside {
            doubted: true,
            ..Beside::default()
        };
        match self.load()? {
            Found::Kept(beside) => Ok(beside),
            Found::Damaged(why) if !has_set => anyhow::bail!(why),
            Found::Damaged(why) => {
                tracing::error!(
                    why,
                    "how far this host has come is damaged; it is made anew from the ledger"
                );
                Ok(doubted)
            }
            Found::Missing => {
                tracing::error!(
                    file = %self.file.display(),
                    "how far this host has come is gone; it is made anew from the ledger"
                );
                Ok(doubted)
            }
        }
    }

    fn load(&self) -> anyhow::Result<Found> {
        let bytes = match files::read(&self.file) {
            Ok(bytes) => bytes,
            Err(SecretFileError::Missing(_)) => return Ok(Found::Missing),
            Err(error) => return Err(error.into()),
        };
        match parse(&bytes, &self.cluster) {
            Ok(beside) => Ok(Found::Kept(beside)),
            Err(Unusable::Damaged(what)) => Ok(Found::Damaged(format!(
                "{}: {what}. It keeps this host from going back to older policy: restore it; or, if you are sure of the ledger, \
                 remove it",
                self.file.display()
            ))),
            Err(Unusable::Other(what)) => anyhow::bail!(
                "{}: {what}. Restore the one of this cluster; or, if you are sure of the ledger, remove it",
                self.file.display()
            ),
        }
    }

    /// Begins it, where there is none: from now on it is known that there was one.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        match self.load()? {
            Found::Missing => self.keep(&Beside::default()),
            Found::Kept(_) | Found::Damaged(_) => Ok(()),
        }
    }

    /// Writes it, on stable storage.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub(crate) fn keep(&self, beside: &Beside) -> anyhow::Result<()> {
        let Beside { floor, time, doubted } = *beside;
        let stored = Stored {
            format: FORMAT,
            cluster_id: self.cluster.hex(),
            position: floor.map(|floor| Position {
                trust_root: floor.trust_root,
                epoch: floor.epoch,
                root: floor.root.to_string(),
            }),
            time: time.map(|time| time.at),
            budget: time.and_then(|time| {
                let spent_seconds = u64::try_from(time.spent.as_secs())
                    .ok()
                    .filter(|spent| *spent > 0)?;
                Some(Budget {
                    spent_seconds,
                    clock: time.wall,
                })
            }),
            doubted,
        };
        Ok(files::replace(&self.file, &serde_json::to_vec_pretty(&stored)?)?)
    }
}

#[derive(Debug)]
enum Unusable {
    Damaged(String),
    /// It is whole, and not for this agent.
    Other(String),
}

impl From<String> for Unusable {
    fn from(what: String) -> Self {
        Self::Damaged(what)
    }
}

fn parse(bytes: &[u8], cluster: &Digest) -> Result<Beside, Unusable> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| damaged_json(&error))?;
    let Stored {
        format,
        cluster_id,
        position,
        time,
        budget,
        doubted,
    } = stored;
    if !(1..=FORMAT).contains(&format) {
        let what = format!("it has format {format}, and this agent knows up to {FORMAT}");
        return Err(Unusable::Other(what));
    }
    if cluster_id != cluster.hex() {
        return Err(Unusable::Other("it is another cluster's".to_owned()));
    }
    let floor = position.map(|position| position.read()).transpose()?;
    let time = time.map(|at| match budget {
        None => at.into(),
        Some(Budget { spent_seconds, clock }) => KnownTime {
            at,
            spent: SignedDuration::from_secs(i64::try_from(spent_seconds).unwrap_or(i64::MAX)),
            wall: clock,
        },
    });
    Ok(Beside { floor, time, doubted })
}

impl Position {
    fn read(self) -> Result<Floor, String> {
        let Self {
            trust_root,
            epoch,
            root,
        } = self;
        let root = root
            .parse()
            .map_err(|_| "damaged: `root` is no digest".to_owned())?;
        Ok(Floor {
            trust_root,
            epoch,
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(folder: &std::path::Path, cluster: &[u8]) -> FloorFile {
        let file = folder.join("agent.toml");
        std::fs::write(&file, format!("data_dir = {folder:?}\n")).unwrap();
        FloorFile::new(&Config::load(&file).unwrap(), Digest::of(cluster))
    }

    fn beside(epoch: u64) -> Beside {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        Beside {
            floor: Some(Floor {
                trust_root: 2,
                epoch,
                root: Digest::of(b"root"),
            }),
            time: Some(KnownTime {
                spent: SignedDuration::from_secs(90),
                wall: at + SignedDuration::from_secs(5),
                ..at.into()
            }),
            doubted: false,
        }
    }

    #[test]
    fn what_was_kept_is_there_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let known = file(folder.path(), b"cluster");
        assert_eq!(known.load().unwrap(), Found::Missing);
        known.begin().unwrap();
        assert_eq!(known.load().unwrap(), Found::Kept(Beside::default()));
        let doubted = Beside {
            doubted: true,
            ..beside(8)
        };
        for beside in [beside(7), doubted] {
            known.keep(&beside).unwrap();
            known.begin().unwrap();
            assert_eq!(known.load().unwrap(), Found::Kept(beside));
        }
        let other = file(folder.path(), b"other").load().unwrap_err();
        assert!(other.to_string().contains("another cluster"), "{other}");
    }

    #[test]
    fn a_file_that_is_gone_or_damaged_is_doubted_where_a_set_speaks_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let known = file(folder.path(), b"cluster");
        known.keep(&beside(7)).unwrap();
        assert_eq!(known.kept(true).unwrap(), beside(7));
        std::fs::write(&known.file, "{").unwrap();
        let doubted = Beside {
            doubted: true,
            ..Beside::default()
        };
        assert_eq!(known.kept(true).unwrap(), doubted);
        let error = known.kept(false).unwrap_err().to_string();
        assert!(
            error.contains("floor.json") && error.contains("remove it"),
            "{error}"
        );
        std::fs::remove_file(&known.file).unwrap();
        for has_set in [false, true] {
            assert_eq!(known.kept(has_set).unwrap(), doubted);
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error_that_names_it_and_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let known = file(folder.path(), b"cluster");
        known.keep(&beside(7)).unwrap();
        let obstacle = folder.path().join("floor.json.new");
        std::fs::create_dir(&obstacle).unwrap();
        let error = known.keep(&beside(8)).unwrap_err();
        assert!(error.to_string().contains("floor.json.new"), "{error}");
        assert_eq!(known.load().unwrap(), Found::Kept(beside(7)));
        std::fs::remove_dir(&obstacle).unwrap();
        known.keep(&beside(8)).unwrap();
        assert_eq!(known.load().unwrap(), Found::Kept(beside(8)));
    }

    #[test]
    fn its_bytes_are_frozen_and_a_damaged_file_is_no_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let known = file(folder.path(), b"cluster");
        known.keep(&beside(7)).unwrap();
        let text = std::fs::read_to_string(&known.file).unwrap();
        let position = format!(
            "\"clusterId\": \"{}\",\n  \"position\": {{\n    \"trustRoot\": 2,\n    \"epoch\": 7,\n    \"root\": \"{}\"\n  }},\n  \"time\": \"2027-01-15T08:00:00Z\"",
            known.cluster.hex(),
            Digest::of(b"root")
        );
        let wanted = format!(
            "{{\n  \"format\": 2,\n  {position},\n  \"budget\": {{\n    \"spentSeconds\": 90,\n    \"clock\": \"2027-01-15T08:00:05Z\"\n  }}\n}}"
        );
        assert_eq!(text, wanted);
        // What agents wrote before there was a budget.
        let first = format!("{{\n  \"format\": 1,\n  {position}\n}}");
        files::replace(&known.file, first.as_bytes()).unwrap();
        let time = beside(7).time.map(|time| time.at.into());
        assert_eq!(known.load().unwrap(), Found::Kept(Beside { time, ..beside(7) }));
        for damaged in [
            "",
            "{}",
            &text[..50],
            &text.replace("\"epoch\": 7", "\"epoch\": -7"),
        ] {
            files::replace(&known.file, damaged.as_bytes()).unwrap();
            let found = known.load().unwrap();
            assert!(
                matches!(&found, Found::Damaged(why) if why.contains("floor.json") && why.contains("remove it")),
                "{found:?}"
            );
        }
        files::replace(
            &known.file,
            text.replace("\"format\": 2", "\"format\": 3").as_bytes(),
        )
        .unwrap();
        let error = known.load().unwrap_err().to_string();
        assert!(
            error.contains("floor.json") && error.contains("format 3"),
            "{error}"
        );
    }

    /// Fuzz target: the file, as a disk may hold it.
    mod fuzz {
        use bolero::check;
        use verger_fuzz::Damaged;
        use verger_policy::model::printable;

        use super::*;

        #[test]
        fn hostile_bytes_are_refused_in_words_that_may_be_shown() {
            let cluster = Digest::of(b"cluster");
            let good = format!(
                "{{\"format\":2,\"clusterId\":\"{}\",\"position\":{{\"trustRoot\":1,\"epoch\":7,\"root\":\"{}\"}},\"time\":\"2027-01-15T08:00:00Z\",\"budget\":{{\"spentSeconds\":9,\"clock\":\"2027-01-15T08:00:00Z\"}},\"doubted\":true}}",
                cluster.hex(),
                Digest::of(b"root")
            );
            check!()
                .with_generator(Damaged::json([good]))
                .with_iterations(2_000)
                .for_each(|bytes| {
                    if let Err(Unusable::Damaged(what) | Unusable::Other(what)) = parse(bytes, &cluster) {
                        assert!(printable(&what) == what && what.len() < 1_000, "{what:.300}");
                    }
                });
        }
    }
}
