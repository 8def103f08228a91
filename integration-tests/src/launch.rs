//! What a runtime does behind the gate: a container that differs from its blessing runs nothing, and says why.
//!
//! The first act of every container here is to write its name into a folder of the host. What was run is counted there, and not by
//! what `docker run` says.

mod tightened;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, PATIENCE, Scene, checked};

const WORKLOAD: &str = "launch/web";
/// What a container does first, and then.
const ACT: &str = "id=$(grep -o 'containers/[0-9a-f]*' /proc/self/mountinfo | head -n 1); echo ran > /out/${id#containers/}; exec sleep 600";
/// Launches at the same time.
const AT_ONCE: usize = 20;

/// Runs the short form or the long one.
///
/// # Errors
/// When the scene does not work.
pub fn run(long: bool) -> Result<Verdict> {
    let rounds = if long { 1_000 } else { 60 };
    let programs = Programs::find()?;
    let docker = Docker::find()?;
    let mut scene = Scene::found(&programs, &docker)?;
    let out = Out::new(&scene)?;

    // Unprotected, each of them runs.
    let mut controls = 0;
    for attack in ATTACKS {
        let name = docker.name(attack.name);
        runs(&scene, &docker, &out, &name, attack)?;
        docker.remove(&name)?;
        controls += 1;
    }
    tightened::control(&docker, &out)?;
    out.clear()?;

    let blessed = docker.name("blessed");
    runs(&scene, &docker, &out, &blessed, &BENIGN)?;
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

    let (mut refused, mut ran) = (0, 0);
    for start in (0..rounds).step_by(AT_ONCE) {
        let launches: Vec<(String, &Attack)> = (start..rounds.min(start + AT_ONCE))
            .map(|number| {
                let attack = &ATTACKS[number % ATTACKS.len()];
                (docker.name(&format!("{}-{number}", attack.name)), attack)
            })
            .collect();
        let commands = launches.iter().map(|(name, attack)| {
            let mut command = docker.command();
            command
                .args(["run", "--detach", "--name", name])
                .args(attack.arguments(&out));
            command
        });
        let outputs = at_once(commands);
        for ((name, attack), output) in launches.iter().zip(outputs) {
            let output = output?;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            if told.contains("verger-gate: create refused") && told.contains(attack.says) {
                refused += 1;
            } else {
                tell(&format!("{}: {told}", attack.name));
            }
            ran += usize::from(out.has(&docker, name)?);
            docker.remove(name)?;
        }
    }
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
            "{refused} of {rounds} launches refused in the gate's own words, {ran} of them ran anything; unprotected {controls} of {} ran; {tightened} of 3 (two containers, an exec) ran without what the policy has taken away; the blessed twin ran, and ended without the agent, and one ran while the glass was broken, which was told",
            ATTACKS.len()
        ),
        holds: refused == rounds && ran == 0 && controls == ATTACKS.len(),
    })
}

