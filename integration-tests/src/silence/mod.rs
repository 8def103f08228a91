//! How soon a host that falls silent is a finding, where nothing is closed: its agent is stopped (SIGSTOP), or what is between it and
//! the controller forwards nothing more, as when a host loses power or its network.
//!
//! Beside each there is another agent on a host of its own, which has nothing to say but that it is there.

mod wire;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Program, Scene, Watch, checked};

use wire::Wire;

/// Between two signs that an agent is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Within so many a host that fell silent is a finding.
const BOUND: f64 = 3.0;
/// How long a finding, or its end, is waited for: long enough to measure one that is late.
const PATIENCE: Duration = Duration::from_secs(60);
/// Shorter than what is silence, and longer than a heartbeat.
const PAUSE: Duration = Duration::from_secs(7);

const RULE: &str = "host/silent";
/// The host that falls silent, and its twin.
const VICTIM: &str = "victim";
const TWIN: &str = "twin";

/// How it falls silent.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The agent's process is stopped.
    Stopped,
    /// Its connection to the controller carries nothing more.
    Cut,
}

/// Shows it, each way once or, in the long form, ten times.
///
/// # Errors
/// When the scene does not work. What is told late, or not, or wrongly, is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    let rounds = if long { 10 } else { 1 };
    let stage = Stage::set()?;
    // A stop that is no silence: nothing may come of it.
    stage.victim.freeze()?;
    std::thread::sleep(PAUSE);
    stage.victim.thaw()?;
    stage.wait_until_heard()?;
    let mut took = Vec::new();
    let mut missed = 0;
    for round in 0..rounds {
        for way in [Way::Stopped, Way::Cut] {
            match stage
                .fall_silent(way)
                .with_context(|| format!("{way:?}, round {round}"))?
            {
                Some(time) => {
                    tell(&format!("{way:?}: told after {:.1} s", time.as_secs_f64()));
                    took.push(time);
                }
                None => missed += 1,
            }
        }
    }
    let accused = stage.accused()?;
    let slowest = took.iter().max().copied().unwrap_or_default();
    let heartbeats = slowest.as_secs_f64() / HEARTBEAT.as_secs_f64();
    let all = took.len() + missed;
    Ok(Verdict {
        figure: format!(
            "{} of {all} hosts that fell silent told, the slowest after {heartbeats:.2} heartbeats ({:.1} s) of at most {BOUND}; \
             {} told to be silent too often, {accused} that only had nothing to say",
            took.len(),
            slowest.as_secs_f64(),
            stage.too_often(all)?,
        ),
        holds: missed == 0 && heartbeats <= BOUND && accused == 0 && stage.too_often(all)? == 0,
    })
}

/// Two hosts and a controller.
struct Stage {
    victim: Program,
    _twin: Program,
    wire: Wire,
    watch: Watch,
    scene: Scene,
}

impl Stage {
    fn set() -> Result<Self> {
        let scene = Scene::without_agent(&Programs::find()?, "")?;
        let mut agents = Vec::new();
        for name in [VICTIM, TWIN] {
            let (config, data) = (format!("{name}.toml"), scene.path(name));
            fs::write(
                scene.path(&config),
                format!("data_dir = {data:?}\ndocker_socket = \"/nonexistent/docker.sock\"\n"),
            )?;
            checked(&mut scene.join(name, &[], &config)?)?;
            agents.push(scene.another_agent(name, &config)?);
        }
        let [mut victim, mut twin] = <[Program; 2]>::try_from(agents)
            .ok()
            .context("two agents joined")?;
        let wire = Self::put_between(&scene)?;
        victim.start()?;
        twin.start()?;
        let mut command = scene.verger();
        command.args(["findings", "watch", "--output", "jsonl"]);
        let watch = Watch::start(&mut command)?;
        let stage = Self {
            victim,
            _twin: twin,
            wire,
            watch,
            scene,
        };
        stage.wait_until_heard()?;
        Ok(stage)
    }

