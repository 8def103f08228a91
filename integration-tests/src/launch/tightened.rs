//! Where the policy says `tighten`, what goes beyond the blessing is taken away before anything runs, and what cannot be is refused.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{ACT, Out};
use crate::scene::{Docker, Scene, checked};

/// `CAP_SYS_ADMIN` in a mask (capabilities(7)).
const SYS_ADMIN: u64 = 1 << 21;

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    may_administer: bool,
    no_new_privileges: bool,
    read_only: bool,
}

const BOLD: Held = Held {
    may_administer: true,
    no_new_privileges: false,
    read_only: false,
};
const TIGHT: Held = Held {
    may_administer: false,
    no_new_privileges: true,
    read_only: true,
};

/// Of the text of `/proc/PID/status`: whether the bounding set has `CAP_SYS_ADMIN`, and whether NoNewPrivs is set.
fn status(text: &str) -> Result<(bool, bool)> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
            .with_context(|| format!("no {name} in {text}"))
    };
    let bounding = u64::from_str_radix(field("CapBnd:")?, 16)?;
    Ok((bounding & SYS_ADMIN != 0, field("NoNewPrivs:")? == "1"))
}

/// What the first process of a container holds.
fn held(docker: &Docker, name: &str) -> Result<Held> {
    let pid = docker.say(&["inspect", "--format", "{{.State.Pid}}", name])?;
    let (may_administer, no_new_privileges) = status(&fs::read_to_string(format!("/proc/{pid}/status"))?)?;
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    // proc(5): the fifth field is where it is mounted, the sixth its options.
    let root = mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields.get(4) == Some(&"/")).then(|| fields.get(5).copied().unwrap_or_default().to_owned())
    });
    let root = root.context("it has a root")?;
    Ok(Held {
        may_administer,
        no_new_privileges,
        read_only: root.split(',').any(|option| option == "ro"),
    })
}

/// It asks for more than is blessed, in every way that can be taken away, and in these ways.
fn bold(docker: &Docker, out: &Out, name: &str, more: &[&str]) -> Command {
    let mut command = docker.command();
    command.args(["run", "--detach", "--name", name, "--memory", "64m"]);
    command.arg("--volume").arg(format!("{}:/out", out.0.display()));
    command.args(["--cap-add", "SYS_ADMIN"]).args(more);
    command.args(["verger-test/app", ACT]);
    command
}

/// Unprotected, it has all that it asks for.
pub(super) fn control(docker: &Docker, out: &Out) -> Result<()> {
    let name = docker.name("bold");
    checked(&mut bold(docker, out, &name, &[]))?;
    let held = held(docker, &name)?;
    docker.remove(&name)?;
    ensure!(held == BOLD, "unprotected, it holds {held:?}");
    Ok(())
}

/// With what is said here of its workload it runs without that, what is exec'd in it too, and is as it is blessed; gives how many were
/// tightened.
pub(super) fn shown(scene: &Scene, docker: &Docker, out: &Out, enforced: &str) -> Result<usize> {
    let tightened = enforced.replace(
        "  config:\n",
        "  tighten: [ capabilities, noNewPrivileges, rootfs ]\n  config:\n",
    );
    let stays = |line: &&str| line.trim() != "rootfs: writable";
    let lines: Vec<&str> = tightened.lines().filter(stays).collect();
    let tightened = lines.join("\n");
    ensure!(
        tightened.contains("tighten:") && lines.len() == enforced.lines().count(),
        "the draft has no such lines: {enforced}"
    );
    scene.apply(&tightened)?;
    scene.wait_for("the policy to be in force", || {
        let row = scene.rows(&["hosts"])?;
        Ok((row[0]["epoch"] == scene.epoch()?).then_some(()))
    })?;
    let name = docker.name("bold");
    checked(&mut bold(docker, out, &name, &[]))?;
    scene.wait_for("what is tightened to run", || {
        Ok(out.has(docker, &name)?.then_some(()))
    })?;
    let held = held(docker, &name)?;
    ensure!(held == TIGHT, "tightened, it holds {held:?}");
    let said = docker.say(&["exec", "--privileged", &name, "cat", "/proc/self/status"])?;
    let of_exec = status(&said)?;
    ensure!(of_exec == (false, true), "what is exec'd in it holds {of_exec:?}");
    scene.judged(&name, |row| row["failed"] == 0 && row["passed"] != 0)?;
    docker.remove(&name)?;

    // What cannot be taken away is refused with the rest, and runs nothing.
    let output = bold(docker, out, &name, &["--volume", "/etc:/host"]).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        told.contains("verger-gate: create refused") && told.contains("config/mounts"),
        "with a folder of the host: {told}"
    );
    ensure!(!out.has(docker, &name)?, "refused, and yet it ran");
    docker.remove(&name)?;
    Ok(2)
}
