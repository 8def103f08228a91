//! Where the policy says `tighten`, what goes beyond the blessing is taken away before anything runs, and what cannot be is refused.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::attacks::{Attack, BENIGN};
use super::out::Out;
use super::runs;
use crate::scene::{Docker, Scene, checked};

/// How many things are shown to run without what was taken away: three containers, and what is exec'd in one.
pub(super) const SHOWN: usize = 4;
/// `CAP_SYS_ADMIN` in a mask (capabilities(7)).
const SYS_ADMIN: u64 = 1 << 21;

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    may_administer: bool,
    no_new_privileges: bool,
    /// Its seccomp mode (proc(5)): 0 for none, 2 for a filter.
    seccomp: u8,
    read_only: bool,
}

const BOLD: Held = Held {
    may_administer: true,
    no_new_privileges: false,
    seccomp: 0,
    read_only: false,
};
const TIGHT: Held = Held {
    may_administer: false,
    no_new_privileges: true,
    seccomp: 2,
    read_only: true,
};

/// As it is blessed here.
const KIN: Attack = Attack {
    flags: &["--read-only"],
    ..BENIGN
};

/// Of the text of `/proc/PID/status`: whether the bounding set has `CAP_SYS_ADMIN`, whether NoNewPrivs is set, and the seccomp
/// mode.
fn status(text: &str) -> Result<(bool, bool, u8)> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
            .with_context(|| format!("no {name} in {text}"))
    };
    let bounding = u64::from_str_radix(field("CapBnd:")?, 16)?;
    Ok((
        bounding & SYS_ADMIN != 0,
        field("NoNewPrivs:")? == "1",
        field("Seccomp:")?.parse()?,
    ))
}

/// What the first process of a container holds.
fn held(docker: &Docker, name: &str) -> Result<Held> {
    let pid = docker.say(&["inspect", "--format", "{{.State.Pid}}", name])?;
    let (may_administer, no_new_privileges, seccomp) =
        status(&fs::read_to_string(format!("/proc/{pid}/status"))?)?;
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
        seccomp,
        read_only: root.split(',').any(|option| option == "ro"),
    })
}

/// It asks for more than is blessed, in every way that can be taken away, and in these ways.
fn bold(docker: &Docker, out: &Out, name: &str, more: &[&str]) -> Command {
    let mut command = docker.command();
    command.args(["run", "--detach", "--name", name, "--memory", "64m"]);
    command.arg("--volume").arg(out.volume());
    command.args(["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"]);
    command.args(more);
    command.args(["verger-test/app", &out.act()]);
    command
}

/// Every container tries to make a user namespace.
const TRIED: &str =
    "unshare --user true && echo made > /out/$id.namespace || echo refused > /out/$id.namespace\n";

/// It asks for a capability, by which Docker makes its default filter laxer, and tries what the laxer one lets through: to make a
/// user namespace, for which it takes no capability.
fn laxer(docker: &Docker, out: &Out, name: &str) -> Command {
    let mut command = docker.command();
    command.args([
        "run",
        "--detach",
        "--name",
        name,
        "--memory",
        "64m",
        "--read-only",
    ]);
    command.args(["--security-opt", "no-new-privileges", "--cap-add", "SYS_ADMIN"]);
    command.arg("--volume").arg(out.volume());
    command.args(["verger-test/app", &out.act()]);
    command
}

/// What came of it.
fn namespace(scene: &Scene, docker: &Docker, out: &Out, name: &str) -> Result<String> {
    scene.wait_for("a user namespace to be tried", || {
        out.said(docker, name, ".namespace")
    })
}

/// Unprotected, it has all that it asks for.
pub(super) fn control(scene: &Scene, docker: &Docker, out: &Out) -> Result<()> {
    let name = docker.name("bold");
    checked(&mut bold(docker, out, &name, &[]))?;
    let held = held(docker, &name)?;
    docker.remove(&name)?;
    ensure!(held == BOLD, "unprotected, it holds {held:?}");
    out.more(TRIED)?;
    checked(&mut laxer(docker, out, &name))?;
    let made = namespace(scene, docker, out, &name)?;
    docker.remove(&name)?;
    ensure!(made == "made", "unprotected, a user namespace is {made}");
    Ok(())
}

