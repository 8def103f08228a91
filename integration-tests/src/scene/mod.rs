//! A small cluster of real processes in a folder of its own: one controller or several, one agent, and the CLI with the context of
//! its first administrator. It listens on loopback only, and is gone with this value.

mod docker;
mod members;
mod namespace;
mod program;
mod watch;

pub use docker::{DOCKER_HOST, Docker};
pub use members::{FIRST, Seat};
pub(crate) use namespace::Namespace;
pub use program::Program;
pub use watch::{Line, Watch};

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use verger_seal::SealingKey;

use crate::dice::Dice;
use crate::programs::Programs;

/// The agent's id.
pub const HOST: &str = "scene-host";

/// Everything that is waited for comes within this, or the scene is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// The cluster.
#[derive(Debug)]
pub struct Scene {
    folder: tempfile::TempDir,
    programs: Programs,
    /// The member that founded it.
    pub controller: Program,
    /// Those that joined, by name.
    others: BTreeMap<String, Program>,
    /// The agent of this machine.
    pub agent: Program,
}

impl Scene {
    /// Founds a cluster and enrols an agent that looks at `docker`; both run when it comes back.
    ///
    /// # Errors
    /// When a step fails; says what it printed.
    pub fn found(programs: &Programs, docker: &Docker) -> Result<Self> {
        let mut scene = Self::founded_at(programs, docker.socket(), &docker.bundles(), "")?;
        scene.join_agent()?;
        scene.agent.start()?;
        Ok(scene)
    }

    /// With a trust root of its own, which names its member.
    fn founded_at(programs: &Programs, socket: &Path, bundles: &Path, more: &str) -> Result<Self> {
        Self::founded_in(programs, socket, bundles, more, None)
    }

    /// The same, with the controller's files in this folder.
    fn founded_in(
        programs: &Programs,
        socket: &Path,
        bundles: &Path,
        more: &str,
        data: Option<&Path>,
    ) -> Result<Self> {
        let mut scene = Self::draw_up(programs, socket, bundles, more, data)?;
        let (key, root) = (scene.path("sealing-key.pem"), scene.path("trust-root.json"));
        checked(scene.verger().args(["keys", "generate", "--out"]).arg(&key))?;
        let mut member = Command::new(programs.path("verger-controller")?);
        member.arg("--config").arg(scene.path("controller.toml"));
        let member = String::from_utf8(checked(member.arg("member-key"))?.stdout)?;
        let mut trust = scene.verger();
        trust.args(["trust", "init", "--name", "you", "--member", member.trim()]);
        checked(trust.arg("--key").arg(&key).arg("--out").arg(&root))?;
        scene.found_cluster()?;
        scene.controller.start()?;
        Ok(scene)
    }

    /// Founds a cluster on a trust root that was made elsewhere, and enrols an agent on a host without a container runtime. `key`
    /// is one of the trust root's. The controller runs when it comes back, the agent does not.
    ///
    /// # Errors
    /// When a step fails; says what it printed.
    pub fn found_on(programs: &Programs, trust_root: &[u8], key: &SealingKey) -> Result<Self> {
        let mut scene = Self::draw_up(programs, &nowhere().join("docker.sock"), nowhere(), "", None)?;
        let pem = key.to_pem().context("the key is one of Verger's own")?;
        verger_transport::files::create(&scene.path("sealing-key.pem"), pem.as_bytes())?;
        fs::write(scene.path("trust-root.json"), trust_root)?;
        scene.found_cluster()?;
        scene.controller.start()?;
        scene.join_agent()?;
        Ok(scene)
    }

