//! What Docker would have run all along, and what was refused because no agent answered.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::programs::Programs;
use crate::scene::{Docker, Scene};

/// Says what was started again, and what was not.
pub(super) fn run(scene: &mut Scene, programs: &Programs, docker: &Docker) -> Result<String> {
    // Unanswered, Docker gives up: that is what is mended.
    scene.agent.stop()?;
    let (always, never, strange) = (
        docker.name("always"),
        docker.name("never"),
        docker.name("strange"),
    );
    refused(
        docker,
        &always,
        &[
            "--restart",
            "always",
            "--security-opt",
            "no-new-privileges",
            "verger-test/app",
        ],
    )?;
    refused(
        docker,
        &never,
        &["--security-opt", "no-new-privileges", "verger-test/app"],
    )?;
    // Nobody blessed that one: it goes through the gate, too.
    refused(
        docker,
        &strange,
        &["--restart", "always", "verger-test/busybox", "sleep", "600"],
    )?;
    scene.agent.start()?;
    scene.wait_for("what is always to run to run again", || {
        Ok(runs(docker, &always)?.then_some(()))
    })?;
    let said = |name: &str| docker.say(&["inspect", "--format", "{{.State.Error}}", name]);
    scene.wait_for("what nobody blessed to be judged", || {
        Ok(said(&strange)?.contains("of no blessed workload").then_some(()))
    })?;
    ensure!(!runs(docker, &strange)?, "what nobody blessed was started again");
    ensure!(
        !runs(docker, &never)?,
        "what is not to run by itself was started again"
    );
    for name in [&always, &never, &strange] {
        docker.remove(name)?;
    }
    held_open(scene, programs, docker)?;
    Ok(
        "what was refused for want of an answer ran again, and a socket that was held open was answered"
            .to_owned(),
    )
}

fn runs(docker: &Docker, name: &str) -> Result<bool> {
    Ok(docker.say(&["inspect", "--format", "{{.State.Running}}", name])? == "true")
}

fn refused(docker: &Docker, name: &str, arguments: &[&str]) -> Result<()> {
    let mut command = docker.command();
    command.args(["run", "--detach", "--name", name]).args(arguments);
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        told.contains("the policy agent is unreachable"),
        "with the agent stopped: {told}"
    );
    Ok(())
}

/// A socket that is held open while the agent is only starting: who asks waits, and is answered.
fn held_open(scene: &mut Scene, programs: &Programs, docker: &Docker) -> Result<()> {
    scene.agent.stop()?;
    let socket = scene.path("gate.sock");
    let _ = std::fs::remove_file(&socket);
    let mut command = Command::new("systemd-socket-activate");
    command.arg(format!("--listen={}", socket.display()));
    command.arg(programs.path("verger-agent")?);
    command.arg("--config").arg(scene.path("agent.toml")).arg("run");
    let log = std::fs::File::create(scene.path("activated.log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let activated = Activated(
        command
            .spawn()
            .context("starting systemd-socket-activate (package systemd)")?,
    );
    scene.wait_for("the socket to be held open", || Ok(socket.exists().then_some(())))?;
    // The agent does not run yet: this very question starts it.
    let name = docker.name("waited");
    let run = docker.run(&name, &["--security-opt", "no-new-privileges", "verger-test/app"]);
    let log = std::fs::read_to_string(scene.path("activated.log")).unwrap_or_default();
    run.with_context(|| format!("an agent that was starting: {log}"))?;
    docker.remove(&name)?;
    drop(activated);
    let _ = std::fs::remove_file(&socket);
    scene.agent.start()
}

/// Ends with this value.
struct Activated(Child);

impl Drop for Activated {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
