//! Spellings of the same configuration give no drift, and a difference in one field gives one finding, on real
//! containers of a live daemon.
//!
//! Each case runs a container, blesses it as it runs, and then runs another one in its place. Findings are the agent's,
//! as the controller lists them.

mod recorded;
mod table;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, HOST, Scene};
use recorded::RECORDED;
use table::{Case, DIFFERENCES, Launch, PAIRS};

/// The workload that is blessed, anew for each case.
const WORKLOAD: &str = "canonical/case";
/// What the live view says before it has one (its processes are looked at when they have settled).
const NOT_LOOKED_AT: &str = "has just been started";

/// Runs some cases, or all.
///
/// # Errors
/// When a container does not run or cannot be blessed. What differs is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    let docker = Docker::find()?;
    let scene = Scene::found(&Programs::find()?, &docker)?;
    let stage = Stage {
        scene: &scene,
        docker: &docker,
    };
    stage.prepare()?;
    // The short form takes every fourth row, so that all parts of the tables are seen.
    let step = if long { 1 } else { 4 };
    let mut wrong = Vec::new();
    for (kind, cases) in [("pair", PAIRS), ("difference", DIFFERENCES)] {
        for (number, case) in cases.iter().enumerate().step_by(step) {
            let expected: Vec<String> = case.finding.iter().map(|field| (*field).to_owned()).collect();
            let found = stage.show(case).unwrap_or_else(|error| {
                // The next case starts from nothing all the same.
                stage.clear();
                vec![format!("error: {error:#}")]
            });
            tell(&format!("{kind} {} {}: {found:?}", number + 1, case.field));
            if found != expected {
                wrong.push(format!(
                    "{kind} {} of {}: {found:?} instead of {expected:?}",
                    number + 1,
                    case.field
                ));
            }
        }
    }
    for case in RECORDED {
        let found = case
            .show()
            .unwrap_or_else(|error| vec![format!("error: {error:#}")]);
        tell(&format!("recorded difference {}: {found:?}", case.finding));
        if found != [case.finding] {
            wrong.push(format!(
                "recorded difference: {found:?} instead of {:?}",
                case.finding
            ));
        }
    }
    for sentence in &wrong {
        tell(&format!("WRONG: {sentence}"));
    }
    let (pairs, differences) = (PAIRS.len().div_ceil(step), DIFFERENCES.len().div_ceil(step));
    Ok(Verdict {
        figure: format!(
            "{} wrong of {pairs} pairs of spellings and {} single differences (tables of {} and {}, all {} fields)",
            wrong.len(),
            differences + RECORDED.len(),
            PAIRS.len(),
            DIFFERENCES.len() + RECORDED.len(),
            verger_policy::compile::DEFAULTS.len()
        ),
        holds: wrong.is_empty(),
    })
}

struct Stage<'a> {
    scene: &'a Scene,
    docker: &'a Docker,
}

impl Stage<'_> {
    /// An image that differs from the other in its digest alone, and a container whose namespaces can be joined.
    fn prepare(&self) -> Result<()> {
        let name = self.docker.name("canonical-image");
        self.docker.run(&name, &["verger-test/app"])?;
        self.docker.say(&[
            "commit",
            "--change",
            "LABEL other=1",
            &name,
            "verger-test/app:other",
        ])?;
        self.docker.remove(&name)?;
        // Of another image: it must not be held to the workload itself.
        self.docker.run(&self.donor(), &["verger-test/busybox"]).map(drop)
    }

    fn donor(&self) -> String {
        self.docker.name("canonical-donor")
    }

    /// Blesses the first container of the case, runs the second, and gives the fields of the findings that this makes.
    fn show(&self, case: &Case) -> Result<Vec<String>> {
        let name = self.docker.name("canonical");
        self.launch(&name, &case.first)?;
        self.scene
            .apply(&self.scene.bless(self.docker, &name, WORKLOAD)?)
            .context("blessing")?;
        let epoch = self.scene.epoch()?;
        self.looked_at(&name, epoch)?;
        let before = self.open()?;
        let drift: Vec<&(String, String)> = before
            .iter()
            .filter(|(rule, _)| rule.starts_with("config/"))
            .collect();
        ensure!(
            drift.is_empty(),
            "what was just blessed differs already: {drift:?}"
        );
        self.docker.remove(&name)?;
        self.gone(&name)?;
        self.launch(&name, &case.second)?;
        self.looked_at(&name, epoch)?;
        let after = self.open()?;
        self.docker.remove(&name)?;
        self.gone(&name)?;
        let new = after.into_iter().filter(|finding| !before.contains(finding));
        Ok(new.map(|(_, field)| field).collect())
    }

    fn clear(&self) {
        // Not there is what is wanted.
        let _ = self.docker.remove(&self.docker.name("canonical"));
    }

    fn launch(&self, name: &str, launch: &Launch) -> Result<()> {
        let donor = self.donor();
        match launch {
            Launch::Run { flags, tail } => {
                let named = |word: &&str| -> Result<String> {
                    Ok(match *word {
                        "container:NAME" => format!("container:{donor}"),
                        "IMAGE-ID" => self.docker.say(&[
                            "image",
                            "inspect",
                            "--format",
                            "{{.Id}}",
                            "verger-test/app",
                        ])?,
                        other => other.to_owned(),
                    })
                };
                let words: Vec<String> = flags.iter().chain(*tail).map(named).collect::<Result<_>>()?;
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.docker
                    .run_with(name, &words, &[("INHERITED", "from-outside")])
                    .map(drop)
            }
            Launch::Api { host_config } => {
                let host_config: Value = serde_json::from_str(host_config)?;
                let body = json!({ "Image": "verger-test/app", "HostConfig": host_config });
                self.docker.run_by_api(name, &body)
            }
        }
        .with_context(|| format!("{launch:?}"))
    }

    /// Waits until the container was judged, under this epoch or a later one, with all that its processes show.
    fn looked_at(&self, name: &str, epoch: u64) -> Result<()> {
        self.scene.judged(name, |row| {
            row["epoch"].as_u64() >= Some(epoch) && row["workloads"][0] == WORKLOAD
        })?;
        self.scene.wait_for("the container to be looked at", || {
            let text = self
                .scene
                .say(&["instances", name, "--host", HOST, "--output", "json"])?;
            let row: Value = serde_json::from_str(&text)?;
            let Some(checks) = row["checks"].as_array() else {
                bail!("an instance has checks: {text}")
            };
            let waiting = checks.iter().any(|check| {
                check["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.contains(NOT_LOOKED_AT))
            });
            Ok((!waiting).then_some(()))
        })?;
        self.scene.findings_arrived()
    }

    fn gone(&self, name: &str) -> Result<()> {
        self.scene.wait_for("the container to be gone", || {
            let rows = self.scene.rows(&["instances"])?;
            Ok(rows.iter().all(|row| row["name"] != name).then_some(()))
        })
    }

    /// Rule and field of each finding of the workload that is open.
    fn open(&self) -> Result<Vec<(String, String)>> {
        let mut findings = self.scene.open_findings()?;
        findings.retain(|finding| finding["subject"] == *format!("workload/{WORKLOAD}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(findings
            .iter()
            .map(|finding| (text(&finding["rule"]), text(&finding["field"])))
            .collect())
    }
}
