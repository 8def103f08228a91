//! How soon `verger findings watch` prints the first finding of a drift.
//!
//! The clock starts at the time the daemon stamps on its event, or, for drift that raises no event, just before the
//! change is made, and stops when the line is read from the CLI. Between the two lie the agent (read, judge, spool with
//! its barrier), the controller (log with its barrier, apply, stream) and the CLI, all real and on this machine.

mod drift;
mod figures;

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, Scene, Watch};
use drift::{Drift, Kind};
use figures::Figures;

/// From the event, for at least 95 of 100.
const AFTER_EVENT: Duration = Duration::from_secs(1);
/// Without an event, every time.
const WITHOUT_EVENT: Duration = Duration::from_secs(5);
/// A finding that is not there by now is missing.
const LIMIT: Duration = Duration::from_secs(20);

/// The workload.
pub(crate) const WORKLOAD: &str = "latency/web";

/// Measures the short form or the long one.
///
/// # Errors
/// When the scene does not work, or a drift shows no finding at all.
pub fn run(long: bool) -> Result<Verdict> {
    let rounds: &[(Kind, usize)] = if long {
        &[
            (Kind::Started, 120),
            (Kind::Updated, 60),
            (Kind::Exec, 20),
            (Kind::Mounted, 20),
            (Kind::Intruder, 20),
        ]
    } else {
        &[
            (Kind::Started, 6),
            (Kind::Updated, 4),
            (Kind::Exec, 2),
            (Kind::Mounted, 2),
            (Kind::Intruder, 2),
        ]
    };
    let docker = Docker::find()?;
    let scene = Scene::found(&Programs::find()?, &docker)?;
    let stage = Stage::set(&scene, &docker)?;
    let (mut told, mut untold) = (Figures::default(), Figures::default());
    for (kind, count) in rounds {
        let mut figures = Figures::default();
        for round in 0..*count {
            let took = stage
                .measure(*kind, round)
                .with_context(|| format!("{kind:?}, round {round}"))?;
            figures.add(took);
            if kind.raises_event() {
                told.add(took);
            } else {
                untold.add(took);
            }
        }
        tell(&format!("{kind:?}: {figures}"));
    }
    Ok(Verdict {
        figure: format!(
            "after its event: {told}, p95 at most {AFTER_EVENT:?}; without an event: {untold}, at most {WITHOUT_EVENT:?}"
        ),
        holds: told.quantile(95) <= AFTER_EVENT && untold.quantile(100) <= WITHOUT_EVENT,
    })
}

/// A blessed container that runs, and the stream that is timed.
struct Stage<'a> {
    docker: &'a Docker,
    findings: Watch,
    blessed: String,
    pid: String,
}

impl<'a> Stage<'a> {
    fn set(scene: &Scene, docker: &'a Docker) -> Result<Self> {
        let blessed = docker.name("latency");
        docker.run(&blessed, &["--memory", "64m", "verger-test/app"])?;
        scene.apply(&scene.bless(docker, &blessed, WORKLOAD)?)?;
        scene.judged(&blessed, |row| {
            row["workloads"][0] == WORKLOAD && row["failed"] == 0
        })?;
        let findings = Watch::start(scene.verger().args([
            "findings",
            "watch",
            "--workload",
            WORKLOAD,
            "--output",
            "jsonl",
        ]))?;
        let stage = Self {
            docker,
            findings,
            pid: docker.pid(&blessed)?,
            blessed,
        };
        // The stream must run before anything is measured: a drift that is told on it, and undone.
        stage.warm_up(scene)?;
        Ok(stage)
    }

    fn warm_up(&self, scene: &Scene) -> Result<()> {
        let drift = Drift::make(self, Kind::Updated, usize::MAX)?;
        scene.wait_for("the first finding", || {
            Ok((!scene.open_findings()?.is_empty()).then_some(()))
        })?;
        self.findings
            .next_where(LIMIT, "the first finding", |line| drift.is_told_by(line))?;
        self.undo(drift)
    }

    /// One drift, from its event to its finding; undone afterwards.
    fn measure(&self, kind: Kind, round: usize) -> Result<Duration> {
        let before = SystemTime::now();
        let drift = Drift::make(self, kind, round)?;
        let began = match kind.event() {
            Some(action) => self.event(action, &drift, before)?,
            None => before,
        };
        let told = self
            .findings
            .next_where(LIMIT, "its finding", |line| drift.is_told_by(line))?;
        self.undo(drift)?;
        // Clocks are one and the same; a finding before its event would be another's.
        told.at
            .duration_since(began)
            .context("the finding came before its event")
    }

    /// When the daemon says its event was.
    fn event(&self, action: &str, drift: &Drift<'_>, since: SystemTime) -> Result<SystemTime> {
        let seconds = |at: SystemTime| -> Result<String> {
            let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH)?;
            Ok(format!(
                "{}.{:09}",
                since_epoch.as_secs(),
                since_epoch.subsec_nanos()
            ))
        };
        let container = format!("container={}", drift.container());
        let (since, until) = (seconds(since)?, seconds(SystemTime::now())?);
        let said = self.docker.say(&[
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            &container,
            "--format",
            "{{json .}}",
        ])?;
        for line in said.lines() {
            let event: Value = serde_json::from_str(line)?;
            if event["Action"].as_str().and_then(|said| said.split(':').next()) == Some(action) {
                let nanos = event["timeNano"]
                    .as_u64()
                    .context("an event has a time in nanoseconds")?;
                return Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
            }
        }
        bail!(
            "the daemon knows no event {action} of {}: {said}",
            drift.container()
        )
    }

    fn undo(&self, drift: Drift<'_>) -> Result<()> {
        let (uid_field, rule) = (drift.field().to_owned(), drift.rule().to_owned());
        drift.undo()?;
        let resolved = |line: &Value| {
            line["state"] == "resolved" && line["rule"] == *rule && line["field"] == *uid_field
        };
        self.findings
            .next_where(LIMIT, "the end of its finding", resolved)
            .map(drop)
    }
}
