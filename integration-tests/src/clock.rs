//! What an agent does whose clock is ten years off, and whose disk is set back.
//!
//! The agent is a real process whose time of day alone is another (libfaketime; the monotonic clock stays), changed while it runs.
//! The controller, its member's stamps, the containers and what is on disk are real.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, Scene, checked};

/// Where Debian's package puts the library, below the folder of the architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const SKEW: &str = "host/clock-skew";
const SET_BACK: &str = "host/ledger-set-back";

/// Shows it, with each clock once or, in the long form, three times.
///
/// # Errors
/// When the scene does not work.
pub fn run(long: bool) -> Result<Verdict> {
    let rounds = if long { 3 } else { 1 };
    let docker = Docker::find()?;
    let mut stage = Stage::set(&docker)?;
    let mut tally = Tally::default();
    for round in 0..rounds {
        for ahead in ["+10y", "-10y"] {
            stage
                .wrong_clock(ahead, &mut tally)
                .with_context(|| format!("{ahead}, round {round}"))?;
        }
    }
    stage.set_back(&mut tally)?;
    let Tally {
        clocks,
        jumps,
        sets,
        slowest,
        older,
    } = tally;
    Ok(Verdict {
        figure: format!(
            "{clocks} starts and {jumps} jumps of a clock by ten years: {sets} of {} new sets accepted, exceptions as the members' time says, skew told within {slowest} s; {older} older epochs accepted of 1 offered to a set-back ledger",
            clocks + jumps
        ),
        holds: sets == clocks + jumps && older == 0,
    })
}

#[derive(Default)]
struct Tally {
    clocks: u32,
    jumps: u32,
    sets: u32,
    slowest: u64,
    older: u32,
}

/// A container that drifted twice: one drift is excepted for an hour, the exception of the other has ended.
struct Stage {
    scene: Scene,
    clock: PathBuf,
    /// Until when the exception holds that is changed.
    held_until: Cell<Timestamp>,
}

/// So many seconds from now, in whole ones, as policies say them.
fn after(seconds: i64) -> Timestamp {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    at.round(jiff::Unit::Second)
        .expect("it is far from the last instant there is")
}

/// The rule whose drift is excepted for as long as this runs, and the one whose exception ends at once.
const HELD: &str = "config/env";
const ENDED: &str = "config/working-dir";

fn exception(name: &str, rule: &str, not_after: Timestamp) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Exception\nmetadata: {{ name: {name} }}\nspec:\n  rules: [ {rule} ]\n  scope: {{ workload: clock/app }}\n  owner: ops\n  reason: shown\n  ticket: T-1\n  notAfter: \"{not_after}\"\n"
    )
}

