//! What a runtime does behind the gate: a container that differs from its blessing runs nothing, and says why.
//!
//! The first act of every container here is to write its name into a folder of the host, and the next to connect out. What was run is
//! counted there and by the kernel, and not by what `docker run` says.

mod attacks;
mod gate;
mod out;
mod tightened;

pub(crate) use gate::Gate;
pub(crate) use out::Act;

use std::fs;
use std::ops::Range;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, Scene, checked};
use attacks::{ATTACKS, Attack, BENIGN, LABELLED};
use out::Out;

const WORKLOAD: &str = "launch/web";
/// Launches at the same time.
const AT_ONCE: usize = 20;
/// Between two looks at launches.
const LOOK: Duration = Duration::from_millis(5);
/// What the gate says where nobody answers.
const UNANSWERED: &str = "the policy agent is unreachable";
/// And where the one who was asked ended meanwhile.
const ENDED: &str = "the policy agent ended the connection without an answer";

/// Runs the short form or the long one.
///
/// # Errors
/// When the scene does not work.
pub fn run(long: bool) -> Result<Verdict> {
    let rounds = if long { 1_000 } else { 60 };
    // With the agent restarting.
    let amid = if long { 200 } else { 40 };
    let programs = Programs::find()?;
    let docker = Docker::find()?;
    let mut scene = Scene::found(&programs, &docker)?;
    let out = Out::new(&scene, &docker)?;

    // Unprotected, each of them runs.
    let mut controls = 0;
    for attack in ATTACKS {
        let name = docker.name(attack.name);
        let before = out.packets()?;
        runs(&scene, &docker, &out, &name, attack)?;
        scene.wait_for(&format!("{name} to connect out"), || {
            Ok((out.packets()? > before).then_some(()))
        })?;
        docker.remove(&name)?;
        controls += 1;
    }
    tightened::control(&scene, &docker, &out)?;
    out.clear()?;

    let blessed = docker.name("blessed");
    runs(&scene, &docker, &out, &blessed, &BENIGN)?;
    let fetched = docker.command().args(["exec", &blessed]).args(FETCH).output()?;
    let told = String::from_utf8_lossy(&fetched.stderr).into_owned();
    ensure!(
        told.contains("can't connect to remote host"),
        "unprotected, what is exec'd does not run: {told}"
    );
    let draft = scene.bless(&docker, &blessed, WORKLOAD)?;
    let enforced = draft.replace("default: monitor", "default: enforce");
    ensure!(enforced != draft, "the draft has no mode to change: {draft}");
    // Of the working directory the blessing says nothing: that it may not be /tmp is a check's word alone.
    let stated = enforced
        .lines()
        .filter(|line| !line.trim_start().starts_with("workingDir:"));
    let stated: Vec<&str> = stated.collect();
    let enforced = stated
        .join("\n")
        .replace("  config:\n", "  config:\n    workingDir: any\n");
    ensure!(
        enforced.contains("workingDir: any"),
        "the draft has no config: {draft}"
    );
    let gate = Gate::install(&mut scene, &programs, &docker)?;
    scene.judged(&blessed, |_| true)?;
    scene.apply(&format!("{enforced}\n---\n{GUARDRAIL}"))?;
    docker.remove(&blessed)?;
    let told = gate.told()?;
    ensure!(
        !told.contains("host/gate-drift"),
        "the gate as it was just put: {told}"
    );
    out.clear()?;
    let twin = docker.name("twin");
    scene.wait_for("the policy to be in force", || {
        let row = scene.rows(&["hosts"])?;
        Ok((row[0]["epoch"] == scene.epoch()?).then_some(()))
    })?;
    runs(&scene, &docker, &out, &twin, &BENIGN)?;
    execs(&docker, &twin)?;
    let labelled = docker.name(LABELLED.name);
    runs(&scene, &docker, &out, &labelled, &LABELLED)?;
    docker.remove(&labelled)?;

    // What the twin sends is over by now: nobody listens there.
    let before = out.packets()?;
    let mut tally = Tally::default();
    for start in (0..rounds).step_by(AT_ONCE) {
        let batch = Batch::of(&docker, start..rounds.min(start + AT_ONCE));
        let said = at_once(batch.commands(&docker, &out));
        tally.add(&docker, &out, &batch, said, false)?;
    }
    let mut restarted = Tally::default();
    let mut restarts = 0;
    while restarted.launches < amid {
        let start = rounds + restarted.launches;
        let batch = Batch::of(&docker, start..start + AT_ONCE);
        let commands = batch.commands(&docker, &out);
        let ended = AtomicUsize::new(0);
        let said = thread::scope(|scope| -> Result<_> {
            let launches = scope.spawn(|| at_once_counted(commands, &ended));
            // It is gone, starting or back when each of them asks.
            while !launches.is_finished() {
                scene.agent.kill()?;
                scene.agent.start()?;
                restarts += 1;
                let before = ended.load(Ordering::Relaxed);
                while ended.load(Ordering::Relaxed) == before && !launches.is_finished() {
                    thread::sleep(LOOK);
                }
            }
            launches
                .join()
                .map_err(|_| anyhow::anyhow!("the launches panicked"))
        })?;
        restarted.add(&docker, &out, &batch, said, true)?;
    }
    let packets = out.packets()? - before;
    let after = docker.name("after");
    runs(&scene, &docker, &out, &after, &BENIGN)?;
    docker.remove(&after)?;
    out.clear()?;
    let mut ran = tally.ran + restarted.ran;
    let tightened = tightened::shown(&scene, &docker, &out, &enforced)?;
    // Without the agent nothing is launched, and what runs can be ended.
    scene.agent.stop()?;
    ran += without_agent(&docker, &out)?;
    ran += emergency(&mut scene, &docker, &out, &gate)?;
    docker.say(&["stop", "--time", "0", &twin])?;
    docker.remove(&twin)?;
    scene.agent.start()?;
    scene.wait_for("the broken glass to be told", || {
        let open = scene.open_findings()?;
        let told = |finding: &&serde_json::Value| {
            let actual = finding["actual"].as_str().unwrap_or_default();
            finding["rule"] == "host/gate-break-glass" && actual.contains("the agent is away")
        };
        Ok(open.iter().find(told).map(drop))
    })?;
    gate.remove()?;
    Ok(Verdict {
        figure: format!(
            "{} of {rounds} launches refused in the gate's own words, and {} of {} while the agent was restarted {restarts} times ({} of them for want of an answer): {ran} of all ran anything, {packets} packets; unprotected {controls} of {} ran and connected out; {tightened} of {} (containers, an exec) ran without what the policy has taken away; the blessed twin ran, and ended without the agent, and one ran while the glass was broken, which was told",
            tally.refused,
            restarted.refused,
            restarted.launches,
            restarted.unanswered,
            ATTACKS.len(),
            tightened::SHOWN
        ),
        holds: tally.refused == rounds
            && restarted.refused == restarted.launches
            // Some came while it was away, and some while it was there.
            && restarted.unanswered > 0
            && restarted.unanswered < restarted.launches
            && ran == 0
            && packets == 0
            && tightened == tightened::SHOWN
            && controls == ATTACKS.len(),
    })
}

