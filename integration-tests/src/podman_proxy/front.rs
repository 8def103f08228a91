//! A scene whose agent owns the socket that users of the host find Podman's service at.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::podman::host::{self, Left, Podman};
use crate::programs::Programs;
use crate::runtime_proxy::{ROLES, WORKLOAD};
use crate::scene::{Docker, Scene, checked};

/// May do everything.
pub(super) const ADMIN: u32 = 10_007;
/// May build images, and look at them.
pub(super) const BUILDER: u32 = 10_008;
/// The image of the workload.
pub(super) const WEB: &str = "localhost/verger-test/web";
/// An image of none.
pub(super) const OTHER: &str = "localhost/verger-test/other";
/// The runtime: no gate is part of this.
const RUNTIME: &str = "/usr/sbin/runc";

/// Who runs a container by Podman's CLI asks for its image, too.
const MORE_ROLES: &str = "
---
apiVersion: verger/v1
kind: Role
metadata: { name: proxy/looks-at-images }
spec: { rules: [ { effect: allow, verbs: [ get, list ], resources: [ images ] } ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/runners-images }
spec: { role: proxy/looks-at-images, subjects: [ local/10001 ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/admins }
spec: { role: admin, subjects: [ local/10007 ] }
---
apiVersion: verger/v1
kind: Role
metadata: { name: proxy/builder }
spec: { rules: [ { effect: allow, verbs: [ build, get, list ], resources: [ images ] } ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/builders }
spec: { role: proxy/builder, subjects: [ local/10008 ] }
";

/// The scene, with two containers: `web` of the workload, and `other` of none.
pub(super) struct Front {
    /// The cluster.
    pub(super) scene: Scene,
    /// Podman, past the proxy.
    pub(super) podman: Podman,
    service: Child,
    folder: tempfile::TempDir,
}

impl Front {
    pub(super) fn found(programs: &Programs, docker: &Docker) -> Result<Self> {
        let mut scene = Scene::found(programs, docker)?;
        let podman = Podman::new(&scene, docker)?;
        let root = root(&scene)?;
        for image in ["web", "other"] {
            podman.import(&root, image, Path::new(RUNTIME))?;
        }
        let folder = tempfile::Builder::new().prefix("verger-podman-").tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let at_socket = folder.path().join("at-socket");
        fs::copy(programs.path("at-socket")?, &at_socket).context("copying at-socket")?;
        fs::set_permissions(&at_socket, Permissions::from_mode(0o755))?;
        let own = folder.path().join("own");
        fs::create_dir(&own)?;
        fs::set_permissions(&own, Permissions::from_mode(0o700))?;
        let real = own.join("podman.sock");
        let service = podman
            .service(Path::new(RUNTIME), &real)
            .stdout(Stdio::null())
            .stderr(fs::File::create(scene.path("podman-service.log"))?)
            .spawn()
            .context("starting Podman's service")?;

        scene.agent.stop()?;
        let config = scene.path("agent.toml");
        let text = fs::read_to_string(&config)?;
        let is_place =
            |line: &str| line.starts_with("podman_graph_root") || line.starts_with("podman_run_root");
        let others: Vec<&str> = text.lines().filter(|line| !is_place(line)).collect();
        fs::write(
            &config,
            format!(
                "{}\npodman_graph_root = {:?}\npodman_run_root = {:?}\n[podman_proxy]\nlisten = {:?}\npodman = {real:?}\n",
                others.join("\n"),
                podman.graph(),
                podman.run_root(),
                folder.path().join("podman.sock"),
            ),
        )?;
        scene.agent.start()?;
        let front = Self {
            scene,
            podman,
            service,
            folder,
        };
        front
            .scene
            .wait_for("Podman's service", || Ok(real.exists().then_some(())))?;
        for (name, image) in [("web", WEB), ("other", OTHER)] {
            front.say(&[
                "run",
                "--detach",
                "--name",
                name,
                "--network",
                "none",
                image,
                "/bin/sleep",
                "3600",
            ])?;
        }
        let mut bless = front.scene.verger();
        bless.args(["bless", "--from-podman", "web", "--name", WORKLOAD]);
        bless
            .arg("--podman-graph-root")
            .arg(front.podman.graph())
            .arg("--podman-run-root")
            .arg(front.podman.run_root());
        let draft = String::from_utf8(checked(&mut bless)?.stdout)?;
        let file = front.scene.path("change.yaml");
        fs::write(&file, format!("{draft}{ROLES}{MORE_ROLES}"))?;
        let mut apply = front.scene.verger();
        checked(apply.args(["apply", "--unseen-images", "--file"]).arg(&file))?;
        let epoch = front.scene.epoch()?;
        front.scene.wait_for("the policy to be in force", || {
            Ok((front.scene.rows(&["hosts"])?[0]["epoch"] == epoch).then_some(()))
        })?;
        Ok(front)
    }

    /// The socket that the agent listens at.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("podman.sock")
    }

    /// The service's own.
    fn real_socket(&self) -> PathBuf {
        self.folder.path().join("own/podman.sock")
    }

    /// A folder of somebody's own.
    fn home(&self, uid: u32) -> Result<PathBuf> {
        let home = self.folder.path().join(format!("home-{uid}"));
        if !home.exists() {
            fs::create_dir(&home)?;
            chown(&home, Some(uid), Some(uid))?;
        }
        Ok(home)
    }

    /// A program of somebody's.
    fn of(&self, uid: u32, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let home = self.home(uid)?;
        let mut command = Command::new(program);
        command
            .uid(uid)
            .gid(uid)
            .current_dir(&home)
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", &home)
            .env("DOCKER_BUILDKIT", "0")
            .env_remove("CONTAINERS_CONF")
            .stdin(Stdio::null());
        Ok(command)
    }

    fn at(&self, uid: u32, socket: &Path) -> Result<Command> {
        // In the foreground: who is not there may not set a terminal up, and waits for ever.
        let mut command = self.of(uid, "timeout")?;
        command
            .args(["--foreground", "--kill-after", "5", "60"])
            .args(["/usr/bin/podman", "--remote", "--url"])
            .arg(format!("unix://{}", socket.display()));
        Ok(command)
    }

    /// `podman` of somebody's, through the proxy.
    pub(super) fn cli(&self, uid: u32) -> Result<Command> {
        self.at(uid, &self.socket())
    }

    /// `podman` of root's at the service itself.
    pub(super) fn real(&self) -> Result<Command> {
        self.at(0, &self.real_socket())
    }

    /// `docker` of somebody's, through the proxy.
    pub(super) fn docker(&self, uid: u32) -> Result<Command> {
        let mut command = self.of(uid, crate::runtime_proxy::cli())?;
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()));
        Ok(command)
    }

    /// What Podman prints past the proxy.
    pub(super) fn say(&self, arguments: &[&str]) -> Result<String> {
        self.podman.say(Path::new(RUNTIME), arguments)
    }

    /// The status of the answer to a request of somebody's through the proxy, and all of it.
    pub(super) fn raw(&self, uid: u32, request: &[u8]) -> Result<(u16, String)> {
        answered(
            self.of(uid, self.folder.path().join("at-socket"))?
                .arg(self.socket()),
            request,
        )
    }

    /// The same at the service itself.
    pub(super) fn raw_past(&self, request: &[u8]) -> Result<(u16, String)> {
        answered(
            self.of(0, self.folder.path().join("at-socket"))?
                .arg(self.real_socket()),
            request,
        )
    }

    /// Whether there is a container of this name.
    pub(super) fn is_there(&self, name: &str) -> Result<bool> {
        let filter = format!("name=^{name}$");
        Ok(!self
            .say(&["ps", "--all", "--quiet", "--filter", &filter])?
            .is_empty())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(Left(&self.podman, PathBuf::from(RUNTIME)));
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// A root file system with the programs that the cases run, and a command of its own.
fn root(scene: &Scene) -> Result<PathBuf> {
    let root = host::root(scene)?;
    for name in ["echo", "head", "ls", "stty", "tail", "test", "wc"] {
        let link = root.join("bin").join(name);
        if !link.exists() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    for folder in ["etc", "tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(root)
}

/// What is answered to a request that is sent by a program.
fn answered(command: &mut Command, request: &[u8]) -> Result<(u16, String)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting at-socket")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(request)?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", told(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("no answer of HTTP: {text}"))?;
    Ok((status, text))
}

/// All that a program printed.
pub(super) fn told(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&all).into_owned()
}
