//! A member that was taken over, against a real agent: whatever it offers is refused with its own reason before the ledger, the
//! last good set stays, also over a restart, and a finding says so. After each attack the honest offer that it was made of is
//! accepted, so nothing but the attack was wrong with it.
//!
//! The member has all that a member has: the authorities of the cluster, the trust root, every set that people sealed. For some
//! attacks people help it: they sealed two sets under one number, or their keys were stolen after they had given them up.
//!
//! It is a program of its own (`hostile-controller`), which no package has: [`serve`] is what it does, and [`run`] starts it beside
//! an honest controller and an agent, and does for it what is not a member's to do.

mod attacks;
mod campaign;
mod cluster;
mod disk;
mod member;
mod misuses;
mod stamps;
mod starter;
mod tally;

pub use campaign::serve;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::Value;
use verger_agent_core::ledger::LedgerState;
use verger_agent_core::store::LedgerStore as _;
use verger_policy::digest::Digest;
use verger_policy::model::printable;

use crate::point::Verdict;
use crate::programs::Programs;
use crate::scene::{HOST, Scene};
use cluster::People;
use starter::{Asked, Started};

/// The rule of the findings about sets.
const REFUSED_SET: &str = "host/refused-set";
/// Seeds of the people's keys.
const ADA: u8 = 11;
const BOB: u8 = 12;

/// What the member that was taken over has in its hands.
#[derive(Args)]
pub struct Process {
    /// The folder of the cluster's authorities, as a member has them.
    #[arg(long)]
    pki: PathBuf,
    /// The first trust root.
    #[arg(long)]
    trust_root: PathBuf,
    /// An administrator's context: honest sets go to the honest controller with it.
    #[arg(long)]
    context: PathBuf,
    /// The agent's folder: what it keeps is looked at, and spoiled.
    #[arg(long)]
    agent_data: PathBuf,
    /// Also those attacks that take minutes because an agent is made to wait.
    #[arg(long)]
    long: bool,
}

/// Runs all attacks; the long form also those that take minutes because an agent is made to wait.
///
/// # Errors
/// When the scene does not work, or the agent takes what it must not.
pub fn run(long: bool) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let people = People::new(&[("ada", ADA), ("bob", BOB)]);
    let (_, envelope) = people.found()?;
    let programs = Programs::find()?;
    let mut scene = Scene::found_on(&programs, &envelope, people.keys()[0])?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command.arg(programs.path("hostile-controller")?);
    for (flag, path) in [
        ("--pki", scene.path("controller").join("pki")),
        ("--trust-root", scene.path("trust-root.json")),
        ("--context", scene.context()),
        ("--agent-data", scene.path("agent")),
    ] {
        command.arg(flag).arg(path);
    }
    command.args(long.then_some("--long"));
    let mut member = Started::start(command)?;
    let attended = attend(&mut scene, &mut member).and_then(|()| member.ended());
    let (figure, status) =
        attended.with_context(|| format!("{}\n{}", scene.controller.log_tail(), scene.agent.log_tail()))?;
    ensure!(
        status.code().is_some_and(|code| code <= 1),
        "the hostile controller ended with {status}"
    );
    Ok(Verdict {
        figure,
        holds: status.success(),
    })
}

/// Does what the member asks for, until it is at its end.
fn attend(scene: &mut Scene, member: &mut Started) -> Result<()> {
    while let Some(asked) = member.asked()? {
        match asked {
            Asked::Serving(address) => {
                put_first(&scene.path("agent").join("cluster.json"), &address.to_string())?;
            }
            Asked::StartAgent => scene.agent.start()?,
            Asked::KillAgent => scene.agent.kill()?,
            Asked::LeftStanding(word) => scene.wait_for("the finding at the honest controller", || {
                let open = scene.open_findings()?;
                let standing = open
                    .iter()
                    .any(|one| one["rule"] == REFUSED_SET && one["field"] == *word);
                Ok(standing.then_some(()))
            })?,
            Asked::Published(epoch, root) => {
                learns(scene, epoch)?;
                scene.agent.stop()?;
                keeps(scene, (epoch, root))?;
            }
        }
        member.done()?;
    }
    Ok(())
}

/// Makes `address` the first that the agent tries.
fn put_first(file: &Path, address: &str) -> Result<()> {
    let mut json: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let controllers = json["controllers"].as_array_mut();
    controllers
        .context("an enrolled agent knows controllers")?
        .insert(0, address.into());
    Ok(std::fs::write(file, serde_json::to_vec_pretty(&json)?)?)
}

/// The honest controller brings the host to what people sealed last, which ends the findings.
fn learns(scene: &Scene, epoch: u64) -> Result<()> {
    scene.wait_for("the host to accept what is honest", || {
        let open = scene.open_findings()?;
        let level = scene.rows(&["hosts"])?.iter().any(|host| host["epoch"] == epoch);
        Ok((level && open.iter().all(|one| one["rule"] != REFUSED_SET)).then_some(()))
    })?;
    let shown = scene.say(&["findings", "list"])?;
    ensure!(
        shown.lines().all(|line| printable(line) == line),
        "something raw reaches the terminal"
    );
    Ok(())
}

/// That is what is on its disk, too.
fn keeps(scene: &Scene, position: (u64, Digest)) -> Result<()> {
    let store = scene.path("agent").join("store");
    let (ledger, _) = verger_agent_store::open(&store, &verger_agent_store::Options::default())?;
    let state = LedgerState::restore(HOST.parse()?, ledger.load()?)?;
    ensure!(
        state.position() == Some(position),
        "the disk holds {:?}, not {position:?}",
        state.position()
    );
    Ok(())
}
