//! The ways round the gate: what is written into a config behind Docker's back is refused, who comes past the gate is found, and what
//! was refused only because nobody answered runs again.
//!
//! Each attack works where nothing stands in its way; what it did is counted on the host, and not by what anybody says.

mod bundles;
mod diverted;
mod restart;
mod tcp;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::launch::Gate;
use crate::point::Verdict;
use crate::programs::Programs;
use crate::scene::{Docker, Scene};

/// What is found is to be told within so long, and a moment for the test to see it.
const WITHIN: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_secs(2);
/// A group of nobody's.
const GROUP: u32 = 54_321;
/// A user whom nobody knows.
const USER: u32 = 54_322;
const WORKLOAD: &str = "doors/web";
const NOTHING_UNKNOWN: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: nothing-unknown }\nspec: { unknown: refuse }\n";

/// Runs it; there is one form.
///
/// # Errors
/// When the scene does not work.
pub fn run(_long: bool) -> Result<Verdict> {
    let programs = Programs::find()?;
    let docker = Docker::find()?;
    let mut scene = Scene::found(&programs, &docker)?;
    users(&scene)?;

    let older = docker.name("older");
    let id = docker.run(
        &older,
        &["--security-opt", "no-new-privileges", "verger-test/app"],
    )?;
    let draft = scene.bless(&docker, &older, WORKLOAD)?;
    let gate = Gate::install(&mut scene, &programs, &docker)?;
    let mut slowest = Duration::ZERO;
    let mut found = 0;
    let mut seen = |what: &str, holds: &dyn Fn(&Value) -> bool| -> Result<()> {
        slowest = slowest.max(appears(&scene, what, holds)?);
        found += 1;
        Ok(())
    };

    // What ran before the gate stood there is told, and its twin that came after is not.
    seen("what ran before", &|finding| is_past(finding, &id))?;
    docker.remove(&older)?;
    let twin = docker.name("twin");
    let twin_id = docker.run(&twin, &["--security-opt", "no-new-privileges", "verger-test/app"])?;
    scene.judged(&twin, |_| true)?;
    // Other daemons of this machine are past the gate, too: only what is of this one is looked at.
    ends(&scene, &|finding| is_past(finding, &id))?;
    ensure!(
        !scene
            .open_findings()?
            .iter()
            .any(|finding| is_past(finding, &twin_id)),
        "what came through the gate is told to have come past it"
    );
    let told = gate.told()?;
    ensure!(
        !told.contains("host/gate-drift") && !told.contains(&twin_id),
        "{told}"
    );

    // Who holds a runtime's socket is root of the host, whatever runs there.
    for (image, place) in [
        ("verger-test/app", "/run/docker.sock"),
        ("verger-test/busybox", "/srv/other"),
    ] {
        let holder = docker.name("holder");
        let volume = format!("{}:{place}", docker.socket().display());
        let id = docker.run(
            &holder,
            &["--security-opt", "no-new-privileges", "--volume", &volume, image],
        )?;
        docker.say(&["exec", &holder, "test", "-S", place])?;
        let holds = |finding: &Value| {
            is(finding, "privilege/can-become-root", &format!("mounts[{place}]"))
                && finding["samples"]
                    .as_array()
                    .is_some_and(|samples| samples.iter().any(|sample| sample["id"] == *id))
        };
        seen("a container with a runtime's socket", &holds)?;
        docker.remove(&holder)?;
        ends(&scene, &holds)?;
    }

    // Another program under the gate's name: what is launched then runs unjudged, and each part of it is told.
    let name = gate.folder().join("runc");
    let real = runtime(&gate)?;
    fs::remove_file(&name)?;
    symlink(&real, &name)?;
    for field in [
        format!("files[{}]", name.display()),
        "daemons[dockerd]".to_owned(),
        "runtimes[runc]".to_owned(),
    ] {
        seen(&field.clone(), &|finding| is(finding, "host/gate-drift", &field))?;
    }
    let told = gate.told()?;
    for says in ["files[", "daemons[dockerd]", "runtimes[runc]", "install-gate"] {
        ensure!(told.contains(says), "`check-gate` does not say {says}: {told}");
    }
    let past = docker.name("past");
    let past_id = docker.run(&past, &["--security-opt", "no-new-privileges", "verger-test/app"])?;
    seen("what is launched past it", &|finding| is_past(finding, &past_id))?;
    gate.install_again()?;
    ends(&scene, &|finding| is(finding, "host/gate-drift", ""))?;
    // It is told for as long as it runs, also when the gate is back.
    appears(&scene, "what was launched past it", &|finding| {
        is_past(finding, &past_id)
    })?;
    docker.remove(&past)?;
    docker.remove(&twin)?;
    ends(&scene, &|finding| {
        is_past(finding, &past_id) || is_past(finding, &twin_id)
    })?;

    // Who may open Docker's socket.
    chown(docker.socket(), None, Some(GROUP))?;
    let member = seen("a member of the socket's group", &|finding| {
        is(finding, "host/other-doors", "users[mallory]")
    });
    chown(docker.socket(), None, Some(0))?;
    member?;
    ends(&scene, &|finding| is(finding, "host/other-doors", "users["))?;

    // What a user runs in a namespace of his own, as rootless runtimes do.
    let field = format!("rootless[{USER}]");
    let mut rootless = Command::new("unshare")
        .args(["--user", "--map-root-user", "cat"])
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::piped())
        .spawn()?;
    let told = seen("what a user runs without root", &|finding| {
        is(finding, "host/rootless-runtimes", &field)
    });
    drop(rootless.stdin.take());
    rootless.wait()?;
    told?;
    ends(&scene, &|finding| is(finding, "host/rootless-runtimes", &field))?;

    let enforced = draft.replace("default: monitor", "default: enforce");
    ensure!(enforced != draft, "the draft has no mode to change: {draft}");
    // A controller takes no image that no host runs.
    let blessed = docker.name("blessed");
    docker.run(
        &blessed,
        &["--security-opt", "no-new-privileges", "verger-test/app"],
    )?;
    scene.judged(&blessed, |_| true)?;
    scene.apply(&format!("{enforced}\n---\n{NOTHING_UNKNOWN}"))?;
    docker.remove(&blessed)?;
    scene.wait_for("the policy to be in force", || {
        Ok((scene.rows(&["hosts"])?[0]["epoch"] == scene.epoch()?).then_some(()))
    })?;
    let refused = bundles::run(&scene, &docker, &gate, &real)?;
    diverted::run(&scene, &programs, &real)?;
    slowest = slowest.max(tcp::run(&mut scene)?);
    found += 1;
    let started = restart::run(&mut scene, &programs, &docker)?;
    gate.remove()?;
    let in_time = slowest <= WITHIN + MOMENT;
    Ok(Verdict {
        figure: format!(
            "{found} ways past the gate found, the slowest after {:.1} s; {} of {} changed configs refused, {} of them did anything, those with a trace all did unprotected; an upgrade behind a diverted runtime launches nothing; {started}",
            slowest.as_secs_f64(),
            refused.told,
            refused.of,
            refused.done,
        ),
        holds: in_time && refused.told == refused.of && refused.done == 0,
    })
}

