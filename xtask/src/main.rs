//! Everything done to this repository besides editing it: start it, test it, check it, prove it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a task runner speaks to the person at the terminal

mod check;
mod deny;
mod deps;
mod dist;
mod dockerd;
mod fuzz;
mod packages;
mod process;
mod protos;
mod prove;
mod report;
mod service;
mod soak;
mod test;
mod tidy;
mod units;
mod up;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Start, test, check and prove Verger"
)]
enum Task {
    /// Installs what is missing, starts a cluster and an agent, and runs the main job on real containers
    Up,
    /// Stops and removes what `up` started
    Down,
    /// `up` and `down` in a place of their own
    #[command(hide = true)]
    Rehearse {
        /// `up` twice: it must find what runs
        #[arg(long)]
        long: bool,
    },
    /// Every fuzz target for a time, each in a process of its own
    #[command(hide = true)]
    Fuzz {
        /// Ten minutes for each instead of a second
        #[arg(long)]
        long: bool,
        /// Those of this crate alone; may be given again
        #[arg(short, long, value_name = "CRATE")]
        package: Vec<String>,
        /// One of so many parts of them, as 1/8: a long run may be spread
        #[arg(long, value_name = "NUMBER/COUNT")]
        part: Option<fuzz::Part>,
    },
    /// The tests of one module, counted
    #[command(hide = true)]
    Cases {
        /// The crate they are in
        #[arg(short, long, value_name = "CRATE")]
        package: String,
        /// What their names have in them
        filter: String,
    },
    /// Installs what the tests need and runs them all, points included
    Test {
        /// For machines without root: leaves out the tests that need a Docker daemon, and counts them as skipped
        #[arg(long)]
        no_docker: bool,
        /// Leaves out the points of `prove`: for the tests of this tool, whose workspaces have none
        #[arg(long, hide = true)]
        no_points: bool,
    },
    /// Formatting, lints, dependencies, protos, units and documentation
    Check {
        /// Runs this check alone
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Formats, and applies what clippy can fix itself
    Fix,
    /// Writes the generated files that are committed
    Gen,
    /// Shows one named point in its short form, or in full with `--long`; or lists all
    Prove {
        /// The point; all are listed without it
        name: Option<String>,
        /// Lists the points, with the counts of both forms
        #[arg(long, conflicts_with = "name")]
        list: bool,
        /// The full counts of the claim. Without it the short form runs, as in CI; the last line says which, and of how many
        #[arg(long, requires = "name")]
        long: bool,
    },
    /// What a cluster has to withstand, in full and one after the other: faults of real processes, cuts of power, full disks,
    /// changed bytes, join tokens, simulated clusters. Takes hours; ends with a table
    Soak {
        /// How long real processes are killed, frozen and cut off, at least; never less than 30
        #[arg(long, value_name = "N", default_value_t = 30)]
        minutes: u64,
        /// Lists what runs, with the arguments that each is given
        #[arg(long)]
        list: bool,
    },
    /// Runs one benchmark, or lists all
    Bench {
        /// The benchmark; all are listed without it
        name: Option<String>,
    },
    /// Builds the programs as they are installed, optimised, into `target/dist`
    Dist,
    /// Who may depend on whom
    CheckDeps,
    /// A private Docker daemon for tests
    #[command(subcommand)]
    Dockerd(dockerd::Action),
}

fn main() -> ExitCode {
    match carry_out(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Up => up::up(&workspace),
        Task::Down => up::down(),
        Task::Rehearse { long } => up::rehearse(&workspace, if long { 2 } else { 1 }),
        Task::Fuzz { long, package, part } => fuzz::run(&workspace, &package, part, long),
        Task::Cases { package, filter } => test::cases(&workspace, &package, &filter),
        Task::Test { no_docker, no_points } => test::test(
            &workspace,
            !no_docker,
            if no_points { &[] } else { prove::POINTS },
        ),
        Task::Check { only } => check::check(&workspace, only.as_deref()),
        Task::Fix => check::fix(&workspace),
        Task::Gen => protos::write_baseline(&workspace),
        Task::Prove { name, long, .. } => {
            prove::run(&workspace, "point", prove::POINTS, name.as_deref(), long)
        }
        Task::Soak { minutes, list } => soak::soak(&workspace, minutes, list),
        Task::Bench { name } => prove::run(&workspace, "benchmark", prove::BENCHES, name.as_deref(), false),
        Task::Dist => dist::dist(&workspace),
        Task::CheckDeps => deps::check(workspace.root()),
        Task::Dockerd(action) => dockerd::run(&action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Task::command().debug_assert();
    }
}
