//! Shows that the controller's log, state and snapshots and the agent's ledger keep, through power cuts, what they
//! acknowledged.
//!
//! Needs root and Linux with ext4 and loop devices; says what else is missing. Prints its figure last, and ends with
//! 1 when something was lost, when a planted defect was not caught, or when the rig itself failed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use verger_integration_tests::dice::Dice;
use verger_integration_tests::power_cut::{self, Kind, Plan, figure};
use verger_integration_tests::programs::Programs;

/// Cuts the power of stores while they write, and compares what is there with what they acknowledged.
#[derive(Parser)]
struct Arguments {
    /// Twenty rounds per store instead of three.
    #[arg(long)]
    long: bool,
    /// So many rounds per store.
    #[arg(long, value_name = "N", conflicts_with = "long", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// This store alone: controller-log, controller-redb-log, controller-state, controller-snapshot or ledger.
    #[arg(long, value_name = "STORE")]
    only: Option<Kind>,
    /// Repeats the choices of a run; it printed them first. When a write reaches the disk is still the machine's to say.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Builds the programs that write and read first, instead of taking those in VERGER_BIN_DIR or next to this one.
    #[arg(long)]
    build: bool,
    /// Where the images are made [default: the folder for temporary files].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

/// Rounds of a planted defect at most, while it is not caught.
const PATIENCE: u32 = 20;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(holds) => ExitCode::from(u8::from(!holds)),
        Err(error) => {
            // Nobody is left to tell when standard error is closed; the exit code says it too.
            let _ = writeln!(std::io::stderr(), "power-cut: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    power_cut::check()?;
    power_cut::enter()?;
    let programs = if arguments.build {
        Programs::build()?
    } else {
        Programs::find()?
    };
    let rounds = arguments.rounds.unwrap_or(if arguments.long { 20 } else { 3 });
    let plan = Plan {
        rounds,
        planted: rounds.min(5),
        patience: PATIENCE,
        only: arguments.only,
        seed: arguments.seed.map_or_else(Dice::seed, Ok)?,
    };
    let work = arguments.work.clone().unwrap_or_else(std::env::temp_dir);
    let mut out = std::io::stdout().lock();
    let (figure, holds) = figure(&power_cut::run(&plan, &programs, &work, &mut out)?);
    writeln!(out, "{figure}")?;
    Ok(holds)
}
