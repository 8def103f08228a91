//! What the gate adds to a launch: to the calls of the runtime that make and start a container, as a shim does them, and to `docker run`.
//!
//! The calls are of a container that Docker made and the agent judges as any other: enforced, and blessed. Its config is the one that
//! Docker wrote, without its hook; its root file system is filled in by hand, since Docker's own mount is within Docker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::pairs::{HEAD, Pairs};
use crate::launch::Gate;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, Scene, checked};

/// Launches by the runtime's calls, and by `docker run`, each once in either way.
const CALLS: usize = 120;
const RUNS: usize = 120;
/// Before anything counts.
const WARM: usize = 5;
/// Milliseconds that a launch may take longer, at the middle.
const GOAL: f64 = 2.0;
const WORKLOAD: &str = "cost/web";
/// As Docker is told of the runtime without a gate.
const PLAIN: &str = "plain";
const NOTHING_UNKNOWN: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: nothing-unknown }\nspec: { unknown: refuse }\n";
const IMAGE: &str = "verger-test/busybox";
const OPTIONS: [&str; 4] = ["--network", "none", "--security-opt", "no-new-privileges"];

/// Measures; writes a table into `folder`.
///
/// # Errors
/// When a launch fails in either way.
pub fn run(folder: &Path) -> Result<Verdict> {
    super::is_optimised()?;
    let programs = Programs::find_optimised(&["verger-agent", "verger-gate"])?;
    let docker = Docker::find()?;
    let mut scene = Scene::found(&programs, &docker)?;
    let name = docker.name("blessed");
    docker.run(&name, &[&OPTIONS[..], &[IMAGE, "sleep", "3600"]].concat())?;
    let draft = scene.bless(&docker, &name, WORKLOAD)?;
    let id = docker.say(&["inspect", "--format", "{{.Id}}", &name])?;
    let config =
        fs::read(docker.bundles().join(&id).join("config.json")).context("the bundle of what runs")?;
    let gate = Gate::install(&mut scene, &programs, &docker)?;
    scene.judged(&name, |_| true)?;
    let enforced = match draft.contains("{ default: monitor }") {
        true => draft.replace("default: monitor", "default: monitor, config: enforce"),
        false => draft.replace("default: monitor\n", "default: monitor\n    config: enforce\n"),
    };
    ensure!(enforced != draft, "the draft has no mode to change: {draft}");
    scene.apply(&format!("{enforced}\n---\n{NOTHING_UNKNOWN}"))?;
    scene.wait_for("the policy to be in force", || {
        Ok((scene.rows(&["hosts"])?[0]["epoch"] == scene.epoch()?).then_some(()))
    })?;
    docker.say(&["stop", "--time", "0", &name])?;

    let real = runtime(&gate)?;
    let bundle = Bundle::of(&scene, &docker, &name, &id, &config, &real)?;
    judges(&bundle, &gate)?;
    let mut calls = Pairs::default();
    let mut parts = [Pairs::default(), Pairs::default()];
    for number in 0..WARM + CALLS {
        bundle.renew(number)?;
        // Who is first changes, so that what the first warms is the other's as often.
        let (direct, through) = match number % 2 {
            0 => {
                let direct = bundle.launch(&real)?;
                (direct, bundle.launch(&gate.folder().join("runc"))?)
            }
            _ => {
                let through = bundle.launch(&gate.folder().join("runc"))?;
                (bundle.launch(&real)?, through)
            }
        };
        if number >= WARM {
            calls.add(direct[0] + direct[1], through[0] + through[1]);
            for (part, (direct, through)) in parts.iter_mut().zip(direct.into_iter().zip(through)) {
                part.add(direct, through);
            }
        }
    }
    let runs = runs(&docker, &real)?;
    gate.remove()?;

    let [create, start] = parts;
    let figure = format!(
        "{} launches behind the gate and without it: {:+.2} ms at the middle for create and start, at most {GOAL}; `docker run` {:+.2} ms at the middle of {} pairs",
        calls.len(),
        calls.added(),
        runs.added(),
        runs.len()
    );
    let rows = [
        calls.row("`create` and `start`"),
        create.row("`create`"),
        start.row("`start`"),
        runs.row("`docker run --detach`, end to end"),
    ]
    .concat();
    super::write(folder, "gate_launch", &format!("{figure}\n\n{HEAD}{rows}"))?;
    Ok(Verdict {
        holds: calls.added() <= GOAL,
        figure,
    })
}

/// The runtime that the gate becomes.
fn runtime(gate: &Gate) -> Result<PathBuf> {
    let settings: Value = serde_json::from_slice(&fs::read(gate.folder().join("gate.json"))?)?;
    let path = settings["runtimes"]["runc"]["path"].as_str();
    path.map(PathBuf::from)
        .context("the gate's settings name the runtime")
}

/// A container as its runtime is given it.
struct Bundle {
    id: String,
    folder: PathBuf,
    /// Where the runtime keeps what it has made here: apart from Docker's own.
    state: PathBuf,
    /// The runtime without a gate.
    real: PathBuf,
    /// Where the root file system is, for the config; this process made it.
    root: PathBuf,
    /// What Docker keeps of it.
    kept: PathBuf,
}