/// Launches that are made at the same time.
struct Batch(Vec<(String, &'static Attack)>);

impl Batch {
    fn of(docker: &Docker, numbers: Range<usize>) -> Self {
        let launch = |number: usize| {
            let attack = &ATTACKS[number % ATTACKS.len()];
            (docker.name(&format!("{}-{number}", attack.name)), attack)
        };
        Self(numbers.map(launch).collect())
    }

    fn commands(&self, docker: &Docker, out: &Out) -> Vec<Command> {
        let launches = self.0.iter().map(|(name, attack)| {
            let mut command = docker.command();
            command
                .args(["run", "--detach", "--name", name])
                .args(attack.arguments(out));
            command
        });
        launches.collect()
    }
}

/// What became of launches.
#[derive(Default)]
struct Tally {
    launches: usize,
    refused: usize,
    /// Of those: because nobody answered.
    unanswered: usize,
    ran: usize,
}

impl Tally {
    /// Counts what was said, and removes what was launched. Where `may_be_away`, no agent is a reason too.
    fn add(
        &mut self,
        docker: &Docker,
        out: &Out,
        batch: &Batch,
        said: Vec<Result<Output>>,
        may_be_away: bool,
    ) -> Result<()> {
        for ((name, attack), output) in batch.0.iter().zip(said) {
            let told = String::from_utf8_lossy(&output?.stderr).into_owned();
            let is_refused = told.contains("verger-gate: create refused");
            let is_unanswered =
                is_refused && may_be_away && [UNANSWERED, ENDED].iter().any(|said| told.contains(said));
            if is_unanswered || is_refused && told.contains(attack.says) {
                self.refused += 1;
            } else {
                tell(&format!("{}: {told}", attack.name));
            }
            self.launches += 1;
            self.unanswered += usize::from(is_unanswered);
            self.ran += usize::from(out.has(docker, name)?);
            docker.remove(name)?;
        }
        Ok(())
    }
}

/// Runs commands at the same time, and gives what they said in their order.
pub(crate) fn at_once(commands: impl IntoIterator<Item = Command>) -> Vec<Result<Output>> {
    at_once_counted(commands, &AtomicUsize::new(0))
}

/// The same, and how many have ended is counted meanwhile.
fn at_once_counted(commands: impl IntoIterator<Item = Command>, ended: &AtomicUsize) -> Vec<Result<Output>> {
    let mut commands: Vec<Command> = commands.into_iter().collect();
    thread::scope(|scope| {
        let running: Vec<_> = commands
            .iter_mut()
            .map(|command| {
                scope.spawn(move || {
                    let output = command.output().context("starting docker");
                    ended.fetch_add(1, Ordering::Relaxed);
                    output
                })
            })
            .collect();
        running
            .into_iter()
            .map(|launch| {
                launch
                    .join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a launch panicked")))
            })
            .collect()
    })
}

/// How many containers ran without the agent: their launch is refused.
fn without_agent(docker: &Docker, out: &Out) -> Result<usize> {
    let orphan = docker.name("orphan");
    let output = docker
        .command()
        .args(["run", "--detach", "--name", &orphan])
        .args(BENIGN.arguments(out))
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(told.contains(UNANSWERED), "with the agent stopped: {told}");
    let ran = usize::from(out.has(docker, &orphan)?);
    docker.remove(&orphan)?;
    Ok(ran)
}

/// Root breaks the glass: a container runs without the agent, and after it is whole again none does.
fn emergency(scene: &mut Scene, docker: &Docker, out: &Out, gate: &Gate) -> Result<usize> {
    let record = scene.path("launched.jsonl");
    let mut broken = gate.break_glass();
    broken.args(["--reason", "the agent is away", "--for", "10m", "--record"]);
    checked(broken.arg(&record))?;
    let served = docker.name("served");
    runs(scene, docker, out, &served, &BENIGN)?;
    docker.remove(&served)?;
    checked(gate.break_glass().arg("--end"))?;
    let noted = fs::read_to_string(&record)?;
    ensure!(
        noted.lines().count() == 2 && noted.contains("\"create\"") && noted.contains("\"start\""),
        "what the gate noted: {noted}"
    );
    without_agent(docker, out)
}

/// A container runs, and says so.
fn runs(scene: &Scene, docker: &Docker, out: &Out, name: &str, launch: &Attack) -> Result<()> {
    let arguments = launch.arguments(out);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    docker.run(name, &arguments)?;
    scene.wait_for(&format!("{name} to run"), || {
        Ok(out.has(docker, name)?.then_some(()))
    })
}

/// What is exec'd in the blessed container as it is blessed runs; as root it does not, nor what a check says of commands.
fn execs(docker: &Docker, container: &str) -> Result<()> {
    docker.say(&["exec", container, "true"])?;
    let fetch = [&["exec", container][..], &FETCH].concat();
    for (arguments, says) in [
        (&["exec", "--user", "0", container, "true"][..], "config/user"),
        (
            &["exec", "--privileged", container, "true"][..],
            "config/capabilities",
        ),
        (&fetch[..], "guardrail/launch/commands/no-fetching"),
    ] {
        let output = docker.command().args(arguments).output()?;
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(
            told.contains("verger-gate: exec refused") && told.contains(says),
            "docker {}: {told}",
            arguments.join(" ")
        );
    }
    Ok(())
}

/// A command that a check speaks of.
const FETCH: [&str; 4] = ["wget", "-O", "-", "http://127.0.0.1:1/"];

const GUARDRAIL: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: nothing-unknown }\nspec: { unknown: refuse }\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: launch/places }\nspec: { mode: enforce, checks: [ { id: not-in-tmp, expression: 'workingDir != \"/tmp\"', message: what starts in /tmp runs what anybody left there } ] }\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: launch/commands }\nspec: { mode: enforce, checks: [ { id: no-fetching, expression: 'exec.all(word, word != \"wget\")', message: nothing is fetched by hand } ] }\n";