/// Runs commands at the same time, and gives what they said in their order.
pub(crate) fn at_once(commands: impl IntoIterator<Item = Command>) -> Vec<Result<Output>> {
    let mut commands: Vec<Command> = commands.into_iter().collect();
    thread::scope(|scope| {
        let running: Vec<_> = commands
            .iter_mut()
            .map(|command| scope.spawn(move || command.output().context("starting docker")))
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
    ensure!(
        told.contains("the policy agent is unreachable"),
        "with the agent stopped: {told}"
    );
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

/// What is exec'd in the blessed container as it is blessed runs; as root it does not.
fn execs(docker: &Docker, container: &str) -> Result<()> {
    docker.say(&["exec", container, "true"])?;
    for (arguments, says) in [
        (&["exec", "--user", "0", container, "true"][..], "config/user"),
        (
            &["exec", "--privileged", container, "true"][..],
            "config/capabilities",
        ),
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

const GUARDRAIL: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: nothing-unknown }\nspec: { unknown: refuse }\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: launch/places }\nspec: { mode: enforce, checks: [ { id: not-in-tmp, expression: 'workingDir != \"/tmp\"', message: what starts in /tmp runs what anybody left there } ] }\n";

/// One way to launch what is not blessed.
struct Attack {
    name: &'static str,
    flags: &'static [&'static str],
    image: &'static str,
    says: &'static str,
}

const BENIGN: Attack = Attack {
    name: "benign",
    flags: &[],
    image: "verger-test/app",
    says: "",
};

/// A label with the name of a key that a reader of JSON has kept for itself.
const RESERVED: &str = "$serde_json::private::RawValue=1";

/// What is blessed with that label is let in.
const LABELLED: Attack = Attack {
    name: "labelled",
    flags: &["--label", RESERVED],
    ..BENIGN
};

const ATTACKS: &[Attack] = &[
    Attack {
        name: "unknown",
        image: "verger-test/busybox",
        says: "of no blessed workload",
        ..BENIGN
    },
    Attack {
        name: "capability",
        flags: &["--cap-add", "SYS_ADMIN"],
        says: "config/capabilities",
        ..BENIGN
    },
    Attack {
        name: "root",
        flags: &["--user", "0"],
        says: "config/user",
        ..BENIGN
    },
    Attack {
        name: "bind",
        flags: &["--volume", "/etc:/host"],
        says: "config/mounts",
        ..BENIGN
    },
    Attack {
        name: "host-network",
        flags: &["--network", "host"],
        says: "config/namespaces",
        ..BENIGN
    },
    Attack {
        name: "host-pid",
        flags: &["--pid", "host"],
        says: "config/namespaces",
        ..BENIGN
    },
    Attack {
        name: "named-runtime",
        flags: &["--runtime", "io.containerd.runc.v2", "--cap-add", "SYS_ADMIN"],
        says: "config/capabilities",
        ..BENIGN
    },
    Attack {
        name: "label",
        flags: &["--label", RESERVED, "--cap-add", "SYS_ADMIN"],
        says: "config/capabilities",
        ..BENIGN
    },
    Attack {
        name: "port",
        flags: &["--publish", "80"],
        says: "config/ports",
        ..BENIGN
    },
    Attack {
        name: "check",
        flags: &["--workdir", "/tmp"],
        says: "guardrail/launch/places/not-in-tmp",
        ..BENIGN
    },
    Attack {
        name: "seccomp",
        flags: &["--security-opt", "seccomp=unconfined"],
        says: "config/seccomp",
        ..BENIGN
    },
];

impl Attack {
    fn arguments(&self, out: &Out) -> Vec<String> {
        let volume = format!("{}:/out", out.0.display());
        let fixed = [
            "--memory",
            "64m",
            "--security-opt",
            "no-new-privileges",
            "--volume",
            &volume,
        ];
        let words = fixed.into_iter().chain(self.flags.iter().copied());
        // Both images run a shell, one of them by its own word.
        let shell: &[&str] = if self.image == BENIGN.image {
            &[]
        } else {
            &["sh", "-c"]
        };
        let words = words
            .chain([self.image])
            .chain(shell.iter().copied())
            .chain([ACT]);
        words.map(str::to_owned).collect()
    }
}

/// What a container does first, for others than this module: it says that it runs, under its name.
pub(crate) struct Act(Out);

impl Act {
    pub(crate) fn new(scene: &Scene) -> Result<Self> {
        Out::new(scene).map(Self)
    }

    /// For `--volume`.
    pub(crate) fn volume(&self) -> String {
        format!("{}:/out", self.0.0.display())
    }

    /// It, and then these lines of a shell, in which `$out` is the file that it wrote.
    pub(crate) fn then(&self, name: &str, lines: &str) -> String {
        format!("out=/out/{name}; echo ran > $out; {lines}")
    }

    /// Whether a container left its file, or one whose name ends so.
    pub(crate) fn has(&self, name: &str, end: &str) -> bool {
        self.0.0.join(format!("{name}{end}")).exists()
    }

    /// Waits for it.
    pub(crate) fn wait_for(&self, name: &str, end: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.has(name, end) {
            ensure!(
                Instant::now() < deadline,
                "{name} left no file within {PATIENCE:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn clear(&self) -> Result<()> {
        self.0.clear()
    }
}

/// Where containers say that they ran.
struct Out(PathBuf);

impl Out {
    fn new(scene: &Scene) -> Result<Self> {
        let path = scene.path("out");
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(Self(path))
    }

    fn has(&self, docker: &Docker, name: &str) -> Result<bool> {
        Ok(self
            .0
            .join(docker.say(&["inspect", "--format", "{{.Id}}", name])?)
            .exists())
    }

    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.0)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

/// The gate, in front of the test daemon's runtime. Others use that daemon, too: it is taken away however this ends.
pub(crate) struct Gate {
    program: PathBuf,
    front: PathBuf,
    agent: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

impl Gate {
    /// Has the agent answer, and puts the gate there.
    pub(crate) fn install(scene: &mut Scene, programs: &Programs, docker: &Docker) -> Result<Self> {
        let beside = docker.socket().parent().context("the socket is in a folder")?;
        let front = beside.join("front");
        let config = scene.path("agent.toml");
        scene.agent.stop()?;
        let root = docker.say(&["info", "--format", "{{.DockerRootDir}}"])?;
        let text = fs::read_to_string(&config)?;
        let socket = scene.path("gate.sock");
        let namespace = docker.network_namespace();
        fs::write(
            &config,
            format!(
                "docker_data_root = {root:?}\ngate_socket = {socket:?}\ngate_folder = {front:?}\nnetwork_namespace = {namespace:?}\n{text}"
            ),
        )?;
        scene.agent.start()?;
        let gate = Self {
            program: programs.path("verger-gate")?,
            front,
            agent: programs.path("verger-agent")?,
            config,
            state: scene.path("gate-state"),
        };
        gate.install_again()?;
        Ok(gate)
    }

    /// Puts it there as it should be.
    pub(crate) fn install_again(&self) -> Result<()> {
        let mut install = self.command("install-gate");
        install.arg("--program").arg(&self.program);
        install.arg("--state").arg(&self.state);
        checked(&mut install).map(drop)
    }

    /// What is said of how it stands. Containers of other daemons of this machine are told, too.
    pub(crate) fn told(&self) -> Result<String> {
        let output = self.command("check-gate").output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.front
    }

    /// Its program, there.
    pub(crate) fn program(&self) -> PathBuf {
        self.front.join("verger-gate")
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.agent);
        command
            .arg("--config")
            .arg(&self.config)
            .arg(what)
            .arg("--at")
            .arg(&self.front);
        command
    }

    /// `break-glass` for it.
    pub(crate) fn break_glass(&self) -> Command {
        let mut command = Command::new(&self.agent);
        command.arg("--config").arg(&self.config).arg("break-glass");
        command
    }

    /// Takes it away.
    pub(crate) fn remove(&self) -> Result<()> {
        checked(&mut self.command("remove-gate")).map(drop)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tell(&format!("the gate was not removed: {error:#}"));
        }
    }
}
