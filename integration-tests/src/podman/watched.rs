//! What runs by Podman is watched as what runs by Docker is: the agent finds what ran before it, judges it, and tells what becomes of it, whoever
//! does that and by whatever way.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::attacks::{Attack, benign, benign_as};
use super::host::{Out, Podman};
use super::{WORKLOAD, runs};
use crate::scene::{HOST, Scene, checked};

/// A process in namespaces of a container, started on the host.
struct Intruder(Child);

impl Drop for Intruder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Shows it with `twin`, which runs and is as it is blessed, and with what is launched by `real`, past the gate. Gives how long the slowest took to be
/// told.
pub(super) fn shown(
    scene: &mut Scene,
    podman: &Podman,
    front: &Path,
    real: &Path,
    out: &Out,
) -> Result<Duration> {
    clean(scene, "twin")?;
    // Whatever its ports are, as the policy says.
    scene.judged("open", |row| row["failed"] == 0 && row["notEvaluated"] == 1)?;
    let pid = pid_of(podman, front, "twin")?;
    let mut slowest = Duration::ZERO;
    let mut told = |scene: &Scene, rule: &str, says: &str| -> Result<()> {
        let begun = Instant::now();
        scene.wait_for(&format!("{rule} {says}"), || {
            Ok(is_told(scene, rule, says)?.then_some(()))
        })?;
        slowest = slowest.max(begun.elapsed());
        Ok(())
    };

    let within = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &pid, "--mount", "/bin/busybox"])
            .args(words);
        command
    };
    checked(&mut within(&["mount", "-t", "tmpfs", "drift", "/etc"]))?;
    told(scene, "config/live-mounts", "live.mounts[/etc]")?;
    checked(&mut within(&["umount", "/etc"]))?;
    over(scene, "config/live-mounts", "live.mounts[/etc]")?;

    let intruder = within(&["sleep", "600"]).stdin(Stdio::null()).spawn();
    let intruder = Intruder(intruder.context("starting nsenter")?);
    told(scene, "privilege/foreign-process", "`busybox`")?;
    drop(intruder);
    over(scene, "privilege/foreign-process", "`busybox`")?;

    // What ran before the agent did, and past the gate, is found as it is.
    scene.agent.stop()?;
    runs(scene, podman, real, out, "adopted", &benign())?;
    let flags = vec!["--cap-add".to_owned(), "SYS_ADMIN".to_owned()];
    let drifted = Attack { flags, ..benign() };
    runs(scene, podman, real, out, "drifted", &drifted)?;
    runs(scene, podman, real, out, "stranger", &benign_as("other"))?;
    scene.agent.start()?;
    clean(scene, "adopted")?;
    scene.judged("drifted", |row| {
        row["workloads"][0] == WORKLOAD && row["failed"] != 0
    })?;
    told(scene, "config/capabilities", "CAP_SYS_ADMIN")?;
    told(scene, "config/unknown-instance", "of no workload")?;
    let exec = [
        "exec",
        "--detach",
        "--user",
        "9:9",
        "adopted",
        "/bin/sleep",
        "600",
    ];
    podman.say(real, &exec)?;
    told(scene, "config/live-user", "uid 9")?;
    podman.say(real, &["restart", "--time", "0", "adopted"])?;
    over(scene, "config/live-user", "uid 9")?;
    clean(scene, "adopted")?;
    for name in ["adopted", "drifted", "stranger"] {
        podman.remove(real, name)?;
        scene.wait_for(&format!("{name} to be gone"), || {
            let rows = scene.rows(&["instances"])?;
            Ok(rows.iter().all(|row| row["name"] != name).then_some(()))
        })?;
    }
    Ok(slowest)
}

/// Waits until a container is judged, and nothing of it differs or is not seen.
fn clean(scene: &Scene, name: &str) -> Result<()> {
    let judged = scene.judged(name, is_clean).map(drop);
    judged.with_context(|| {
        let shown = scene.say(&["instances", name, "--host", HOST, "--output", "json"]);
        let shown = shown.unwrap_or_else(|error| error.to_string());
        format!(
            "{name} is {}",
            shown.split_whitespace().collect::<Vec<_>>().join(" ")
        )
    })
}

fn is_clean(row: &Value) -> bool {
    row["runtime"] == "podman"
        && row["entitled"] == true
        && row["failed"] == 0
        && row["errors"] == 0
        && row["notEvaluated"] == 0
        && row["passed"] != 0
}

fn is_told(scene: &Scene, rule: &str, says: &str) -> Result<bool> {
    let is_it = |finding: &Value| finding["rule"] == rule && finding.to_string().contains(says);
    Ok(scene.open_findings()?.iter().any(is_it))
}

fn over(scene: &Scene, rule: &str, says: &str) -> Result<()> {
    scene.wait_for(&format!("{rule} {says} to be over"), || {
        Ok((!is_told(scene, rule, says)?).then_some(()))
    })
}

fn pid_of(podman: &Podman, runtime: &Path, name: &str) -> Result<String> {
    let pid = podman.say(runtime, &["inspect", "--format", "{{.State.Pid}}", name])?;
    ensure!(
        fs::exists(format!("/proc/{pid}/ns/mnt"))?,
        "{name} has no process: {pid:?}"
    );
    Ok(pid)
}