/// With what is said here of its workload it runs without that, what is exec'd in it too, and is as it is blessed; gives how many were
/// tightened.
pub(super) fn shown(scene: &Scene, docker: &Docker, out: &Out, enforced: &str) -> Result<usize> {
    let tightened = enforced.replace(
        "  config:\n",
        "  tighten: [ capabilities, noNewPrivileges, rootfs, seccomp ]\n  config:\n",
    );
    let stays = |line: &&str| line.trim() != "rootfs: writable";
    let lines: Vec<&str> = tightened.lines().filter(stays).collect();
    let tightened = lines.join("\n");
    ensure!(
        tightened.contains("tighten:") && lines.len() == enforced.lines().count(),
        "the draft has no such lines: {enforced}"
    );
    in_force(scene, &tightened)?;
    let name = docker.name("bold");
    let lacking = "the policy lets the gate put the runtime's default seccomp profile for these capabilities there, and this host does not have it yet";
    refused(docker, out, &mut bold(docker, out, &name, &[]), &name, lacking)?;
    // What is launched as it is blessed shows the host which that is.
    let kin = docker.name("kin");
    runs(scene, docker, out, &kin, &KIN)?;
    docker.remove(&kin)?;

    checked(&mut bold(docker, out, &name, &[]))?;
    scene.wait_for("what is tightened to run", || {
        Ok(out.has(docker, &name)?.then_some(()))
    })?;
    let held = self::held(docker, &name)?;
    ensure!(held == TIGHT, "tightened, it holds {held:?}");
    let said = docker.say(&["exec", "--privileged", &name, "cat", "/proc/self/status"])?;
    let of_exec = status(&said)?;
    ensure!(
        of_exec == (false, true, 2),
        "what is exec'd in it holds {of_exec:?}"
    );
    scene.judged(&name, |row| row["failed"] == 0 && row["passed"] != 0)?;
    docker.remove(&name)?;

    // A profile of its own that lets everything through gives way to the blessed one, and one that lets nearly nothing through does not.
    let profile = |name: &str, rest: &str| -> Result<String> {
        let file = scene.path(name);
        let architectures = r#"["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"]"#;
        fs::write(&file, format!(r#"{{"architectures":{architectures},{rest}}}"#))?;
        Ok(format!("seccomp={}", file.display()))
    };
    let lax = profile("lax.json", r#""defaultAction":"SCMP_ACT_ALLOW""#)?;
    checked(&mut bold(docker, out, &name, &["--security-opt", &lax]))?;
    let held = self::held(docker, &name)?;
    ensure!(held == TIGHT, "under a lax profile it holds {held:?}");
    scene.judged(&name, |row| row["failed"] == 0 && row["passed"] != 0)?;
    docker.remove(&name)?;
    let strict = profile(
        "strict.json",
        r#""defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["exit"],"action":"SCMP_ACT_ALLOW"}]"#,
    )?;
    let mut stricter = bold(docker, out, &name, &["--security-opt", &strict]);
    refused(
        docker,
        out,
        &mut stricter,
        &name,
        "its own seccomp profile is not seen to let more through",
    )?;

    // The filter that came with a capability goes with it.
    out.more(TRIED)?;
    checked(&mut laxer(docker, out, &name))?;
    let held = self::held(docker, &name)?;
    ensure!(held == TIGHT, "with the capability's filter it holds {held:?}");
    let made = namespace(scene, docker, out, &name)?;
    ensure!(made == "refused", "tightened, a user namespace is {made}");
    scene.judged(&name, |row| row["failed"] == 0 && row["passed"] != 0)?;
    docker.remove(&name)?;

    // What cannot be taken away is refused with the rest, and runs nothing.
    let mut with_host = bold(docker, out, &name, &["--volume", "/etc:/host"]);
    refused(docker, out, &mut with_host, &name, "config/mounts")?;
    // Without that word in the policy a filter that is not there is refused as it was.
    let untightened = tightened.replace(", seccomp ]", " ]");
    ensure!(
        untightened != tightened,
        "the draft tightens no filter: {tightened}"
    );
    in_force(scene, &untightened)?;
    refused(
        docker,
        out,
        &mut bold(docker, out, &name, &[]),
        &name,
        "config/seccomp",
    )?;
    // Nor is one that was made for what is taken away.
    let laxer_one = "for which its runtime made its default seccomp profile laxer: let the policy say `tighten: [ seccomp ]`, too";
    refused(docker, out, &mut laxer(docker, out, &name), &name, laxer_one)?;
    Ok(SHOWN)
}

/// Has a policy hold.
fn in_force(scene: &Scene, policy: &str) -> Result<()> {
    scene.apply(policy)?;
    scene.wait_for("the policy to be in force", || {
        let row = scene.rows(&["hosts"])?;
        Ok((row[0]["epoch"] == scene.epoch()?).then_some(()))
    })
}

/// It is refused in the gate's words, with these among them, and runs nothing.
fn refused(docker: &Docker, out: &Out, launch: &mut Command, name: &str, says: &str) -> Result<()> {
    let output = launch.output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        told.contains("verger-gate: create refused") && told.contains(says),
        "{says}: {told}"
    );
    ensure!(!out.has(docker, name)?, "refused, and yet it ran");
    docker.remove(name)
}