impl Stage {
    fn set(docker: &Docker) -> Result<Self> {
        let mut scene = Scene::found(&Programs::find()?, docker)?;
        let clock = scene.path("clock");
        fs::write(&clock, "+0")?;
        let library = library()?;
        for (name, value) in [
            ("LD_PRELOAD", library.as_os_str()),
            ("FAKETIME_TIMESTAMP_FILE", clock.as_os_str()),
            ("FAKETIME_NO_CACHE", "1".as_ref()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ("DONT_FAKE_MONOTONIC", "1".as_ref()),
        ] {
            scene.agent.set_env(name, value);
        }
        scene.agent.stop()?;
        scene.agent.start()?;
        let container = docker.name("clock");
        docker.run(&container, &["verger-test/app"])?;
        scene.apply(&scene.bless(docker, &container, "clock/app")?)?;
        scene.judged(&container, |row| row["workloads"][0] == "clock/app")?;
        let drifted = docker.name("clock-drifted");
        docker.run(
            &drifted,
            &["--env", "DRIFT=1", "--workdir", "/tmp", "verger-test/app"],
        )?;
        let stage = Self {
            scene,
            clock,
            held_until: Cell::new(after(3_600)),
        };
        let objects = [
            exception("held", HELD, stage.held_until.get()),
            exception("ended", ENDED, after(8)),
        ];
        stage.scene.apply(&objects.join("---\n"))?;
        stage.holds("both drifts excepted", |state| {
            state == ("suppressed", "suppressed")
        })?;
        stage.holds("one exception over", |state| state == ("suppressed", "open"))?;
        // What members said of time is known beyond this run.
        stage.scene.wait_for("a stamp", || {
            let floor = fs::read_to_string(stage.scene.path("agent/floor.json")).unwrap_or_default();
            Ok(floor.contains("\"time\"").then_some(()))
        })?;
        Ok(stage)
    }

    /// The states of the two drifts.
    fn holds(&self, what: &str, wanted: impl Fn((&str, &str)) -> bool) -> Result<()> {
        self.scene.wait_for(what, || {
            let findings = self.scene.rows(&["findings", "list"])?;
            let state = |rule: &str| {
                let of = findings.iter().find(|finding| finding["rule"] == rule);
                of.and_then(|finding| finding["state"].as_str()).unwrap_or("none")
            };
            Ok(wanted((state(HELD), state(ENDED))).then_some(()))
        })
    }

    fn skew(&self, open: bool) -> Result<u64> {
        let began = Instant::now();
        self.scene.wait_for(
            if open {
                "the skew to be told"
            } else {
                "the skew to be over"
            },
            || {
                let findings = self.scene.open_findings()?;
                let told = findings.iter().find(|finding| finding["rule"] == SKEW);
                Ok((told.is_some() == open).then_some(()))
            },
        )?;
        Ok(began.elapsed().as_secs())
    }

    /// A change, which is in force on the host in the end: the exception that holds, holds a little longer.
    fn change(&self) -> Result<()> {
        // A second longer at least than before: two within one second would be one set.
        let until = after(3_600).max(self.held_until.get() + SignedDuration::from_secs(1));
        self.held_until.set(until);
        self.scene.apply(&exception("held", HELD, until))?;
        let epoch = self.scene.epoch()?;
        self.scene.wait_for("the new set on the host", || {
            let hosts = self.scene.rows(&["hosts"])?;
            Ok((hosts[0]["epoch"] == epoch).then_some(()))
        })
    }

    /// Starts the agent under a clock that is wrong, sets it right while it runs, and wrong again.
    fn wrong_clock(&mut self, ahead: &str, tally: &mut Tally) -> Result<()> {
        self.scene.agent.stop()?;
        fs::write(&self.clock, ahead)?;
        self.scene.agent.start()?;
        self.goes_on(&format!("started {ahead}"), tally)?;
        tally.clocks += 1;
        fs::write(&self.clock, "+0")?;
        self.skew(false)?;
        let other = if ahead.starts_with('+') {
            ahead.replace('+', "-")
        } else {
            ahead.replace('-', "+")
        };
        fs::write(&self.clock, &other)?;
        self.goes_on(&format!("set to {other} while it runs"), tally)?;
        tally.jumps += 1;
        fs::write(&self.clock, "+0")?;
        self.skew(false).map(drop)
    }

    /// The skew is told, a new set comes into force, and exceptions hold and end as they should.
    fn goes_on(&mut self, under: &str, tally: &mut Tally) -> Result<()> {
        let took = self.skew(true)?;
        tell(&format!("{under}: told within {took} s"));
        tally.slowest = tally.slowest.max(took);
        self.change()?;
        tally.sets += 1;
        self.holds("exceptions by the members' time", |state| {
            state == ("suppressed", "open")
        })
    }

    /// Puts an older ledger, and older controllers, in the place of those that are.
    fn set_back(&mut self, tally: &mut Tally) -> Result<()> {
        let scene = &mut self.scene;
        let (ledger, member) = (scene.path("agent/store"), scene.path("controller"));
        let (old_ledger, old_member) = (scene.path("store.old"), scene.path("controller.old"));
        scene.agent.stop()?;
        scene.controller.stop()?;
        copy(&ledger, &old_ledger)?;
        copy(&member, &old_member)?;
        scene.controller.start()?;
        scene.agent.start()?;
        let held = scene.epoch()?;
        self.change()?;
        let scene = &mut self.scene;
        let (newer, floor) = (scene.epoch()?, scene.path("agent/floor.json"));
        ensure!(newer > held, "the epoch went on");
        let kept = fs::read(&floor)?;
        scene.agent.stop()?;
        scene.controller.stop()?;
        fs::rename(&member, scene.path("controller.new"))?;
        // Unprotected: without what is kept beside the ledger the older set is taken again.
        for protected in [false, true] {
            copy(&old_ledger, &ledger)?;
            copy(&old_member, &member)?;
            if protected {
                fs::write(&floor, &kept)?;
            } else {
                fs::remove_file(&floor)?;
            }
            scene.controller.start()?;
            scene.agent.start()?;
            let told = scene.wait_for("the host to be heard of", || {
                let hosts = scene.rows(&["hosts"])?;
                let epoch = hosts[0]["epoch"].as_u64().unwrap_or_default();
                let told = scene.open_findings()?.iter().any(is_set_back);
                Ok((epoch == held && hosts[0]["connected"] == true && told == protected).then_some(told))
            })?;
            tell(&format!(
                "a ledger and controllers of epoch {held} after {newer}: told {told}"
            ));
            if protected {
                // The next set of controllers that were set back has a number that this host has seen.
                let file = scene.path("older.yaml");
                fs::write(&file, exception("held", HELD, after(7_200)))?;
                // The CLI has seen that the cluster went back, too.
                let mut apply = scene.verger();
                apply.args(["apply", "--accept-older-set", "--file"]);
                checked(apply.arg(file))?;
                let word = scene.wait_for("the older epoch to be judged", || {
                    let hosts = scene.rows(&["hosts"])?;
                    if hosts[0]["epoch"].as_u64() > Some(held) {
                        bail!("epoch {} was accepted", hosts[0]["epoch"]);
                    }
                    Ok(hosts[0]["refusal"]
                        .as_str()
                        .filter(|word| !word.is_empty())
                        .map(str::to_owned))
                });
                match word {
                    Ok(word) => {
                        ensure!(
                            word.contains("same-epoch-other-root") || word.contains("lower-epoch"),
                            "refused for another reason: {word}"
                        );
                        tell(&format!("refused: {word}"));
                    }
                    Err(error) if error.to_string().contains("was accepted") => tally.older += 1,
                    Err(error) => return Err(error),
                }
            }
            scene.agent.stop()?;
            scene.controller.stop()?;
        }
        // And back to what is newest.
        fs::remove_dir_all(&member)?;
        fs::rename(scene.path("controller.new"), &member)?;
        scene.controller.start()?;
        scene.agent.start()?;
        scene.wait_for("the newest set on the host", || {
            let hosts = scene.rows(&["hosts"])?;
            let told = scene.open_findings()?.iter().any(is_set_back);
            Ok((hosts[0]["epoch"] == newer && !told).then_some(()))
        })
    }
}

/// Whether it says that the ledger is behind what is known beside it; and not that nothing is known there.
fn is_set_back(finding: &Value) -> bool {
    finding["rule"] == SET_BACK && finding["field"] == "ledger"
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(to);
    checked(Command::new("cp").arg("-a").arg(from).arg(to)).map(drop)
}

/// Where the library is that has a program see another time.
///
/// # Errors
/// When it is not installed.
pub fn library() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib")?.filter_map(|entry| Some(entry.ok()?.path().join(LIBRARY)));
    let mut found = folders.filter(|library| library.exists());
    found
        .next()
        .context("libfaketime is not there: install the package faketime")
}
