//! `docker-compose`, from `up` to `down`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::said::{Said, ends};
use super::{Client, Way};

const SERVICES: &str = "
version: '3'
services:
  web:
    image: verger-test/app
    command: [ 'echo said; exec sleep 600' ]
    stop_grace_period: 0s
    volumes: [ 'kept:/kept' ]
  once:
    image: verger-test/app
    command: [ 'echo once; exit 3' ]
    profiles: [ once ]
volumes:
  kept: {}
";

/// What it is told, and how it ends.
const STEPS: &[(&[&str], i32)] = &[
    (&["config"], 0),
    (&["up", "-d"], 0),
    (&["ps"], 0),
    (&["logs", "--no-color"], 0),
    (&["exec", "-T", "web", "sh", "-c", "echo in; exit 5"], 5),
    (&["exec", "-T", "web", "sh", "-c", "echo err >&2; exit 6"], 6),
    (&["exec", "-T", "absent", "true"], 1),
    // In the foreground: what it says comes by an attached stream, and it ends as the container does.
    (
        &["--profile", "once", "up", "--exit-code-from", "once", "once"],
        3,
    ),
    // Two that are removed at the same time are told of in any order.
    (&["--profile", "once", "rm", "--force", "once"], 0),
    // It is attached to after it has started: what it says at once would be lost.
    (&["run", "--rm", "-T", "web", "sleep 3; echo alone; exit 4"], 4),
    (&["top"], 0),
    (&["restart", "-t", "0"], 0),
    (&["stop"], 0),
    (&["ps"], 0),
    (&["start"], 0),
    (&["down", "--volumes"], 0),
    (&["ps"], 0),
];

/// A folder that anybody can read, with the services in it.
///
/// # Errors
/// When it cannot be made.
pub(super) fn folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("verger-compose-").tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    fs::write(folder.path().join("docker-compose.yml"), SERVICES)?;
    Ok(folder)
}

/// `docker-compose` of a client, in this folder.
pub(super) fn compose(client: &Client<'_>, folder: &Path) -> Command {
    let mut command = client.program("/usr/bin/docker-compose");
    command
        .current_dir(folder)
        .args(["--ansi", "never", "--project-name", &client.front.docker.name("clients")])
        .env("DOCKER_HOST", format!("unix://{}", client.socket().display()))
        // Otherwise it has Docker's CLI do what `exec` does.
        .env("COMPOSE_INTERACTIVE_NO_CLI", "1");
    command
}

/// Every step prints and ends as it should; in the end nothing is left, however it went.
pub(super) fn serves(client: &Client<'_>) -> Result<Vec<Said>> {
    let folder = folder()?;
    let all = steps(client, folder.path());
    if all.is_err() {
        let past = Client {
            way: Way::Direct,
            ..*client
        };
        let mut down = compose(&past, folder.path());
        down.args(["down", "--volumes", "--remove-orphans"]);
        let _ = ends(down, b"");
    }
    all
}

fn steps(client: &Client<'_>, folder: &Path) -> Result<Vec<Said>> {
    let mut all = Vec::new();
    for (words, code) in STEPS {
        let mut command = compose(client, folder);
        command.args(*words);
        let mut said = ends(command, b"")
            .and_then(|said| said.ending(*code))
            .with_context(|| format!("docker-compose {}", words.join(" ")))?;
        match *words {
            // It shows pids and times: of each line, how many words it has.
            ["top"] => {
                let counts = said.out.lines().map(|line| line.split_whitespace().count());
                said.out = format!("{:?}", counts.collect::<Vec<_>>());
            }
            ["logs", ..] => ensure!(said.out.contains("said"), "it has no logs: {said:?}"),
            ["--profile", _, "up", ..] => ensure!(said.out.contains("once"), "it is not attached: {said:?}"),
            ["run", ..] => ensure!(said.out.contains("alone"), "it is not attached: {said:?}"),
            _ => {}
        }
        all.push(said);
    }
    Ok(all)
}
