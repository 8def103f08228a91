//! A sample is sent to a real daemon: through a real agent as somebody who may not reach the host, and past it as root.

use anyhow::{Context as _, Result, ensure};

use super::facts::Daemon;
use super::judged::{Fate, Judge, MAKER, MAKERS};
use super::lenient;
use super::request::{Request, mutated};
use super::seeds::{self, WEB};
use crate::dice::Dice;
use crate::point::tell;
use crate::programs::Programs;
use crate::runtime_proxy::Front;
use crate::scene::Docker;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) sent: usize,
    /// Made or changed something through the proxy.
    pub(super) passed: usize,
    /// Reach the host that went through the proxy.
    pub(super) reached: usize,
    /// Reach the host that were sent past it.
    pub(super) controls: usize,
    /// The agent did otherwise than what the long run judges by.
    pub(super) otherwise: usize,
}

/// Requests until the container that they are about is made anew: execs of it are listed one by one.
const ANEW: usize = 40;

/// Sends so many.
pub(super) fn run(count: usize, seed: u64) -> Result<Sample> {
    let front = Front::found_with(&Programs::find()?, Docker::find()?, MAKERS)?;
    let judge = Judge::new()?;
    let mut dice = Dice::new(seed ^ 0x5a5a);
    let mut sample = Sample::default();
    let plain = front.docker.name("plain");
    front.say(&["create", "--name", &plain, "verger-test/busybox"])?;
    let daemon = Daemon::at(front.docker.socket(), &plain)?;
    let seeds = seeds::made();
    while sample.sent < count {
        if sample.sent.is_multiple_of(ANEW) {
            again(&front)?;
        }
        let seed = dice.pick(&seeds).context("there are seeds")?;
        let request = mutated(seed, &mut dice);
        let seen = judge.connection(&request.bytes);
        let passes = seen.iter().any(|seen| matches!(seen.fate, Fate::Sent { .. }));
        // By turns what the proxy lets through, and what reaches the host at its laxest reading.
        let wanted = match sample.sent % 2 {
            0 => passes,
            _ => !lenient::dangers(&request.bytes).is_empty(),
        };
        if wanted {
            one(&front, &daemon, &request, &seen, &mut sample)?;
        }
    }
    front.say(&["rm", "--force", &plain, WEB])?;
    Ok(sample)
}

/// The container that requests are about, as it was at first.
fn again(front: &Front) -> Result<()> {
    if front.is_there(WEB)? {
        front.say(&["rm", "--force", WEB])?;
    }
    front
        .say(&[
            "run",
            "--detach",
            "--name",
            WEB,
            "verger-test/busybox",
            "sleep",
            "3600",
        ])
        .map(drop)
}

fn one(
    front: &Front,
    daemon: &Daemon,
    request: &Request,
    seen: &[super::judged::Seen],
    sample: &mut Sample,
) -> Result<()> {
    sample.sent += 1;
    if front
        .say(&["ps", "--quiet", "--filter", &format!("name=^/{WEB}$")])?
        .is_empty()
    {
        again(front)?;
    }
    let before = daemon.shown()?;
    let answer = front.raw_until_quiet(MAKER, &front.socket(), &request.bytes)?;
    let after = daemon.shown()?;
    let is_done = answer.contains("HTTP/1.1 20") || answer.contains("HTTP/1.0 20");
    sample.passed += usize::from(is_done);
    let reached: Vec<&String> = after.reaches.difference(&before.reaches).collect();
    if !reached.is_empty() {
        sample.reached += 1;
        tell(&format!(
            "through the proxy: {reached:?} by {}",
            super::escaped(&request.bytes)
        ));
    }
    if let [seen] = seen {
        let fits = match seen.fate {
            Fate::Sent { .. } => !answer.contains("\"message\":\"verger: "),
            Fate::Unknown | Fate::Refused => !is_done,
        };
        if !fits {
            sample.otherwise += 1;
            tell(&format!(
                "judged to be {:?}, and the agent: {answer:.400} to {}",
                seen.fate,
                super::escaped(&request.bytes)
            ));
        }
    }
    daemon.forget(&before)?;
    let before = daemon.shown()?;
    daemon.send(&request.bytes)?;
    let after = daemon.shown()?;
    sample.controls += usize::from(after.reaches.difference(&before.reaches).next().is_some());
    daemon.forget(&before)?;
    ensure!(
        daemon.shown()?.containers.is_subset(&before.containers),
        "what was made could not be removed"
    );
    Ok(())
}
