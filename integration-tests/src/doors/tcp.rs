//! A daemon of Docker's that listens on TCP besides its socket: it is told while it does, and while it does not nobody says so.
//!
//! It is one of the rig's own: the test daemon serves others.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{appears, ends, is};
use crate::scene::{Namespace, Scene, checked};

/// Where it listens, on the loopback of a network namespace of its own: it would take the test daemon's bridge away.
const ADDRESS: &str = "127.0.0.1:23759";

/// How long it took to be told.
pub(super) fn run(scene: &mut Scene) -> Result<Duration> {
    let second = Second::at(scene)?;
    let config = scene.path("agent.toml");
    let text = fs::read_to_string(&config)?;
    let others = text.lines().filter(|line| !line.starts_with("docker_socket"));
    let others: Vec<&str> = others.collect();
    fs::write(
        &config,
        format!("docker_socket = {:?}\n{}\n", second.socket(), others.join("\n")),
    )?;
    scene.agent.stop()?;
    let quiet = second.start(scene, false)?;
    scene.agent.start()?;
    // Its daemon is looked at: that it is past the gate is told.
    appears(scene, "the second daemon", &|finding| {
        is(finding, "host/gate-drift", "daemons[dockerd]")
    })?;
    ensure!(
        !scene.open_findings()?.iter().any(is_open_door),
        "a daemon that listens on its socket alone is told to listen on TCP"
    );
    quiet.stop()?;

    let open = second.start(scene, true)?;
    // Whoever gets there may do everything.
    checked(open.namespace().command(&["docker", "--host"]).args([
        &format!("tcp://{ADDRESS}"),
        "version",
        "--format",
        "{{.Server.Version}}",
    ]))?;
    let took = appears(scene, "a daemon on TCP", &|finding| {
        is_open_door(finding)
            && finding["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("take the `tcp://` address from"))
    })?;
    open.stop()?;
    let quiet = second.start(scene, false)?;
    ends(scene, &is_open_door)?;
    scene.agent.stop()?;
    quiet.stop()?;
    fs::write(&config, text)?;
    scene.agent.start()?;
    Ok(took)
}

fn is_open_door(finding: &Value) -> bool {
    is(finding, "host/other-doors", &format!("tcp[{ADDRESS}]"))
}

/// Where the daemon has what is its own.
struct Second {
    folder: PathBuf,
}

impl Second {
    fn at(scene: &Scene) -> Result<Self> {
        let folder = scene.path("second");
        fs::create_dir(&folder)?;
        fs::write(folder.join("daemon.json"), "{}\n")?;
        Ok(Self { folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// It serves when this comes back.
    fn start(&self, scene: &Scene, on_tcp: bool) -> Result<Running> {
        let of = |name: &str| self.folder.join(name).display().to_string();
        // A tmpfs hides the system's containerd.
        let script = "ip link set lo up && mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && exec /usr/sbin/dockerd \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--propagation", "private"]);
        command.args(["setpriv", "--pdeathsig", "KILL", "sh", "-c", script, "dockerd"]);
        command.args(["--config-file", &of("daemon.json")]);
        command.args(["--pidfile", &of("docker.pid")]);
        command.args(["--data-root", &of("data"), "--exec-root", &of("exec")]);
        command.args(["--group", "root", "--bridge", "none", "--iptables=false"]);
        command.args(["--shutdown-timeout", "5", "--host"]);
        command.arg(format!("unix://{}", self.socket().display()));
        if on_tcp {
            command.args(["--tls=false", "--host", &format!("tcp://{ADDRESS}")]);
        }
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("dockerd.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting dockerd")?;
        let running = Running(child);
        scene.wait_for("the second daemon to serve", || {
            let mut ask = Command::new("docker");
            ask.arg("--host")
                .arg(format!("unix://{}", self.socket().display()));
            let output = ask
                .args(["version", "--format", "{{.Server.Version}}"])
                .output()?;
            Ok(output.status.success().then_some(()))
        })?;
        Ok(running)
    }
}

/// The daemon, which ends with this value.
struct Running(Child);

impl Running {
    /// Where it listens on TCP.
    fn namespace(&self) -> Namespace {
        Namespace::at(format!("/proc/{}/ns/net", self.0.id()).into())
    }

    /// Asks it to end, and waits until it has.
    fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