    /// The folder with the configurations, of which the controller's ends with `more`; nothing runs.
    fn draw_up(
        programs: &Programs,
        socket: &Path,
        bundles: &Path,
        more: &str,
        data: Option<&Path>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("verger-scene-")
            .tempdir()
            .context("making the scene's folder")?;
        let at = |name: &str| folder.path().join(name);
        fs::write(
            at("controller.toml"),
            format!(
                "data_dir = {:?}\nlisten = \"127.0.0.1:{}\"\nenrol_listen = \"127.0.0.1:{}\"\n{more}",
                data.map_or_else(|| at("controller"), Path::to_owned),
                free_port()?,
                free_port()?
            ),
        )?;
        fs::write(
            at("agent.toml"),
            format!(
                // What this machine's Podman would call, and what it runs, is no part of a scene.
                "data_dir = {:?}\ndocker_socket = {:?}\noci_roots = [{:?}]\npodman_program = {:?}\npodman_graph_root = {:?}\npodman_run_root = {:?}\n",
                at("agent"),
                socket,
                bundles,
                nowhere().join("podman"),
                nowhere().join("graph"),
                nowhere().join("run")
            ),
        )?;
        let program = |name: &str| -> Result<Program> {
            let mut line = vec![programs.path(&format!("verger-{name}"))?.into_os_string()];
            line.extend([
                "--config".into(),
                at(&format!("{name}.toml")).into(),
                "run".into(),
            ]);
            Ok(Program::new(name, line, folder.path()))
        };
        Ok(Self {
            controller: program("controller")?,
            others: BTreeMap::new(),
            agent: program("agent")?,
            programs: programs.clone(),
            folder,
        })
    }

    /// Founds a cluster whose controller's configuration ends with `more`, and runs when it comes back. There is no Docker, and its
    /// agent has joined nothing.
    ///
    /// # Errors
    /// As [`found`](Self::found).
    pub fn without_agent(programs: &Programs, more: &str) -> Result<Self> {
        Self::founded_at(programs, &nowhere().join("docker.sock"), nowhere(), more)
    }

    /// `verger-controller`, as somebody on its host.
    ///
    /// # Errors
    /// When it is not there.
    pub fn on_the_member(&self, arguments: &[&str]) -> Result<Command> {
        self.on_member(FIRST, arguments)
    }

    /// The same on the host of any member.
    ///
    /// # Errors
    /// When it is not there.
    pub fn on_member(&self, name: &str, arguments: &[&str]) -> Result<Command> {
        let file = match name {
            FIRST => "controller.toml".to_owned(),
            other => format!("{other}.toml"),
        };
        let mut command = Command::new(self.programs.path("verger-controller")?);
        command.arg("--config").arg(self.path(&file)).args(arguments);
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn found_cluster(&self) -> Result<()> {
        let (key, root, admin) = (
            self.path("sealing-key.pem"),
            self.path("trust-root.json"),
            self.path("admin.json"),
        );
        let mut init = Command::new(self.programs.path("verger-controller")?);
        init.arg("--config").arg(self.path("controller.toml"));
        init.args(["init", "--admin", "you", "--trust-root"]).arg(&root);
        checked(init.arg("--admin-context").arg(&admin))?;
        let mut context = self.verger();
        context.args(["context", "use"]).arg(&admin).arg("--key");
        checked(context.arg(&key)).map(drop)
    }

    /// Enrols the agent. It is not started.
    ///
    /// # Errors
    /// When a step fails; says what it printed.
    pub fn join_agent(&self) -> Result<()> {
        checked(&mut self.join(HOST, &[], "agent.toml")?).map(drop)
    }

    /// The command that has an agent join, by a token that was made for it with these arguments, under a configuration file.
    ///
    /// # Errors
    /// When no token is made.
    pub fn join(&self, agent: &str, arguments: &[&str], config: &str) -> Result<Command> {
        let text = self.say(&[&["token", "create", "--agent", agent], arguments].concat())?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("verger-agent "))
            .with_context(|| format!("no join command in {text:?}"))?;
        let mut join = Command::new(self.programs.path("verger-agent")?);
        join.arg("--config").arg(self.path(config));
        join.args(line.split_whitespace()).stdin(Stdio::null());
        Ok(join)
    }

