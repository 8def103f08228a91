//! Podman and containerd with storage of their own, in a network namespace of a test's daemon, and the folder in which containers say
//! that they ran.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::scene::{Docker, Scene, checked};

/// What every container does first: it leaves a file of its own in `/out`.
pub(crate) const ACT: &str = "echo ran > /out/$(cat /proc/sys/kernel/random/uuid); exec sleep 600";

/// Where containers say that they ran: what was run is counted there, and not by what anybody says.
pub(crate) struct Out(pub(crate) PathBuf);

impl Out {
    pub(crate) fn new(scene: &Scene) -> Result<Self> {
        let path = scene.path("out");
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(Self(path))
    }

    pub(crate) fn count(&self) -> Result<usize> {
        Ok(fs::read_dir(&self.0)?.count())
    }

    pub(crate) fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.0)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

/// A root file system with a shell and nothing else, as a folder.
pub(crate) fn root(scene: &Scene) -> Result<PathBuf> {
    let root = scene.path("rootfs");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("out"))?;
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .context("copying /bin/busybox (package busybox-static)")?;
    for name in ["sh", "cat", "sleep", "true"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
    }
    Ok(root)
}

/// Root's Podman, with folders of its own.
pub(crate) struct Podman {
    folder: PathBuf,
    namespace: PathBuf,
}

impl Podman {
    /// With an empty storage. Limits are those that this process may set: Podman asks for more by itself.
    pub(crate) fn new(scene: &Scene, docker: &Docker) -> Result<Self> {
        Self::at(scene.path("podman"), docker.network_namespace())
    }

    /// The same, with another storage.
    pub(super) fn beside(&self, scene: &Scene, name: &str) -> Result<Self> {
        Self::at(scene.path(name), self.namespace.clone())
    }

    fn at(folder: PathBuf, namespace: PathBuf) -> Result<Self> {
        for name in ["networks", "tmp"] {
            fs::create_dir_all(folder.join(name))?;
        }
        fs::write(
            folder.join("containers.conf"),
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n",
        )?;
        Ok(Self { folder, namespace })
    }

    pub(crate) fn graph(&self) -> PathBuf {
        self.folder.join("graph")
    }

    pub(crate) fn run_root(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// `podman`, with this program as its runtime.
    pub(crate) fn command(&self, runtime: &Path) -> Command {
        self.with(&["timeout", "60", "podman"], runtime)
    }

    /// Podman's service, which listens at this socket until it is ended.
    pub(crate) fn service(&self, runtime: &Path, socket: &Path) -> Command {
        let mut service = self.with(&["podman"], runtime);
        service
            .args(["system", "service", "--time", "0"])
            .arg(format!("unix://{}", socket.display()));
        service
    }

    fn with(&self, program: &[&str], runtime: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace.display()))
            .args(program)
            .args(["--storage-driver", "overlay", "--root"])
            .arg(self.graph())
            .arg("--runroot")
            .arg(self.run_root())
            .arg("--tmpdir")
            .arg(self.folder.join("tmp"))
            .arg("--network-config-dir")
            .arg(self.folder.join("networks"))
            .arg("--runtime")
            .arg(runtime);
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.stdin(Stdio::null());
        command
    }

    /// An image of this root file system, with a word of its own in it, so that it has a digest of its own.
    pub(crate) fn import(&self, root: &Path, name: &str, runtime: &Path) -> Result<()> {
        let layer = self.folder.join("layer.tar");
        checked(
            Command::new("tar")
                .arg("-C")
                .arg(root)
                .arg("-cf")
                .arg(&layer)
                .arg("."),
        )?;
        let mut import = self.command(runtime);
        import.args(["import", "--change", &format!("ENV IMAGE={name}")]);
        checked(import.arg(&layer).arg(format!("localhost/verger-test/{name}"))).map(drop)
    }

    /// What it prints.
    pub(crate) fn say(&self, runtime: &Path, arguments: &[&str]) -> Result<String> {
        let output = checked(self.command(runtime).args(arguments))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What it says, however it ends.
    pub(crate) fn told<A: AsRef<std::ffi::OsStr>>(&self, runtime: &Path, arguments: &[A]) -> Result<String> {
        let output = self.command(runtime).args(arguments).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    pub(crate) fn remove(&self, runtime: &Path, name: &str) -> Result<()> {
        self.say(runtime, &["rm", "--force", "--time", "0", name])
            .map(drop)
    }
}

/// What is left of containers is ended with this value, by the runtime that they were made by: it has to be there still.
pub(crate) struct Left<'a>(pub(crate) &'a Podman, pub(crate) PathBuf);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        let _ = self.0.told(&self.1, &["rm", "--all", "--force", "--time", "0"]);
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // The storage is a mount of its own.
        let _ = Command::new("umount").arg(self.graph().join("overlay")).output();
    }
}

/// A containerd with folders of its own.
pub(crate) struct Containerd {
    folder: PathBuf,
    child: Child,
}

impl Containerd {
    /// One that finds its runtime in this folder first.
    pub(crate) fn start(scene: &Scene, front: &Path) -> Result<Self> {
        let folder = scene.path("containerd");
        fs::create_dir_all(&folder)?;
        let config = folder.join("config.toml");
        fs::write(
            &config,
            format!(
                "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
                folder.join("root"),
                folder.join("state"),
                folder.join("containerd.sock")
            ),
        )?;
        let log = fs::File::create(folder.join("log"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(front.to_owned()).chain(std::env::split_paths(&path));
        let child = Command::new("containerd")
            .arg("--config")
            .arg(&config)
            .env("PATH", std::env::join_paths(folders)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting containerd")?;
        let containerd = Self { folder, child };
        scene.wait_for("containerd to answer", || {
            Ok(containerd
                .command()
                .arg("version")
                .output()?
                .status
                .success()
                .then_some(()))
        })?;
        Ok(containerd)
    }

    /// `ctr`, for this containerd.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["60", "ctr", "--address"])
            .arg(self.folder.join("containerd.sock"));
        command.stdin(Stdio::null());
        command
    }

    /// The bundle of a container in the default namespace.
    pub(crate) fn bundle(&self, id: &str) -> PathBuf {
        self.folder
            .join("state/io.containerd.runtime.v2.task/default")
            .join(id)
    }

    /// What it says, however it ends.
    pub(crate) fn told<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Result<String> {
        let output = self.command().args(arguments).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        for words in [
            &["tasks", "kill", "--signal", "SIGKILL", id][..],
            &["tasks", "delete", "--force", id],
            &["containers", "delete", id],
        ] {
            let _ = self.command().args(words).output()?;
        }
        let left = self.told(&["containers", "list", "--quiet"])?;
        ensure!(
            !left.lines().any(|line| line == id),
            "{id} is not removed: {left}"
        );
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let left = self.told(&["containers", "list", "--quiet"]).unwrap_or_default();
        for id in left.lines() {
            let _ = self.remove(id);
        }
        // It ends at once: its shims have ended with their containers.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
