//! The changes whose findings are timed.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Stage;
use crate::scene::checked;

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another container of the workload, with a variable too many.
    Started,
    /// Other limits than blessed.
    Updated,
    /// A process as root, through the daemon.
    Exec,
    /// A mount from outside: no event, and `docker inspect` does not show it.
    Mounted,
    /// A process from outside: no event either.
    Intruder,
}

impl Kind {
    /// The action of the daemon's event; none where it raises none.
    pub(super) const fn event(self) -> Option<&'static str> {
        match self {
            Self::Started => Some("start"),
            Self::Updated => Some("update"),
            Self::Exec => Some("exec_start"),
            Self::Mounted | Self::Intruder => None,
        }
    }

    pub(super) const fn raises_event(self) -> bool {
        self.event().is_some()
    }
}

/// A change that was made.
pub(super) struct Drift<'a> {
    stage: &'a Stage<'a>,
    kind: Kind,
    container: String,
    field: String,
    process: Option<Child>,
    pipe: Option<String>,
}

impl<'a> Drift<'a> {
    pub(super) fn make(stage: &'a Stage<'a>, kind: Kind, round: usize) -> Result<Self> {
        let mut drift = Self {
            stage,
            kind,
            container: stage.blessed.clone(),
            field: match kind {
                Kind::Started => format!("env[EXTRA_{round}]"),
                Kind::Updated => "limits.memory".to_owned(),
                Kind::Exec => "user".to_owned(),
                Kind::Mounted => format!("live.mounts[/mnt{round}]"),
                Kind::Intruder => "live.processes".to_owned(),
            },
            process: None,
            pipe: None,
        };
        match kind {
            Kind::Started => {
                drift.container = stage.docker.name(&format!("drifted-{round}"));
                let env = format!("EXTRA_{round}=1");
                stage.docker.run(
                    &drift.container,
                    &["--memory", "64m", "--env", &env, "verger-test/app"],
                )?;
            }
            Kind::Updated => {
                let memory = format!("{}m", 65 + round % 100);
                stage.docker.say(&[
                    "update",
                    "--memory",
                    &memory,
                    "--memory-swap",
                    "-1",
                    &stage.blessed,
                ])?;
            }
            Kind::Exec => {
                // It ends when somebody writes to the pipe, so that its end raises no event of another exec.
                let pipe = format!("/pipe{round}");
                drift.enter(&["mkfifo", &pipe])?;
                let script = format!("read line < {pipe}");
                let line = [
                    "exec",
                    "--detach",
                    "--user",
                    "0",
                    &stage.blessed,
                    "/bin/sh",
                    "-c",
                    &script,
                ];
                stage.docker.say(&line)?;
                drift.pipe = Some(pipe);
            }
            Kind::Mounted => {
                drift.enter(&["mkdir", "-p", &format!("/mnt{round}")])?;
                drift.enter(&["mount", "-t", "tmpfs", "outside", &format!("/mnt{round}")])?;
            }
            Kind::Intruder => {
                let child = Command::new("nsenter")
                    .args(["--target", &stage.pid, "--mount", "--net", "sleep", "600"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .context("starting nsenter")?;
                drift.process = Some(child);
            }
        }
        Ok(drift)
    }

    fn enter(&self, command: &[&str]) -> Result<()> {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .args(["--target", &self.stage.pid, "--mount"])
            .args(command);
        checked(&mut nsenter).map(drop)
    }

    pub(super) fn container(&self) -> &str {
        &self.container
    }

    pub(super) fn field(&self) -> &str {
        &self.field
    }

    pub(super) const fn rule(&self) -> &'static str {
        match self.kind {
            Kind::Started => "config/env",
            Kind::Updated => "config/limits",
            Kind::Exec => "privilege/is-root",
            Kind::Mounted => "config/live-mounts",
            Kind::Intruder => "privilege/foreign-process",
        }
    }

    /// Whether a line is its finding, open.
    pub(super) fn is_told_by(&self, line: &Value) -> bool {
        line["state"] == "open" && line["rule"] == self.rule() && line["field"] == *self.field
    }

    pub(super) fn undo(mut self) -> Result<()> {
        match self.kind {
            Kind::Started => self.stage.docker.remove(&self.container),
            Kind::Updated => self
                .stage
                .docker
                .say(&[
                    "update",
                    "--memory",
                    "64m",
                    "--memory-swap",
                    "128m",
                    &self.container,
                ])
                .map(drop),
            Kind::Exec => {
                let pipe = self.pipe.take().context("the exec has a pipe")?;
                self.enter(&["sh", "-c", &format!("echo > {pipe}")])
            }
            Kind::Mounted => {
                let target = self
                    .field
                    .trim_start_matches("live.mounts[")
                    .trim_end_matches(']')
                    .to_owned();
                self.enter(&["umount", &target])
            }
            Kind::Intruder => {
                self.end();
                Ok(())
            }
        }
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Gone already is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Drift<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
