//! `confirmed-epoch.json`: a set that a person let this host jump to. An epoch too far ahead is refused otherwise, for it could be
//! the last that there will ever be; who says on the host that it is meant has looked elsewhere first.

use std::io::Write as _;

use clap::Args;
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::model::damaged_json;
use verger_policy::set::MAX_EPOCH;
use verger_transport::files::{self, SecretFileError};

use crate::config::Config;
use crate::enrolment::Enrolment;

/// What a person does about a file that is of no use.
const REMEDY: &str =
    "Remove it; and confirm again if that is still meant: `verger-agent confirm-epoch`, then a restart";

/// Which set.
#[derive(Args)]
pub(crate) struct ConfirmArgs {
    /// Its epoch, as `verger hosts -o wide` shows it of a host that took it.
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(u64).range(1..=MAX_EPOCH))]
    epoch: u64,
    /// Its root, as `verger hosts -o wide` shows it of a host that took it.
    #[arg(long, value_name = "DIGEST")]
    root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster_id: String,
    epoch: u64,
    root: String,
}

/// Keeps a person's word for the next start.
///
/// # Errors
/// When this host is not enrolled, `--root` is no digest, or it cannot be written.
pub(crate) fn confirm(config: &Config, args: &ConfirmArgs) -> anyhow::Result<()> {
    let cluster = Enrolment::load(config)?.cluster;
    let root: Digest = args
        .root
        .parse()
        .map_err(|_| anyhow::anyhow!("--root must be `sha256:` and 64 lower-case hex digits"))?;
    let stored = Stored {
        format: 1,
        cluster_id: cluster.hex(),
        epoch: args.epoch,
        root: root.to_string(),
    };
    files::replace(&config.confirmed_file(), &serde_json::to_vec_pretty(&stored)?)?;
    writeln!(
        std::io::stdout(),
        "From its next start on the agent accepts epoch {} with root {root}, however far ahead that is, if people sealed it. Next: restart it",
        args.epoch
    )?;
    Ok(())
}

/// The set that a person confirmed, if there is one that can be read. What cannot be is said, and confirms nothing: that is a refusal
/// at most, and no reason to leave the host unwatched.
pub(crate) fn load(config: &Config, cluster: &Digest) -> Option<(u64, Digest)> {
    read(config, cluster).unwrap_or_else(|why| {
        tracing::error!(why, "the epoch that a person confirmed is not known");
        None
    })
}

/// What is in the file, or what is wrong with it and what to do.
fn read(config: &Config, cluster: &Digest) -> Result<Option<(u64, Digest)>, String> {
    let file = config.confirmed_file();
    let bytes = match files::read(&file) {
        Ok(bytes) => bytes,
        Err(SecretFileError::Missing(_)) => return Ok(None),
        Err(error) => return Err(format!("{:#}", anyhow::Error::from(error))),
    };
    let confirmed = parse(&bytes, cluster);
    confirmed
        .map(Some)
        .map_err(|what| format!("{}: {what}. {REMEDY}", file.display()))
}

fn parse(bytes: &[u8], cluster: &Digest) -> Result<(u64, Digest), String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| damaged_json(&error))?;
    let Stored {
        format,
        cluster_id,
        epoch,
        root,
    } = stored;
    if format != 1 {
        return Err(format!("it has format {format}, and this agent knows 1"));
    }
    if cluster_id != cluster.hex() {
        return Err("it is another cluster's".to_owned());
    }
    let root = root
        .parse()
        .map_err(|_| "damaged: `root` is no digest".to_owned())?;
    Ok((epoch, root))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_person_confirmed_is_there_at_the_next_start_and_for_that_cluster_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, format!("data_dir = {:?}\n", folder.path())).unwrap();
        let config = Config::load(&file).unwrap();
        let (cluster, root) = (Digest::of(b"cluster"), Digest::of(b"set"));
        assert_eq!(load(&config, &cluster), None);
        let args = |root: &str| ConfirmArgs {
            epoch: 2_000_000,
            root: root.to_owned(),
        };
        let stranger = confirm(&config, &args(&root.to_string())).unwrap_err();
        assert!(stranger.to_string().contains("not enrolled"), "{stranger}");
        Enrolment {
            cluster,
            agent: "h1".parse().unwrap(),
            controllers: vec!["c1:7420".to_owned()],
            member_cas: vec![vec![1]],
        }
        .save(&config)
        .unwrap();
        let bad = confirm(&config, &args("set")).unwrap_err();
        assert!(bad.to_string().contains("--root"), "{bad}");
        confirm(&config, &args(&root.to_string())).unwrap();
        assert_eq!(load(&config, &cluster), Some((2_000_000, root)));
        assert_eq!(load(&config, &Digest::of(b"other")), None);
        let other = read(&config, &Digest::of(b"other")).unwrap_err();
        assert!(
            other.contains("confirmed-epoch.json") && other.contains("another cluster"),
            "{other}"
        );
        let text = std::fs::read_to_string(config.confirmed_file()).unwrap();
        let wanted = format!(
            "{{\n  \"format\": 1,\n  \"clusterId\": \"{}\",\n  \"epoch\": 2000000,\n  \"root\": \"{root}\"\n}}",
            cluster.hex()
        );
        assert_eq!(text, wanted, "its bytes are frozen");
        // Damaged, or not to be read at all, it confirms nothing, and stops nobody.
        std::fs::write(config.confirmed_file(), &text[..text.len() - 2]).unwrap();
        assert_eq!(load(&config, &cluster), None);
        let damaged = read(&config, &cluster).unwrap_err();
        assert!(
            damaged.contains("confirmed-epoch.json") && damaged.contains("Remove it"),
            "{damaged}"
        );
        std::fs::remove_file(config.confirmed_file()).unwrap();
        std::fs::create_dir(config.confirmed_file()).unwrap();
        assert_eq!(load(&config, &cluster), None);
        let unreadable = read(&config, &cluster).unwrap_err();
        assert!(unreadable.contains("confirmed-epoch.json"), "{unreadable}");
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
                "{{\"format\":1,\"clusterId\":\"{}\",\"epoch\":7,\"root\":\"{}\"}}",
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
}
