//! Breaking the glass on this host: for an emergency in which the agent does not answer, and nothing may be launched without it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use jiff::SignedDuration;
use rustix::process::geteuid;
use verger_gate_protocol::glass::{self, Glass, MOST_REASON, MOST_SECONDS};
use verger_gate_protocol::settings;
use verger_policy::model::printable;

use super::said;
use crate::config::Config;

/// `break-glass`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: verger-agent break-glass --reason \"the agent does not start, the shop is down\" --for 1h"
)]
pub(crate) struct BreakGlassArgs {
    /// Why, for the record and for the finding
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    reason: Option<String>,
    /// How long: 4h at most, and not beyond this boot
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    time: SignedDuration,
    /// Where what is launched is noted
    #[arg(
        long,
        default_value = "/var/lib/verger/gate/launched.jsonl",
        value_name = "FILE"
    )]
    record: PathBuf,
    /// A folder for Docker's CLI, by which root reaches Docker past a tripwire
    #[arg(long, default_value = "/run/verger-glass", value_name = "DIR")]
    docker_config: PathBuf,
    /// End it now, before its time
    #[arg(long, conflicts_with_all = ["reason", "time"])]
    end: bool,
}

/// Lets the gate launch without the agent's word for a while, or ends that.
///
/// # Errors
/// When this is not root, there is no gate, no reason, too long a time, or something cannot be written.
pub(crate) fn break_glass(config: &Config, args: &BreakGlassArgs) -> anyhow::Result<()> {
    ensure!(geteuid().is_root(), "only root breaks the glass on a host");
    let folder = &config.gate_folder;
    ensure!(
        folder.join(settings::FILE).exists(),
        "there is no gate in {}: nothing is held back here (`gate_folder` says where it is)",
        folder.display()
    );
    if args.end {
        return end(folder, &args.docker_config);
    }
    let reason = reason_in(args.reason.as_deref().unwrap_or_default())?;
    let seconds = seconds_in(args.time)?;
    let (boot, from) = glass::now().context("asking the kernel which boot this is")?;
    let glass = Glass {
        version: 1,
        reason,
        who: who(),
        boot,
        from,
        until: from + seconds,
        record: std::path::absolute(&args.record)?,
    };
    let kept = glass.record.parent().context("`--record` is in no folder")?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(kept)
        .with_context(|| format!("`--record`: {}", kept.display()))?;
    glass
        .put(folder)
        .with_context(|| format!("writing {}", folder.join(glass::FILE).display()))?;
    let minutes = seconds.div_ceil(60);
    said(&format!(
        "for {minutes} min containers are launched although the agent does not answer, each noted in {} and told when it is back; an agent that answers still decides. End it: verger-agent break-glass --end",
        glass.record.display()
    ))?;
    let (Some(tripwire), Some(proxy)) = (&config.tripwire, &config.proxy) else {
        return Ok(());
    };
    // It may be away, too: then Docker denies everybody, and its plugin is taken out of the daemon's configuration by hand.
    let Ok(mark) = verger_tripwire_protocol::mark(&tripwire.mark) else {
        return said(&format!(
            "the tripwire has left no mark in {}: if it does not run, Docker denies everything until it does",
            tripwire.mark.display()
        ));
    };
    past_the_tripwire(&args.docker_config, &mark)?;
    said(&format!(
        "as root, meanwhile: docker --config {} -H unix://{} ps",
        args.docker_config.display(),
        proxy.docker.display()
    ))
}

fn end(folder: &Path, docker_config: &Path) -> anyhow::Result<()> {
    let file = docker_config.join("config.json");
    // Only what was written here: the folder may be another's.
    let is_ours =
        fs::read_to_string(&file).is_ok_and(|text| text.contains(verger_tripwire_protocol::MARK_HEADER));
    if is_ours {
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
    }
    let Some(glass) = Glass::read(folder)? else {
        return said("the glass is whole");
    };
    let launched = glass.launched().map_or(0, |launched| launched.len());
    glass
        .end(folder)
        .with_context(|| format!("writing {}", folder.join(glass::FILE).display()))?;
    said(&format!(
        "nothing is launched without the agent's word any more; {launched} calls of a runtime were, meanwhile"
    ))
}

/// A configuration of Docker's CLI that has it bear the mark.
fn past_the_tripwire(folder: &Path, mark: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let draft = folder.join("config.json.new");
        let _ = fs::remove_file(&draft);
        let headers = serde_json::json!({"HttpHeaders": {verger_tripwire_protocol::MARK_HEADER: mark}});
        let mut open = fs::OpenOptions::new();
        let mut file = open.write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(headers.to_string().as_bytes())?;
        fs::rename(&draft, folder.join("config.json"))
    };
    write().with_context(|| format!("`--docker-config`: {}", folder.display()))
}

fn reason_in(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    let count = text.chars().count();
    ensure!(
        (1..=MOST_REASON).contains(&count),
        "--reason must have 1 to {MOST_REASON} characters, and has {count}"
    );
    Ok(printable(text).into_owned())
}

fn seconds_in(time: SignedDuration) -> anyhow::Result<u64> {
    let seconds = u64::try_from(time.as_secs()).unwrap_or(0);
    ensure!(
        (1..=MOST_SECONDS).contains(&seconds),
        "--for must be more than nothing, and {} h at most",
        MOST_SECONDS / 3_600
    );
    Ok(seconds)
}

/// Who is root now, as far as the kernel knows it.
fn who() -> String {
    let login = fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    match login.trim().parse::<u32>() {
        Ok(uid) if uid != u32::MAX => format!("root, logged in as uid {uid}"),
        _ => "root, by no login that the kernel knows".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_takes_a_reason_and_a_time_within_bounds() {
        for bad in ["", "  ", &"x".repeat(MOST_REASON + 1)] {
            assert!(reason_in(bad).unwrap_err().to_string().contains("--reason"));
        }
        assert_eq!(reason_in(" the shop is down ").unwrap(), "the shop is down");
        for bad in ["0s", "-1h", "4h 1s"] {
            let error = seconds_in(bad.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains("--for") && error.contains("4 h"), "{error}");
        }
        assert_eq!(seconds_in("4h".parse().unwrap()).unwrap(), MOST_SECONDS);
    }
}
