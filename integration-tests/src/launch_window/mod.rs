//! Instances whose workload enforces control `channels` have no network, and none of them runs an instruction before that holds.
//!
//! What passes is found by trying it, and frames are counted by the kernel, in a table of this rig's own. Every attack is tried first
//! where nothing is enforced; the same between containers that nothing is said of goes on working.

mod host;
mod refusals;
mod ways;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::launch::{Act, Gate, at_once};
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, PATIENCE, Scene};

use host::Host;
use ways::Ways;

/// Launches at the same time.
const AT_ONCE: usize = 10;
/// How long the slow stand-in waits before it does anything, seconds.
const DELAY: &str = "0.5";

/// Runs the short form or the long one.
///
/// # Errors
/// When the scene does not work.
pub fn run(long: bool) -> Result<Verdict> {
    let launches = if long { 200 } else { 10 };
    let never = if long { 20 } else { 2 };
    let programs = Programs::find()?;
    let docker = Docker::find()?;
    let mut scene = Scene::found(&programs, &docker)?;
    let host = Host::prepare(&docker)?;
    let act = Act::new(&scene)?;
    let ways = Ways::open(&docker, &host)?;

    // Addresses of version 6 are tried by the kernel before they serve.
    scene.wait_for("every way to be open where nothing is enforced", || {
        let open = ways.passing(&host)?;
        if open.len() < ways.count() {
            tell(&format!("not open yet: {:?}", ways.without(&open)));
        }
        Ok((open.len() == ways.count()).then_some(()))
    })?;
    let control = launch(&docker, &act, &host, "control", 2)?;
    let sent = host.frames()?;
    ensure!(
        control.ran == 2 && sent >= 2,
        "unprotected, {} of 2 launches ran and {sent} frames left",
        control.ran
    );
    control.remove(&docker)?;
    let (to_refuse, to_run) = refusals::counts(&host, &ways);
    let (ran, _) = refusals::tried(&docker, &act, &host, &ways)?;
    ensure!(
        ran == to_refuse + to_run,
        "unprotected, {ran} of {} ran",
        to_refuse + to_run
    );
    act.clear()?;

    let draft = scene.bless(&docker, ways.closed(), "window/web")?;
    let enforced = draft.replace("default: monitor", "default: monitor\n    channels: enforce");
    ensure!(enforced != draft, "the draft has no mode to change: {draft}");
    let gate = Gate::install(&mut scene, &programs, &docker)?;
    scene.apply(&enforced)?;
    // What runs already is closed.
    scene.wait_for("what runs to be closed", || {
        Ok((host.closed()? >= ways.links()).then_some(()))
    })?;
    let still = ways.passing(&host)?;
    let benign = still.iter().filter(|way| way.is_benign()).count();
    let leaks = still.len() - benign;
    for way in still.iter().filter(|way| !way.is_benign()) {
        tell(&format!("still open: {way}"));
    }
    ensure!(
        benign == ways.benign(),
        "what is let be is not: {:?}",
        ways.without(&still)
    );

    let (let_in, kept_out) = refusals::tried(&docker, &act, &host, &ways)?;
    act.clear()?;

    // What is launched waits, here for an enforcer that takes its time, and sends nothing.
    stand_in(
        &mut scene,
        "slow",
        &format!("sleep {DELAY}\nexec /usr/sbin/nft \"$@\"\n"),
    )?;
    let before = host.frames()?;
    let mut slow = Tally::default();
    for start in (0..launches).step_by(AT_ONCE) {
        let batch = launch(
            &docker,
            &act,
            &host,
            &format!("slow{start}"),
            AT_ONCE.min(launches - start),
        )?;
        slow.add(&batch);
        batch.remove(&docker)?;
    }
    let frames = host.frames()? - before;
    act.clear()?;

    // One that takes every step gladly, and of which nothing is ever seen in the kernel.
    stand_in(
        &mut scene,
        "never",
        "case \"$*\" in *-f*) cat > /dev/null ;; *) exec /usr/sbin/nft \"$@\" ;; esac\n",
    )?;
    let before = host.frames()?;
    let mut refused = Tally::default();
    for start in (0..never).step_by(AT_ONCE) {
        let batch = launch(
            &docker,
            &act,
            &host,
            &format!("never{start}"),
            AT_ONCE.min(never - start),
        )?;
        refused.add(&batch);
        batch.remove(&docker)?;
    }
    let never_frames = host.frames()? - before;

    // Somebody takes all rules away.
    stand_in(&mut scene, "nft", "exec /usr/sbin/nft \"$@\"\n")?;
    // What was refused is launched now, and the agent has seen that its rules stand.
    let mended = launch(&docker, &act, &host, "mended", 1)?;
    ensure!(mended.ran == 1, "with nft back a launch does not run");
    mended.remove(&docker)?;
    host.flush()?;
    let found = scene.wait_for("the rules to be back, and a finding", || {
        let is_found = scene
            .open_findings()?
            .iter()
            .any(|finding| finding["rule"] == "host/rules-removed");
        Ok((is_found && host.closed()? >= ways.links()).then_some(true))
    })?;

    // They stay when the agent ends.
    scene.agent.stop()?;
    let alone = ways.passing(&host)?;
    let leaks_alone = alone.iter().filter(|way| !way.is_benign()).count();
    scene.agent.start()?;
    // The policy asks for it no more.
    scene.apply(&draft)?;
    scene.wait_for("what was closed to be open", || {
        Ok((host.closed()? == 0).then_some(()))
    })?;
    let again = ways.passing(&host)?.len();
    gate.remove()?;
    let attacks = ways.count() - ways.benign();
    Ok(Verdict {
        figure: format!(
            "{} of {launches} launches behind a slow enforcer ran, {frames} frames left them ({sent} of 2 unprotected); behind one that never confirms {} of {never} were refused, {} ran, {never_frames} frames; of {attacks} ways {leaks} passed closed, {leaks_alone} with the agent away; {benign} of {} benign ways passed; {kept_out} of {to_refuse} launches in networks that cannot be closed were refused, {let_in} of {to_run} others ran; flushed rules were back and found: {found}",
            slow.ran,
            refused.refused,
            refused.ran,
            ways.benign()
        ),
        holds: slow.ran == launches
            && frames == 0
            && refused.refused == never
            && refused.ran == 0
            && never_frames == 0
            && leaks == 0
            && leaks_alone == 0
            && (kept_out, let_in) == (to_refuse, to_run)
            && again == ways.count(),
    })
}

