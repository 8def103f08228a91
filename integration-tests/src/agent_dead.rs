//! A host whose agent was killed: its doors are closed at once and say why, what runs can be ended, and root can break the glass.
//!
//! Every command has a time of its own and a deadline; nothing here waits for long, and none may hang.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::launch::Gate;
use crate::launch_window::ended;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::runtime_proxy::{Front, RUNNER};
use crate::scene::{Docker, checked};

/// What takes longer hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// What takes longer is ended, and the run with it.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks at a command.
const LOOK: Duration = Duration::from_millis(2);
const IMAGE: &str = "verger-test/busybox";

/// What the commands of all rounds came to.
#[derive(Debug, Default)]
struct Tally {
    commands: usize,
    /// Did what they are to do without an agent, in the words that are said then.
    right: usize,
    slow: usize,
    slowest: Duration,
    slowest_name: String,
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) is_success: bool,
    pub(crate) told: String,
    pub(crate) took: Duration,
}

impl Tally {
    /// A command that is to end within the limit, and whether it did as it is to.
    fn one(&mut self, name: &str, done: &Done, fits: bool) {
        self.commands += 1;
        self.right += usize::from(fits);
        self.slow += usize::from(done.took > LIMIT);
        if done.took > self.slowest {
            self.slowest = done.took;
            name.clone_into(&mut self.slowest_name);
        }
        if !fits || done.took > LIMIT {
            tell(&format!("{name}: after {:?}: {}", done.took, done.told.trim()));
        }
    }

    /// One that is refused in these words.
    fn refused(&mut self, name: &str, command: Command, words: &str) -> Result<()> {
        let done = done(command)?;
        self.one(name, &done, !done.is_success && done.told.contains(words));
        Ok(())
    }

    /// One that works.
    fn works(&mut self, name: &str, command: Command) -> Result<()> {
        let done = done(command)?;
        self.one(name, &done, done.is_success);
        Ok(())
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it does not end before the deadline.
pub(crate) fn done(command: Command) -> Result<Done> {
    Running::start(command)?.end()
}

/// A command that runs. What it prints goes to a file, so that nobody has to read it meanwhile.
pub(crate) struct Running {
    child: std::process::Child,
    said: tempfile::NamedTempFile,
    line: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let said = tempfile::NamedTempFile::new()?;
        let line = format!("{command:?}");
        let child = command
            .stdout(said.reopen()?)
            .stderr(said.reopen()?)
            .spawn()
            .with_context(|| format!("starting {line}"))?;
        Ok(Self { child, said, line })
    }

    /// What it has printed.
    pub(crate) fn said(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.said.path())?).into_owned())
    }

    /// Waits from now on.
    pub(crate) fn end(mut self) -> Result<Done> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if began.elapsed() > DEADLINE {
                self.child.kill()?;
                self.child.wait()?;
                anyhow::bail!("{} hangs: it was ended after {DEADLINE:?}", self.line);
            }
            std::thread::sleep(LOOK);
        };
        let took = began.elapsed();
        Ok(Done {
            is_success: status.success(),
            told: self.said()?,
            took,
        })
    }
}

