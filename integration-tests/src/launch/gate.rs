//! The gate in front of the test daemon's runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::point::tell;
use crate::programs::Programs;
use crate::scene::{Docker, Scene, checked};

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