impl Bundle {
    fn of(scene: &Scene, docker: &Docker, name: &str, id: &str, config: &[u8], real: &Path) -> Result<Self> {
        // Where Docker has it while it runs: the agent looks there when it is to be started.
        let folder = docker.bundles().join(id);
        fs::create_dir_all(&folder)?;
        let mut document: Value = serde_json::from_slice(config)?;
        // Docker's hook tells Docker of a network that is none of this.
        if let Some(members) = document.as_object_mut() {
            members.remove("hooks");
        }
        fs::write(folder.join("config.json"), document.to_string())?;
        let root = document["root"]["path"].as_str().context("a config has a root")?;
        let bundle = Self {
            id: id.to_owned(),
            folder,
            state: scene.path("runtime"),
            real: real.to_owned(),
            root: PathBuf::from(root),
            kept: Path::new(&docker.say(&["info", "--format", "{{.DockerRootDir}}"])?)
                .join("containers")
                .join(id)
                .join("config.v2.json"),
        };
        let files = scene.path("root.tar");
        docker.say(&["export", "--output", &files.display().to_string(), name])?;
        // Docker removes the folder when it has exported.
        fs::create_dir_all(&bundle.root)?;
        let mut unpack = Command::new("tar");
        unpack.arg("-xf").arg(&files).arg("-C").arg(&bundle.root);
        checked(&mut unpack)?;
        Ok(bundle)
    }

    fn call(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--root")
            .arg(&self.state)
            .arg("--log")
            .arg(self.folder.join("log.json"))
            .args(["--log-format", "json"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Makes it another one to whoever remembers what was read of it: each launch is of a container of its own.
    fn renew(&self, number: usize) -> Result<()> {
        let spaces = " ".repeat(number);
        for path in [&self.folder.join("config.json"), &self.kept] {
            let text = fs::read_to_string(path)?;
            fs::write(path, format!("{}{spaces}", text.trim_end()))?;
        }
        Ok(())
    }

    /// How long it takes to make it, and to start it; it is gone when this comes back.
    fn launch(&self, program: &Path) -> Result<[Duration; 2]> {
        let pid_file = self.folder.join("pid");
        let mut create = self.call(program, &["create", "--bundle"]);
        create
            .arg(&self.folder)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.id);
        let took = |mut command: Command| -> Result<Duration> {
            let began = Instant::now();
            let status = command.status().context("starting the runtime")?;
            let took = began.elapsed();
            let log = fs::read_to_string(self.folder.join("log.json")).unwrap_or_default();
            ensure!(status.success(), "{command:?}: {status}: {log}");
            Ok(took)
        };
        let create = took(create)?;
        let start = took(self.call(program, &["start", &self.id]))?;
        let pid: i32 = fs::read_to_string(&pid_file)?.trim().parse()?;
        let pid = Pid::from_raw(pid).context("a pid is no 0")?;
        kill_process(pid, Signal::KILL)?;
        checked(&mut self.call(&self.real, &["delete", "--force", &self.id]))?;
        Ok([create, start])
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // Docker removes what lies beside it, with the container.
        for folder in [&self.root, &self.folder] {
            if let Err(error) = fs::remove_dir_all(folder) {
                tell(&format!("{} was not removed: {error}", folder.display()));
            }
        }
    }
}

/// What is measured is judged: one that differs from its blessing is refused.
fn judges(bundle: &Bundle, gate: &Gate) -> Result<()> {
    let path = bundle.folder.join("config.json");
    let config = fs::read_to_string(&path)?;
    let changed = config.replacen("\"noNewPrivileges\":true", "\"noNewPrivileges\":false", 1);
    ensure!(changed != config, "the config says nothing of new privileges");
    fs::write(&path, changed)?;
    let refused = bundle.launch(&gate.folder().join("runc"));
    fs::write(&path, config)?;
    let told = refused
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        told.contains("create refused"),
        "the gate did not judge what is measured: {told}"
    );
    Ok(())
}

/// `docker run`, with the runtime behind the gate and with the one that it becomes.
fn runs(docker: &Docker, real: &Path) -> Result<Pairs> {
    let beside = docker.socket().parent().context("the socket is in a folder")?;
    let reload = |config: &str| -> Result<()> {
        fs::write(beside.join("daemon.json"), config)?;
        let pid: i32 = fs::read_to_string(beside.join("docker.pid"))?.trim().parse()?;
        kill_process(Pid::from_raw(pid).context("dockerd has a pid")?, Signal::HUP)
            .context("reloading dockerd")
    };
    reload(&format!(r#"{{"runtimes":{{"{PLAIN}":{{"path":{real:?}}}}}}}"#))?;
    let deadline = Instant::now() + crate::scene::PATIENCE;
    while !docker
        .say(&["info", "--format", "{{json .Runtimes}}"])?
        .contains(PLAIN)
    {
        ensure!(
            Instant::now() < deadline,
            "dockerd does not know the runtime without a gate"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let launch = |runtime: &str| -> Result<Duration> {
        let mut command = docker.command();
        let name = docker.name("launched");
        command.args(["run", "--detach", "--name", &name, "--runtime", runtime]);
        command.args(OPTIONS).args([IMAGE, "sleep", "3600"]);
        let began = Instant::now();
        checked(&mut command)?;
        let took = began.elapsed();
        docker.remove(&name)?;
        Ok(took)
    };
    let mut pairs = Pairs::default();
    for number in 0..WARM + RUNS {
        let (direct, through) = match number % 2 {
            0 => {
                let direct = launch(PLAIN)?;
                (direct, launch("runc")?)
            }
            _ => {
                let through = launch("runc")?;
                (launch(PLAIN)?, through)
            }
        };
        if number >= WARM {
            pairs.add(direct, through);
        }
    }
    reload("{}")?;
    Ok(pairs)
}