/// Has the agent use this script in the place of nft(8).
fn stand_in(scene: &mut Scene, name: &str, script: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = scene.path(name);
    fs::write(
        &path,
        format!("#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/bin\n{script}"),
    )?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let config = scene.path("agent.toml");
    let text = fs::read_to_string(&config)?;
    let lines = text.lines().filter(|line| !line.starts_with("nft_program"));
    let mut text: String = lines.map(|line| format!("{line}\n")).collect();
    text.push_str(&format!("nft_program = {path:?}\n"));
    fs::write(&config, text)?;
    scene.agent.stop()?;
    scene.agent.start()
}

/// What became of launches.
#[derive(Default)]
struct Tally {
    names: Vec<String>,
    ran: usize,
    refused: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.ran += other.ran;
        self.refused += other.refused;
    }

    fn remove(&self, docker: &Docker) -> Result<()> {
        self.names.iter().try_for_each(|name| docker.remove(name))
    }
}

/// Launches so many at once, each of which first says that it runs and then connects to the twin, and waits until each has done so or
/// was refused.
fn launch(docker: &Docker, act: &Act, host: &Host, name: &str, count: usize) -> Result<Tally> {
    let names: Vec<String> = (0..count)
        .map(|number| docker.name(&format!("{name}-{number}")))
        .collect();
    let commands = names.iter().enumerate().map(|(number, name)| {
        let mut command = docker.command();
        let dial = format!(
            "echo | timeout 3 nc -w 1 {} 8080; echo tried > $out.tried; exec sleep 600",
            host.twin()
        );
        command
            .args(["run", "--detach", "--name", name])
            .args(["--network", host.network(), "--ip", &host.address(number)])
            .args(["--volume", &act.volume(), "verger-test/app"])
            .arg(act.then(name, &dial));
        command
    });
    let outputs = at_once(commands);
    let mut tally = Tally {
        names,
        ..Tally::default()
    };
    for (name, output) in tally.names.iter().zip(outputs) {
        let output = output?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if told.contains("verger-gate: start refused") && told.contains("did not confirm within 8 s") {
            tally.refused += 1;
            // What was made is not left behind: its first process, and the shim that watches it.
            let id = docker.say(&["inspect", "--format", "{{.Id}}", name])?;
            ended(&id).with_context(|| name.clone())?;
        } else if !output.status.success() {
            tell(&format!("{name}: {told}"));
        } else {
            // It has tried to connect, and given up or not.
            act.wait_for(name, ".tried")?;
        }
        tally.ran += usize::from(act.has(name, ""));
    }
    Ok(tally)
}

/// Waits until no shim of a container is there.
pub(crate) fn ended(id: &str) -> Result<()> {
    let began = Instant::now();
    while is_watched(id)? {
        ensure!(
            began.elapsed() < PATIENCE,
            "its start was refused, and its shim is still there"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether a shim of a container is there.
fn is_watched(id: &str) -> Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let line = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        if words
            .next()
            .is_some_and(|program| program.ends_with(b"containerd-shim-runc-v2"))
            && words.any(|word| word == id.as_bytes())
        {
            return Ok(true);
        }
    }
    Ok(false)
}
