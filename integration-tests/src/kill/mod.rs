//! Kills agent and controller without their leave, under load, and compares what was promised with what is there.
//!
//! The load: a chain of sealed policy sets, each the successor of the one before, and people's words on findings, all
//! through the public API with requests in flight at every moment. Each set flips findings of real containers, so that
//! the agent writes its ledger, its findings and its spool all the time.
//!
//! What must hold after every kill: the controller has every set and every word it acknowledged, each once (a repeated
//! request is answered as the first was, and epochs have no gap); of the agent's findings it has every transition the
//! agent has forgotten, none the agent does not have, and the rows they led to; and the stream of findings, followed all the
//! while, shows each of them once and in order.

mod audit;
mod history;
mod load;
mod policy;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::access::Access;
use crate::dice::Dice;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, Scene};
use history::Watcher;
use load::Load;

/// Acknowledged writes a second below which a run proves nothing.
const LEAST_RATE: f64 = 50.0;
/// A victim lives through at most two to this power acknowledged writes: some seconds.
const POWERS: u32 = 9;
/// The kill comes so long after a write at most: within the next ones.
const AFTER: Duration = Duration::from_millis(5);

/// How often the agent may be stopped until nothing waits with it.
const ENDS: u32 = 4;

/// Whom to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Agent,
    Controller,
}

/// Runs the short form or the long one.
///
/// # Errors
/// When the scene does not work. What was lost or doubled is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    let kills = if long { 50 } else { 5 };
    let seed = Dice::seed()?;
    tell(&format!("kill: seed {seed}"));
    verger_transport::install_crypto_provider();
    let docker = Docker::find()?;
    let mut scene = Scene::found(&Programs::find()?, &docker)?;
    let image = policy::stage(&scene, &docker)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let access = Access::of(&scene)?;
    let watcher = runtime.block_on(async { Watcher::start(&access) });
    let load = runtime.block_on(Load::start(&access, &image))?;
    let mut dice = Dice::new(seed);
    let mut rig = Rig {
        scene: &mut scene,
        runtime: &runtime,
        access: &access,
        load: &load,
        uptime: Duration::ZERO,
        wrong: Vec::new(),
    };
    for (round, victim) in order(kills, &mut dice).into_iter().enumerate() {
        rig.round(victim, &mut dice)
            .with_context(|| format!("kill {} ({victim:?})", round + 1))?;
    }
    let (uptime, mut wrong) = (rig.uptime, rig.wrong);
    let done = runtime.block_on(load.end())?;
    wrong.extend(done.wrong);
    let final_audit = Rig::last(&mut scene, &runtime, &access, done.writes, watcher)?;
    wrong.extend(final_audit.wrong);
    for sentence in wrong.iter().take(20) {
        tell(&format!("WRONG: {sentence}"));
    }
    let rate = done.acknowledged as f64 / uptime.as_secs_f64();
    Ok(Verdict {
        figure: format!(
            "{} lost or doubled after {kills} kills of each; {} acknowledged policy sets and {} words, {rate:.0} writes/s (at least {LEAST_RATE}), {} transitions, {} changes shown",
            wrong.len(),
            done.writes,
            done.acknowledged - done.writes,
            final_audit.transitions,
            final_audit.changes,
        ),
        holds: wrong.is_empty()
            && rate >= LEAST_RATE
            && final_audit.transitions > u64::from(kills)
            && final_audit.changes > u64::from(kills),
    })
}

/// So many of each, shuffled.
fn order(kills: u32, dice: &mut Dice) -> Vec<Victim> {
    let mut left = [(Victim::Agent, kills), (Victim::Controller, kills)];
    let mut order = Vec::new();
    while left.iter().any(|(_, count)| *count > 0) {
        let pick = (dice.roll() % 2) as usize;
        let pick = if left[pick].1 > 0 { pick } else { 1 - pick };
        left[pick].1 -= 1;
        order.push(left[pick].0);
    }
    order
}

struct Rig<'a> {
    scene: &'a mut Scene,
    runtime: &'a tokio::runtime::Runtime,
    access: &'a Access,
    load: &'a Load,
    /// How long the controller ran under load.
    uptime: Duration,
    wrong: Vec<String>,
}

impl Rig<'_> {
    fn round(&mut self, victim: Victim, dice: &mut Dice) -> Result<()> {
        let began = Instant::now();
        self.runtime
            .block_on(self.load.writes_more(dice.spread(POWERS)))?;
        let moment = Instant::now() + dice.pause(AFTER);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        match victim {
            Victim::Controller => {
                self.scene.controller.kill()?;
                self.uptime += began.elapsed();
                let promised = self.load.promised();
                self.scene.controller.start()?;
                let wrong = self.runtime.block_on(audit::promises(self.access, &promised))?;
                self.wrong.extend(wrong);
            }
            Victim::Agent => {
                self.scene.agent.kill()?;
                let held = audit::Held::read(&self.scene.path("agent/store"))?;
                let wrong = self.runtime.block_on(audit::findings(self.access, &held))?;
                self.uptime += began.elapsed();
                self.wrong.extend(wrong);
                self.scene.agent.start()?;
            }
        }
        ensure!(
            self.scene.controller.is_running()?,
            "the controller ended by itself"
        );
        Ok(())
    }

    /// When nothing is written any more: everything must have arrived, once.
    fn last(
        scene: &mut Scene,
        runtime: &tokio::runtime::Runtime,
        access: &Access,
        writes: u64,
        watcher: Watcher,
    ) -> Result<audit::Last> {
        for _ in 1..ENDS {
            let held = Self::stopped(scene, runtime, access, writes)?;
            if held.waiting() == 0 {
                return runtime.block_on(audit::last(access, &held, writes, watcher));
            }
            tell(&format!(
                "kill: {} transitions were made as the agent stopped; it is started again",
                held.waiting()
            ));
            scene.agent.start()?;
        }
        let held = Self::stopped(scene, runtime, access, writes)?;
        runtime.block_on(audit::last(access, &held, writes, watcher))
    }

    /// An agent may find something between the last look and its end: it tells it when it is started again.
    fn stopped(
        scene: &mut Scene,
        runtime: &tokio::runtime::Runtime,
        access: &Access,
        writes: u64,
    ) -> Result<audit::Held> {
        runtime.block_on(audit::quiet(access, writes))?;
        scene.agent.stop()?;
        audit::Held::read(&scene.path("agent/store"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_victim_dies_as_often_as_asked() {
        let order = order(50, &mut Dice::new(3));
        assert_eq!(order.len(), 100);
        assert_eq!(
            order.iter().filter(|victim| **victim == Victim::Agent).count(),
            50
        );
        assert!(order.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
