//! A scene whose agent owns the socket that users of the host find Docker at.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::launch::Gate;
use crate::programs::Programs;
use crate::scene::{Docker, Scene, free_port};

/// Who may do everything that a role can give to what is of the workload, and nothing to anything else.
pub(crate) const RUNNER: u32 = 10_001;
/// Has the built-in role of this name.
pub(crate) const VIEWER: u32 = 10_002;
/// Has the built-in role of this name.
pub(crate) const OPERATOR: u32 = 10_003;
/// Nobody has bound anything to this one.
pub(crate) const STRANGER: u32 = 10_004;
/// May do everything but start processes in what is of the workload.
pub(crate) const CAREFUL: u32 = 10_005;
/// May do everything, on hosts that this one is not.
pub(crate) const ELSEWHERE: u32 = 10_006;

/// The workload.
pub(crate) const WORKLOAD: &str = "proxy/web";

/// What each may.
pub(crate) const ROLES: &str = "
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: admins }
spec: { role: admin, subjects: [ person/you ] }
---
apiVersion: verger/v1
kind: Role
metadata: { name: proxy/runner }
spec:
  rules:
    - effect: allow
      verbs: [ attach, commit, copy-in, copy-out, create, delete, exec, export, get, kill, logs, pause, rename, restart, start, stop, unpause, update, wait ]
      resources: [ containers ]
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/runners }
spec: { role: proxy/runner, subjects: [ local/10001, person/runner ], scope: { names: [ proxy/* ] } }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/viewers }
spec: { role: viewer, subjects: [ local/10002, person/viewer ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/operators }
spec: { role: operator, subjects: [ local/10003 ] }
---
apiVersion: verger/v1
kind: Role
metadata: { name: proxy/no-exec }
spec: { rules: [ { effect: deny, verbs: [ exec ], resources: [ containers ], names: [ proxy/* ] } ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/all }
spec: { role: admin, subjects: [ local/10005 ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/careful }
spec: { role: proxy/no-exec, subjects: [ local/10005 ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/elsewhere }
spec: { role: admin, subjects: [ local/10006 ], hosts: { zone: elsewhere } }
";

/// The scene, with two containers: one of the workload, and one of none.
pub struct Front {
    /// Taken away before the agent is.
    _gate: Option<Gate>,
    /// The cluster.
    pub scene: Scene,
    /// Docker, past the proxy.
    pub docker: Docker,
    /// The container of the workload.
    pub web: String,
    /// The container of no workload.
    pub other: String,
    folder: tempfile::TempDir,
    /// Where people from afar find the agent, on this host.
    pub(super) port: u16,
}

/// Debian's CLI, where there is another one, too.
pub(crate) fn cli() -> &'static str {
    match Path::new("/usr/bin/docker").exists() {
        true => "/usr/bin/docker",
        false => "docker",
    }
}

impl Front {
    /// Founds it, with roles in force.
    ///
    /// # Errors
    /// When a step fails.
    pub fn found(programs: &Programs, docker: Docker) -> Result<Self> {
        Self::found_with(programs, docker, "")
    }

    /// As [`found`](Self::found), with more objects in force.
    ///
    /// # Errors
    /// As there.
    pub fn found_with(programs: &Programs, docker: Docker, objects: &str) -> Result<Self> {
        let scene = Scene::found(programs, &docker)?;
        Self::found_in(programs, scene, docker, None, objects)
    }

    /// The same, with the gate in front of the daemon's runtime: nobody else may use that daemon.
    ///
    /// # Errors
    /// When a step fails.
    pub fn behind_the_gate(programs: &Programs, docker: Docker) -> Result<Self> {
        let mut scene = Scene::found(programs, &docker)?;
        let gate = Gate::install(&mut scene, programs, &docker)?;
        Self::found_in(programs, scene, docker, Some(gate), "")
    }

    fn found_in(
        programs: &Programs,
        mut scene: Scene,
        docker: Docker,
        gate: Option<Gate>,
        objects: &str,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("verger-front-").tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        // Users of the host can run it there.
        let at_socket = folder.path().join("at-socket");
        fs::copy(programs.path("at-socket")?, &at_socket).context("copying at-socket")?;
        fs::set_permissions(&at_socket, Permissions::from_mode(0o755))?;
        scene.agent.stop()?;
        let port = free_port()?;
        let config = scene.path("agent.toml");
        let text = fs::read_to_string(&config)?;
        fs::write(
            &config,
            format!(
                "{text}[proxy]\nlisten = {:?}\ndocker = {:?}\nremote = \"127.0.0.1:{port}\"\n",
                folder.path().join("docker.sock"),
                docker.socket()
            ),
        )?;
        scene.agent.start()?;
        let (web, other) = (docker.name("web"), docker.name("other"));
        let front = Self {
            _gate: gate,
            scene,
            web,
            other,
            docker,
            folder,
            port,
        };
        front.docker.run(&front.web, &["verger-test/app"])?;
        front.docker.run(&front.other, &["verger-test/busybox"])?;
        let draft = front.scene.bless(&front.docker, &front.web, WORKLOAD)?;
        front.scene.apply(&format!("{draft}{ROLES}{objects}"))?;
        let epoch = front.scene.epoch()?;
        front.scene.wait_for("the policy to be in force", || {
            let row = front.scene.rows(&["hosts"])?;
            Ok((row[0]["epoch"] == epoch).then_some(()))
        })?;
        Ok(front)
    }

    /// The socket that the agent listens at.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// A program of somebody's.
    pub(super) fn of(&self, uid: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .env("HOME", "/nonexistent")
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null());
        command
    }

    /// `docker` of somebody's, through the proxy.
    pub fn cli(&self, uid: u32) -> Command {
        let mut command = self.of(uid, cli());
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// `docker` of root's, past the proxy.
    pub fn real(&self) -> Command {
        let mut command = self.of(0, cli());
        command.args(["--host", self.docker.host()]);
        command
    }

    /// What the CLI prints past the proxy.
    ///
    /// # Errors
    /// When it ends otherwise than with 0.
    pub fn say(&self, arguments: &[&str]) -> Result<String> {
        self.docker.say(arguments)
    }

    /// Whether there is a container of this name.
    ///
    /// # Errors
    /// When Docker cannot be asked.
    pub fn is_there(&self, name: &str) -> Result<bool> {
        let filter = format!("name=^/{name}$");
        Ok(!self
            .say(&["ps", "--all", "--quiet", "--filter", &filter])?
            .is_empty())
    }

    /// Sends bytes as somebody, and gives what comes back.
    ///
    /// # Errors
    /// When the socket cannot be reached.
    pub fn raw(&self, uid: u32, socket: &Path, request: &[u8]) -> Result<String> {
        let mut command = self.of(uid, self.folder.path().join("at-socket"));
        fed(command.arg(socket), request)
    }

    /// As [`raw`](Self::raw), for what may be no whole request: who waits for the rest of it is told that there is none.
    ///
    /// # Errors
    /// As there.
    pub fn raw_until_quiet(&self, uid: u32, socket: &Path, request: &[u8]) -> Result<String> {
        let mut command = self.of(uid, self.folder.path().join("at-socket"));
        fed(command.arg(socket).arg("300"), request)
    }

    /// As [`raw`](Self::raw), in the pid namespace of a process.
    ///
    /// # Errors
    /// As there.
    pub fn raw_within(&self, pid: &str, socket: &Path, request: &[u8]) -> Result<String> {
        fed(self.within(pid).arg(socket), request)
    }

    /// As [`raw_within`](Self::raw_within), but whoever asks ends at once, and is waited for: the number that it had on the host.
    ///
    /// # Errors
    /// As there.
    pub(super) fn left_within(&self, pid: &str, socket: &Path, request: &[u8]) -> Result<u32> {
        let told = fed(self.within(pid).arg(socket).arg("leave"), request)?;
        told.trim().parse().with_context(|| told.clone())
    }

    fn within(&self, pid: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", pid, "--pid", "--"])
            .arg(self.folder.path().join("at-socket"));
        command
    }
}

/// What a program prints that is given this.
fn fed(command: &mut Command, input: &[u8]) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", told(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All that a program printed.
pub(super) fn told(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&all).into_owned()
}