    /// The program of another agent, under a configuration file of its own. It is not started.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn another_agent(&self, name: &str, config: &str) -> Result<Program> {
        let mut line = vec![self.programs.path("verger-agent")?.into_os_string()];
        line.extend(["--config".into(), self.path(config).into(), "run".into()]);
        Ok(Program::new(name, line, self.folder.path()))
    }

    /// A file of the scene.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The context file of its administrator.
    pub fn context(&self) -> PathBuf {
        self.path("context.json")
    }

    /// `verger`, as the administrator.
    pub fn verger(&self) -> Command {
        let mut command = Command::new(self.programs.path("verger").unwrap_or_else(|_| "verger".into()));
        command.env("VERGER_CONTEXT", self.context()).stdin(Stdio::null());
        command
    }

    /// What `verger` prints.
    ///
    /// # Errors
    /// When it ends otherwise than with 0; says what it printed.
    pub fn say(&self, arguments: &[&str]) -> Result<String> {
        let output = checked(self.verger().args(arguments))?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The rows `verger` prints as JSON lines; also when it ends with 3, because what some of them tell of is not evaluated now.
    ///
    /// # Errors
    /// As [`say`](Self::say), and when a line is not JSON.
    pub fn rows(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut command = self.verger();
        command.args(arguments).args(["--output", "jsonl"]);
        let output = command.output().context("starting verger")?;
        ensure!(
            matches!(output.status.code(), Some(0 | 3)),
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)?
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// Applies policy text.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply(&self, policy: &str) -> Result<()> {
        let file = self.path("change.yaml");
        fs::write(&file, policy)?;
        checked(self.verger().args(["apply", "--file"]).arg(file)).map(drop)
    }

    /// The draft of what runs in a container, as the workload `name`.
    ///
    /// # Errors
    /// When the container cannot be read.
    pub fn bless(&self, docker: &Docker, container: &str, name: &str) -> Result<String> {
        let mut command = self.verger();
        command.args(["bless", "--from-running", container, "--name", name]);
        command.args(["--docker-host", docker.host(), "--oci-root"]);
        let output = checked(command.arg(docker.bundles()))?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The cluster's epoch.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub fn epoch(&self) -> Result<u64> {
        let version: Value = serde_json::from_str(&self.say(&["version", "--output", "json"])?)?;
        version["controller"]["epoch"]
            .as_u64()
            .with_context(|| format!("no epoch in {version}"))
    }

    /// Waits until every finding the agent has made is with the controller.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn findings_arrived(&self) -> Result<()> {
        self.wait_for("the findings to arrive", || {
            let hosts = self.rows(&["hosts"])?;
            let host = hosts.first().context("there is a host")?;
            Ok((host["findingsReceived"] == host["findingsMade"]).then_some(()))
        })
    }

    /// The findings that are open.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn open_findings(&self) -> Result<Vec<Value>> {
        let mut findings = self.rows(&["findings", "list"])?;
        findings.retain(|finding| finding["state"] == "open");
        Ok(findings)
    }

    /// Looks until `seen` gives something.
    ///
    /// # Errors
    /// When it gives nothing for [`PATIENCE`], or fails.
    pub fn wait_for<T>(&self, what: &str, mut seen: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = seen()? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!(
                    "{what}: not seen within {PATIENCE:?}\n{}\n{}",
                    self.controller.log_tail(),
                    self.agent.log_tail()
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the agent has judged this container, and gives its row.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn judged(&self, container: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait_for(&format!("{container} judged"), || {
            let rows = self.rows(&["instances"])?;
            Ok(rows
                .into_iter()
                .find(|row| row["name"] == container && holds(row)))
        })
    }
}

/// Where no runtime is.
fn nowhere() -> &'static Path {
    Path::new("/nonexistent")
}

/// Runs it to its end.
///
/// # Errors
/// When it ends otherwise than with 0; says what it printed.
pub fn checked(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(output)
}

/// A port of loopback nobody listens at. Somebody may take it before the program does, which then says so.
///
/// None of those that the system gives to whoever calls somebody (ip(7), `ip_local_port_range`): a program that is started again has to find
/// its own as it left it.
/// And none twice: who was given one may not listen yet.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut dice = Dice::new(Dice::seed()?);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1_000 {
        let port = PORTS.start + u16::try_from(dice.below(u64::from(PORTS.end - PORTS.start)))?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            return Ok(port);
        }
    }
    bail!("no free port of loopback was found among {PORTS:?}")
}

/// Below what Linux gives to whoever calls somebody, unless it was told otherwise.
const PORTS: std::ops::Range<u16> = 10_000..32_768;

/// Text of a log's end.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(60).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
