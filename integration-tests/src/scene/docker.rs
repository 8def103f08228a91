//! The test daemon, through Docker's own CLI, and containers that go away with the run.

use std::cell::RefCell;
use std::env;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::checked;

/// Says where the daemon listens.
pub const DOCKER_HOST: &str = "VERGER_TEST_DOCKER_HOST";

/// The daemon.
#[derive(Debug)]
pub struct Docker {
    host: String,
    socket: PathBuf,
    made: RefCell<Vec<String>>,
}

impl Docker {
    /// The daemon that `VERGER_TEST_DOCKER_HOST` names.
    ///
    /// # Errors
    /// When it names none; says how to have one.
    pub fn find() -> Result<Self> {
        let host = env::var(DOCKER_HOST).with_context(|| {
            format!(
                "no Docker daemon: run this through `cargo xtask prove`, or set {DOCKER_HOST}=unix://SOCKET"
            )
        })?;
        let socket = host
            .strip_prefix("unix://")
            .with_context(|| format!("{DOCKER_HOST} is unix://SOCKET, not {host:?}"))?;
        Ok(Self::at(Path::new(socket)))
    }

    /// The daemon that listens there.
    pub fn at(socket: &Path) -> Self {
        Self {
            host: format!("unix://{}", socket.display()),
            socket: socket.to_owned(),
            made: RefCell::default(),
        }
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where it keeps running containers' OCI configs. Test daemons have their exec root beside their socket.
    pub fn bundles(&self) -> PathBuf {
        let beside = self.socket.parent().unwrap_or(Path::new("/"));
        beside.join("exec/containerd/daemon/io.containerd.runtime.v2.task/moby")
    }

    /// The network namespace that its bridges are in: test daemons have one each, called after them.
    pub fn network_namespace(&self) -> PathBuf {
        let folder = self.socket.parent().and_then(Path::file_name).unwrap_or_default();
        Path::new("/run/netns").join(format!("verger-dockerd-{}", folder.to_string_lossy()))
    }

    /// A name for a container that no other run has.
    pub fn name(&self, what: &str) -> String {
        format!("verger-{what}-{}", std::process::id())
    }

    /// `docker`, for this daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host]).stdin(Stdio::null());
        command
    }

    /// What `docker` prints.
    ///
    /// # Errors
    /// When it ends otherwise than with 0.
    pub fn say(&self, arguments: &[&str]) -> Result<String> {
        let output = checked(self.command().args(arguments))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Runs a container in the background with these arguments, image included, and gives its id.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<String> {
        self.run_with(name, arguments, &[])
    }

    /// [`run`](Self::run), with environment variables for the CLI.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run_with(&self, name: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<String> {
        self.made.borrow_mut().push(name.to_owned());
        let mut command = self.command();
        command.args(["run", "--detach", "--name", name]).args(arguments);
        let output = checked(command.envs(env.iter().copied()))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Runs a container over the API, for what the CLI has no flag for: the body of the request that creates it.
    ///
    /// # Errors
    /// When the daemon refuses; says what it answered.
    pub fn run_by_api(&self, name: &str, body: &Value) -> Result<()> {
        self.made.borrow_mut().push(name.to_owned());
        self.post(&format!("/containers/create?name={name}"), &body.to_string())?;
        self.post(&format!("/containers/{name}/start"), "")
    }

    fn post(&self, path: &str, body: &str) -> Result<()> {
        let mut stream = UnixStream::connect(&self.socket).context("connecting to the daemon")?;
        write!(
            stream,
            "POST /v1.41{path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 2"), "POST {path}: {answer}");
        Ok(())
    }

    /// The pid of its first process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self, container: &str) -> Result<String> {
        self.say(&["inspect", "--format", "{{.State.Pid}}", container])
    }

    /// Removes a container.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, container: &str) -> Result<()> {
        self.say(&["rm", "--force", "--volumes", container])?;
        self.made.borrow_mut().retain(|made| made != container);
        Ok(())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let made = self.made.borrow();
        if !made.is_empty() {
            // The daemon is a test's own: what stays goes with it.
            let _ = self
                .command()
                .args(["rm", "--force", "--volumes"])
                .args(&*made)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
