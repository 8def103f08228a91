//! Podman's proxy while the agent is dead: closed at once to everybody, and what runs can be ended past it by root.

use std::process::Command;

use anyhow::{Result, ensure};

use super::Count;
use super::front::{ADMIN, Front, OTHER};
use crate::agent_dead::{Done, LIMIT, Running, done};
use crate::point::tell;
use crate::runtime_proxy::RUNNER;

/// Kills the agent, and starts it again.
pub(super) fn run(front: &mut Front) -> Result<Count> {
    let mut count = Count::default();
    serves(front)?;
    let mut follow = front.cli(ADMIN)?;
    follow.args(["exec", "web", "/bin/sh", "-c", "echo open; sleep 3600"]);
    let stream = Running::start(follow)?;
    front
        .scene
        .wait_for("a stream", || Ok(stream.said()?.contains("open").then_some(())))?;
    front.scene.agent.kill()?;
    // However it ends: it does.
    let ended = stream.end()?;
    fits(&mut count, "a stream that was open", &ended, true);

    let socket = front.socket().display().to_string();
    for uid in [0, ADMIN, RUNNER] {
        for arguments in [
            &["ps"][..],
            &["stop", "web"],
            &["exec", "web", "/bin/echo", "through"],
            &["run", "--rm", "--network", "none", OTHER, "/bin/echo", "through"],
        ] {
            let mut podman = front.cli(uid)?;
            podman.args(arguments);
            let mut docker = front.docker(uid)?;
            docker.args(arguments);
            for (cli, command, says) in [
                ("podman", podman, "Cannot connect to Podman"),
                ("docker", docker, "Cannot connect to the Docker daemon at"),
            ] {
                let done = done(command)?;
                let is_closed = !done.is_success
                    && done.told.contains(says)
                    && done.told.contains(&socket)
                    && !done.told.contains("through");
                fits(
                    &mut count,
                    &format!("{cli} {} of {uid}", arguments[0]),
                    &done,
                    is_closed,
                );
            }
        }
    }
    // Nobody ended it, and root can.
    for (arguments, says) in [
        (&["ps", "--format", "{{.Names}}"][..], "other"),
        (&["exec", "web", "/bin/echo", "past"], "past"),
        (&["kill", "other"], ""),
        (&["rm", "--force", "--time", "0", "other"], ""),
    ] {
        let mut command = front.real()?;
        command.args(arguments);
        let done = done(command)?;
        let works = done.is_success && done.told.contains(says);
        fits(
            &mut count,
            &format!("podman {} past it", arguments[0]),
            &done,
            works,
        );
    }
    front.scene.agent.start()?;
    serves(front)?;
    Ok(count)
}

/// It does what it is to, in time.
fn fits(count: &mut Count, what: &str, done: &Done, is_right: bool) {
    let is_right = is_right && done.took <= LIMIT;
    if !is_right {
        tell(&format!("{what}: after {:?}: {}", done.took, done.told.trim()));
    }
    count.add(is_right);
}

fn serves(front: &Front) -> Result<()> {
    let mut look: Command = front.cli(ADMIN)?;
    look.args(["inspect", "--format", "{{.Name}}", "web"]);
    let look = done(look)?;
    ensure!(
        look.is_success && look.told.contains("web"),
        "podman inspect through the proxy: {}",
        look.told
    );
    Ok(())
}
