//! `verger-agent`: observes a host, judges it by the policy it has verified, and reports.

mod clock;
mod config;
mod confirmed;
mod controller;
mod enforcement;
mod enrolment;
mod floor;
#[cfg(test)]
mod fuzz;
mod gate;
mod in_force;
mod join;
mod launches;
mod link;
mod machine;
mod members;
mod proxy;
mod reconciler;
mod report;
mod run;
#[cfg(test)]
mod sealed;
mod session;
mod signing;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use verger_transport::{install_crypto_provider, telemetry};

/// The agent of a host.
#[derive(Parser)]
#[command(name = "verger-agent", version, about)]
struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "/etc/verger/agent.toml",
        value_name = "FILE"
    )]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Enrol in a cluster, once. `verger token create` prints the whole command.
    Join(join::JoinArgs),
    /// Observe, judge, report.
    Run,
    /// Let this host accept a set whose epoch is too far ahead of the one it holds. Look at why it is first. Run it as the agent's user.
    ConfirmEpoch(confirmed::ConfirmArgs),
    /// Check the configuration file and say what it means.
    CheckConfig,
    /// Put the gate in front of the runtimes of this host: nothing is launched without the agent's word.
    InstallGate(gate::install::InstallArgs),
    /// Take the gate away.
    RemoveGate(gate::install::PlaceArgs),
    /// Say whether the gate stands as it was put.
    CheckGate(gate::install::PlaceArgs),
    /// Let the gate launch while the agent gives no answer: for an emergency. It ends by itself, is noted, and is a finding.
    BreakGlass(gate::glass::BreakGlassArgs),
}

fn main() -> ExitCode {
    install_crypto_provider();
    let cli = Cli::parse();
    match carry_out(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_chain(&error);
            ExitCode::FAILURE
        }
    }
}

fn carry_out(cli: &Cli) -> anyhow::Result<()> {
    let config = config::Config::load(&cli.config)?;
    telemetry::start(config.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match &cli.command {
        Command::Join(args) => runtime.block_on(join::join(&config, args)),
        Command::Run => runtime.block_on(run::run(config)),
        Command::ConfirmEpoch(args) => confirmed::confirm(&config, args),
        Command::CheckConfig => config.explain(),
        Command::InstallGate(args) => gate::install::install(&config, args),
        Command::RemoveGate(args) => gate::install::remove(&config, args),
        Command::CheckGate(args) => runtime.block_on(gate::install::check(&config, args)),
        Command::BreakGlass(args) => gate::glass::break_glass(&config, args),
    }
}

#[allow(clippy::print_stderr)]
fn eprint_chain(error: &anyhow::Error) {
    let text = error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    eprintln!("verger-agent: {}", verger_policy::model::printable(&text));
}