    /// Has the victim reach its controller by a wire that can be cut.
    fn put_between(scene: &Scene) -> Result<Wire> {
        let file = scene.path(VICTIM).join("cluster.json");
        let mut stored: Value = serde_json::from_slice(&fs::read(&file)?)?;
        let address = stored["controllers"][0]
            .as_str()
            .context("it knows a controller")?;
        let wire = Wire::to(address.parse().context("the scene's controller is on loopback")?)?;
        stored["controllers"] = json!([wire.address().to_string()]);
        fs::write(&file, serde_json::to_vec_pretty(&stored)?)?;
        Ok(wire)
    }

    /// Waits until both hosts are connected and neither is said to be silent.
    fn wait_until_heard(&self) -> Result<()> {
        self.scene.wait_for("both hosts to be heard of", || {
            let hosts = self.scene.rows(&["hosts"])?;
            let connected = hosts.iter().filter(|host| host["connected"] == true).count();
            let silent = self.scene.open_findings()?;
            let silent = silent.iter().any(|finding| finding["rule"] == RULE);
            Ok((connected == 2 && !silent).then_some(()))
        })
    }

    /// When the controller heard the victim last, as it says.
    fn last_seen(&self) -> Result<String> {
        let hosts = self.scene.rows(&["hosts"])?;
        let mut victims = hosts.iter().filter(|host| host["agent"] == VICTIM);
        let seen = victims.next().and_then(|host| host["lastSeen"].as_str());
        Ok(seen.context("the victim was heard of")?.to_owned())
    }

    /// The victim falls silent; gives after what time that is told, if it is. Then it is back, which is told, too.
    ///
    /// It does so right after it was heard: from then on it takes longest.
    fn fall_silent(&self, way: Way) -> Result<Option<Duration>> {
        let before = self.last_seen()?;
        self.scene.wait_for("the victim to be heard once more", || {
            Ok((self.last_seen()? != before).then_some(()))
        })?;
        let begun = Instant::now();
        match way {
            Way::Stopped => self.victim.freeze()?,
            Way::Cut => self.wire.cut(),
        }
        let told = self.watch.next_where(PATIENCE, "the silence", |finding| {
            finding["rule"] == RULE && finding["state"] == "open"
        });
        let took = begun.elapsed();
        match way {
            Way::Stopped => self.victim.thaw()?,
            Way::Cut => self.wire.mend(),
        }
        if told.is_err() {
            return Ok(None);
        }
        self.watch
            .next_where(PATIENCE, "that it is heard of again", |finding| {
                finding["rule"] == RULE && finding["state"] == "resolved"
            })?;
        self.wait_until_heard()?;
        Ok(Some(took))
    }

    /// What findings say of silence: one for all hosts, with a row of each that was said to be silent once, and how often it was
    /// opened again.
    fn told(&self) -> Result<Option<Value>> {
        let listed = self
            .scene
            .rows(&["findings", "list", "--state", "open", "--state", "resolved"])?;
        Ok(listed.into_iter().find(|finding| finding["rule"] == RULE))
    }

    /// How often a host that had nothing else to say was said to be silent.
    fn accused(&self) -> Result<usize> {
        let told = self.told()?;
        Ok(usize::from(
            told.is_some_and(|told| told["hosts"][TWIN].is_object()),
        ))
    }

    /// How often more than it was.
    fn too_often(&self, times: usize) -> Result<usize> {
        let told = match self.told()? {
            Some(told) => {
                let hosts = told["hosts"].as_object().context("a finding names its hosts")?;
                let again = told["reopened"].as_u64().context("a finding counts")?;
                hosts.len() + usize::try_from(again)?
            }
            None => 0,
        };
        ensure!(told > 0 || times == 0, "no finding tells of silence at all");
        Ok(told.saturating_sub(times))
    }
}
