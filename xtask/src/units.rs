//! The systemd units: syntactically clean, and hardened to a measured exposure, judged offline on a staged root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::capture;

/// Each unit and the exposure it must not exceed, in tenths (`systemd-analyze security`, 0 to 100).
const UNITS: &[(&str, u32)] = &[
    ("verger-controller.service", 15),
    ("verger-agent.service", 25),
    ("verger-tripwire.service", 10),
];
/// Sockets that systemd opens for them.
const SOCKETS: &[&str] = &["verger-agent.socket"];

/// Judges the units of `deploy`.
pub(crate) fn check(deploy: &Path) -> Result<()> {
    let stage = Stage::build(deploy)?;
    stage.verify()?;
    for (unit, limit) in UNITS {
        let exposure = stage.exposure(unit)?;
        let shown = f64::from(exposure) / 10.0;
        if exposure > *limit {
            bail!(
                "{unit}: exposure {shown}, the limit is {}; see systemd-analyze security --offline=true",
                f64::from(*limit) / 10.0
            );
        }
        println!("    {unit}: exposure {shown}");
    }
    stage.apply_users_and_folders()
}

/// A root directory with our units, systemd's own targets, and stand-ins for the programs.
struct Stage {
    root: tempfile::TempDir,
}

impl Stage {
    fn build(deploy: &Path) -> Result<Self> {
        let root = tempfile::tempdir().context("making a staged root")?;
        let units = root.path().join("usr/lib/systemd/system");
        for dir in [
            "etc",
            "usr/bin",
            "usr/lib/sysusers.d",
            "usr/lib/tmpfiles.d",
            "usr/lib/systemd/system",
        ] {
            fs::create_dir_all(root.path().join(dir))?;
        }
        for (from, to) in [
            ("sysusers.d", "usr/lib/sysusers.d"),
            ("tmpfiles.d", "usr/lib/tmpfiles.d"),
        ] {
            copy_files(&deploy.join(from), &root.path().join(to), |_| true)?;
        }
        copy_files(Path::new("/usr/lib/systemd/system"), &units, |name| {
            name.ends_with(".target")
        })?;
        copy_files(&deploy.join("systemd"), &units, |_| true)?;
        for program in ["verger-controller", "verger-agent", "verger-tripwire", "kill"] {
            let path = root.path().join("usr/bin").join(program);
            fs::write(&path, "#!/bin/sh\n")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { root })
    }

    fn systemd_analyze(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("systemd-analyze");
        command
            .arg(format!("--root={}", self.root.path().display()))
            .args(arguments)
            .env("SYSTEMD_COLORS", "0");
        command
    }

    /// Fails on every complaint. `verify` itself ends with 0 after an unknown key, so anything it says counts.
    fn verify(&self) -> Result<()> {
        let mut command = self.systemd_analyze(&["verify"]);
        let output = command
            .args(UNITS.iter().map(|(unit, _)| unit).chain(SOCKETS))
            .output()
            .context("running systemd-analyze")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || !said.trim().is_empty() {
            bail!("systemd-analyze verify: {}\n{}", output.status, said.trim());
        }
        Ok(())
    }

    fn exposure(&self, unit: &str) -> Result<u32> {
        let text = capture(&mut self.systemd_analyze(&["security", "--offline=true", "--no-pager", unit]))?;
        parse_exposure(&text)
            .with_context(|| format!("no exposure level for {unit} in what systemd-analyze printed"))
    }

    /// Carries out sysusers and tmpfiles in the stage: proves that both parse and that every owner they name exists.
    fn apply_users_and_folders(&self) -> Result<()> {
        let root = format!("--root={}", self.root.path().display());
        capture(Command::new("systemd-sysusers").arg(&root))?;
        let passwd =
            fs::read_to_string(self.root.path().join("etc/passwd")).context("reading the staged passwd")?;
        let group =
            fs::read_to_string(self.root.path().join("etc/group")).context("reading the staged group")?;
        for user in ["verger-controller:", "verger-agent:", "verger-tripwire:"] {
            if !passwd.lines().any(|line| line.starts_with(user)) {
                bail!("sysusers.d made no user {user}");
            }
        }
        if !group
            .lines()
            .any(|line| line.starts_with("docker:") && line.ends_with("verger-agent"))
        {
            bail!("sysusers.d did not put verger-agent into the group docker");
        }
        let output = Command::new("systemd-tmpfiles")
            .args([&root, "--create"])
            .output()
            .context("systemd-tmpfiles")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || !said.trim().is_empty() {
            bail!("systemd-tmpfiles: {}\n{}", output.status, said.trim());
        }
        Ok(())
    }
}

fn copy_files(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        // systemd's aliases are links; following them copies the target they mean.
        if wanted(&name.to_string_lossy()) && entry.path().is_file() {
            fs::copy(entry.path(), to.join(&name))
                .with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Reads the figure of `Overall exposure level for X: 1.1 OK` in tenths.
fn parse_exposure(text: &str) -> Option<u32> {
    let line = text
        .lines()
        .find(|line| line.contains("Overall exposure level"))?;
    let (whole, tenth) = line
        .rsplit_once(": ")?
        .1
        .split_whitespace()
        .next()?
        .split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests;