/// Runs the short form or the long one.
///
/// # Errors
/// When the scene does not work, or something hangs.
pub fn run(long: bool) -> Result<Verdict> {
    let rounds = if long { 20 } else { 1 };
    let programs = Programs::find()?;
    let mut front = Front::found(&programs, Docker::find()?)?;
    let gate = Gate::install(&mut front.scene, &programs, &front.docker)?;
    let mut tally = Tally::default();
    let (mut launched, mut back) = (0, 0);
    for round in 0..rounds {
        let names = ["stopped", "removed", "kept"].map(|name| front.docker.name(&format!("{name}-{round}")));
        for name in &names {
            // Behind an agent that answers all of this works.
            front.docker.run(name, &[IMAGE, "sleep", "3600"])?;
        }
        let idle = front.docker.name(&format!("idle-{round}"));
        front.say(&["create", "--name", &idle, IMAGE, "true"])?;
        serves(&front, round)?;
        let streams = streams(&front)?;
        front.scene.agent.kill()?;
        for (name, stream) in streams {
            // However it ends: it does.
            let done = stream.end()?;
            tally.one(name, &done, true);
        }
        closed(&front, &names, &idle, &mut tally)?;
        ends(&front, &names, &idle, &mut tally)?;
        launched += glass(&front, &gate, round, &mut tally)?;
        front.scene.agent.start()?;
        serves(&front, round)?;
        told(&front, round)?;
        back += 1;
        front.docker.remove(&names[2])?;
    }
    gate.remove()?;
    Ok(Verdict {
        figure: format!(
            "the agent killed {rounds} times: {} of {} commands did what is to be had without it, in Verger's words or with the socket's name; the slowest ({}) took {} ms, at most {}; {launched} launched while the glass was broken, each on record; {back} times everything served again and the broken glass was a finding",
            tally.right,
            tally.commands,
            tally.slowest_name,
            tally.slowest.as_millis(),
            LIMIT.as_millis()
        ),
        holds: tally.right == tally.commands && tally.slow == 0 && launched == rounds && back == rounds,
    })
}

/// Both doors serve.
fn serves(front: &Front, round: usize) -> Result<()> {
    let mut listed = front.cli(0);
    listed.args(["ps", "--quiet"]);
    let listed = done(listed)?;
    ensure!(listed.is_success, "docker ps through the proxy: {}", listed.told);
    let mut look = front.cli(RUNNER);
    look.args(["inspect", "--format", "{{.Name}}", &front.web]);
    let look = done(look)?;
    ensure!(look.is_success, "docker inspect of a user's: {}", look.told);
    for (mut command, name) in [(front.real(), "past"), (front.cli(0), "through")] {
        let name = front.docker.name(&format!("{name}-{round}"));
        command.args(["run", "--rm", "--name", &name, IMAGE, "echo", "served"]);
        let launch = done(command)?;
        ensure!(
            launch.is_success && launch.told.trim() == "served",
            "docker run with an agent: {}",
            launch.told
        );
    }
    Ok(())
}

/// Streams that are open through the proxy: they speak, and would go on for ever.
fn streams(front: &Front) -> Result<Vec<(&'static str, Running)>> {
    let mut follow = front.cli(RUNNER);
    follow.args(["exec", &front.web, "sh", "-c", "echo open; sleep 3600"]);
    let mut typed = front.cli(RUNNER);
    typed
        .args(["exec", "--interactive", &front.web, "sh", "-c", "echo open; cat"])
        .stdin(Stdio::piped());
    let streams = vec![
        ("an exec that runs", Running::start(follow)?),
        ("an exec that waits for input", Running::start(typed)?),
    ];
    for (name, stream) in &streams {
        front
            .scene
            .wait_for(name, || Ok(stream.said()?.contains("open").then_some(())))?;
    }
    Ok(streams)
}

/// What is closed: everything at the proxy, and at the gate what launches.
fn closed(front: &Front, names: &[String; 3], idle: &str, tally: &mut Tally) -> Result<()> {
    let [_, _, kept] = names;
    let socket = front.socket().display().to_string();
    let cannot = format!("Cannot connect to the Docker daemon at unix://{socket}");
    for uid in [0, RUNNER] {
        for arguments in [
            &["ps"][..],
            &["stop", &front.web],
            &["exec", &front.web, "true"],
            &["run", "--rm", IMAGE],
        ] {
            let mut command = front.cli(uid);
            command.args(arguments);
            tally.refused(
                &format!("docker {} through the proxy", arguments[0]),
                command,
                &cannot,
            )?;
        }
    }
    let refused = front.docker.name("refused");
    let away = "the policy agent is unreachable";
    for (name, arguments, word) in [
        (
            "docker run",
            &["run", "--detach", "--name", &refused, IMAGE, "true"][..],
            "create",
        ),
        ("docker start", &["start", idle], "create"),
        ("docker exec", &["exec", kept, "true"], "exec"),
        ("docker restart", &["restart", "--time", "0", kept], "create"),
    ] {
        let mut command = front.real();
        command.args(arguments);
        let done = done(command)?;
        let fits = !done.is_success
            && done.told.contains(&format!("verger-gate: {word} refused: "))
            && done.told.contains(away);
        tally.one(name, &done, fits);
    }
    // Nothing of what was refused runs, or is left to wait for ever.
    for name in [refused.as_str(), idle] {
        let state = front.say(&["inspect", "--format", "{{.State.Running}} {{.Id}}", name])?;
        let (is_running, id) = state.split_once(' ').context("two words")?;
        ensure!(is_running == "false", "{name} runs without an agent");
        ended(id).with_context(|| name.to_owned())?;
    }
    let mut remove = front.real();
    remove.args(["rm", &refused]);
    tally.works("docker rm of what was refused", remove)
}