/// Whether it is an open finding of a rule whose field begins so.
fn is(finding: &Value, rule: &str, field: &str) -> bool {
    finding["rule"] == rule
        && finding["field"]
            .as_str()
            .is_some_and(|text| text.starts_with(field))
}

fn is_past(finding: &Value, id: &str) -> bool {
    is(finding, "host/past-gate", &format!("containers[moby/{id}]"))
}

/// Waits for a finding; gives how long it took.
fn appears(scene: &Scene, what: &str, holds: &dyn Fn(&Value) -> bool) -> Result<Duration> {
    let begun = Instant::now();
    scene.wait_for(what, || {
        Ok(scene.open_findings()?.iter().any(holds).then_some(()))
    })?;
    Ok(begun.elapsed())
}

fn ends(scene: &Scene, holds: &dyn Fn(&Value) -> bool) -> Result<()> {
    scene.wait_for("the findings to end", || {
        Ok((!scene.open_findings()?.iter().any(holds)).then_some(()))
    })
}

/// Files of users and groups in which somebody else is in the socket's group.
fn users(scene: &Scene) -> Result<()> {
    let (group, passwd) = (scene.path("group"), scene.path("passwd"));
    fs::write(&group, format!("root:x:0:\ndocker:x:{GROUP}:mallory\n"))?;
    fs::write(
        &passwd,
        "root:x:0:0::/root:/bin/sh\nmallory:x:1000:1000::/:/bin/sh\n",
    )?;
    let config = scene.path("agent.toml");
    let text = fs::read_to_string(&config)?;
    fs::write(
        config,
        format!("{text}group_file = {group:?}\npasswd_file = {passwd:?}\n"),
    )?;
    Ok(())
}

/// The runtime behind the gate.
fn runtime(gate: &Gate) -> Result<PathBuf> {
    let settings: Value = serde_json::from_slice(&fs::read(gate.folder().join("gate.json"))?)?;
    let path = settings["runtimes"]["runc"]["path"]
        .as_str()
        .context("the gate stands in front of runc")?;
    Ok(path.into())
}

/// A script in the place of a program.
fn script(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("script");
    fs::write(&fresh, format!("#!/bin/bash\n{text}\n"))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    Ok(fs::rename(fresh, path)?)
}