/// What ends or shows a container never needs the agent.
fn ends(front: &Front, names: &[String; 3], idle: &str, tally: &mut Tally) -> Result<()> {
    let [stopped, removed, kept] = names;
    let of = |arguments: &[&str]| {
        let mut command = front.real();
        command.args(arguments);
        command
    };
    for arguments in [
        &["ps"][..],
        &["inspect", stopped],
        &["logs", stopped],
        &["top", removed],
        &["pause", removed],
        &["unpause", removed],
        &["stop", "--time", "0", stopped],
        &["rm", stopped],
        &["kill", removed],
        &["wait", removed],
        &["rm", "--force", removed],
        &["rm", idle],
        // It was ended when its restart was refused, and stays as it is.
        &["inspect", kept],
    ] {
        tally.works(&format!("docker {}", arguments[0]), of(arguments))?;
    }
    let left = front.say(&["ps", "--all", "--format", "{{.Names}}"])?;
    ensure!(
        !left
            .lines()
            .any(|name| [stopped, removed].iter().any(|gone| *gone == name)),
        "what was removed is there: {left}"
    );
    Ok(())
}

/// Root breaks the glass: what is launched meanwhile runs and is on record, and after it is whole again nothing is.
fn glass(front: &Front, gate: &Gate, round: usize, tally: &mut Tally) -> Result<usize> {
    let record = front.scene.path(&format!("launched-{round}.jsonl"));
    let mut command = gate.break_glass();
    command
        .args(["--reason", &reason(round), "--for", "10m", "--record"])
        .arg(&record);
    tally.works("verger-agent break-glass", command)?;
    let name = front.docker.name(&format!("served-{round}"));
    let mut launch = front.real();
    launch.args(["run", "--rm", "--name", &name, IMAGE, "echo", "served"]);
    let launch = done(launch)?;
    let ran = launch.is_success && launch.told.trim() == "served";
    tally.one("docker run while the glass is broken", &launch, ran);
    let mut whole = gate.break_glass();
    whole.arg("--end");
    checked(&mut whole)?;
    let noted = fs::read_to_string(&record)?;
    ensure!(
        noted.lines().count() == 2 && noted.contains("\"create\"") && noted.contains("\"start\""),
        "what the gate noted: {noted}"
    );
    let mut after = front.real();
    let refused = front.docker.name("after");
    after.args(["run", "--name", &refused, IMAGE, "true"]);
    tally.refused(
        "docker run with the glass whole again",
        after,
        "the policy agent is unreachable",
    )?;
    front.say(&["rm", &refused])?;
    Ok(usize::from(ran))
}

fn reason(round: usize) -> String {
    format!("the agent is dead, round {round}")
}

/// The broken glass is a finding, once there is an agent to tell of it.
fn told(front: &Front, round: usize) -> Result<()> {
    let reason = reason(round);
    front.scene.wait_for("the broken glass to be told", || {
        let told = |finding: &&Value| {
            let actual = finding["actual"].as_str().unwrap_or_default();
            finding["rule"] == "host/gate-break-glass" && actual.contains(&reason)
        };
        Ok(front.scene.open_findings()?.iter().find(told).map(drop))
    })
}
