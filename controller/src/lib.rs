//! `verger-controller`: a member of the control plane.
//!
//! What the program is; the programs call [`main`].

mod adapters;
mod break_glass;
mod config;
mod currency;
mod emergency;
mod equality;
mod hearing;
mod init;
mod join;
mod login;
mod member_key;
mod oidc;
mod peers;
mod recover;
mod renewal;
mod restore;
mod room;
mod roots;
mod run;
mod seat;
mod stamper;
mod timekeeper;
mod version;
mod watchman;
mod wire_up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use verger_transport::{install_crypto_provider, telemetry};

/// A member of Verger's control plane.
#[derive(Parser)]
#[command(name = "verger-controller", version, about)]
struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "/etc/verger/controller.toml",
        value_name = "FILE"
    )]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Found a cluster, once: stores, authorities, the first person's context file.
    Init(init::InitArgs),
    /// Join a cluster as one more member, by the command that `verger cluster add` prints.
    Join(join::JoinArgs),
    /// Copy the root keys of the cluster's authorities out, or bring them to another member.
    #[command(subcommand)]
    Roots(roots::RootsCommand),
    /// Make a new cluster of one member out of a snapshot (`verger cluster snapshot save`), where too few members are left to go on.
    Restore(restore::RestoreArgs),
    /// Print this member's NAME=KEY for the trust root (`verger trust init --member`, `verger trust rotate --add-member`); makes the
    /// key where there is none. With it the member signs how fresh the policy set is, and nothing else.
    MemberKey,
    /// Issue a person's login anew, for who has none any more: by the member that runs here, or by its stores where nobody else votes. The audit records it.
    RecoverLogin(recover::RecoverArgs),
    /// Give a person every power through the API for a short while, past all roles. A finding says so until it is over.
    BreakGlass(break_glass::BreakGlassArgs),
    /// Serve.
    Run,
    /// Check the configuration file and say what it means.
    CheckConfig,
}

/// Carries out what the command line says.
pub fn main() -> ExitCode {
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &cli.command {
        Command::Init(args) => runtime.block_on(init::init(&config, args)),
        Command::Join(args) => runtime.block_on(join::join(&config, args)),
        Command::Roots(command) => roots::roots(&config, command),
        Command::Restore(args) => runtime.block_on(restore::restore(&config, args)),
        Command::MemberKey => member_key::print(&config),
        Command::RecoverLogin(args) => runtime.block_on(recover::recover(&config, args)),
        Command::BreakGlass(args) => runtime.block_on(break_glass::break_glass(&config, args)),
        Command::Run => runtime.block_on(run::run(config)),
        Command::CheckConfig => config.explain(),
    }
}

#[allow(clippy::print_stderr)]
fn eprint_chain(error: &anyhow::Error) {
    let text = error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    eprintln!("verger-controller: {}", verger_policy::model::printable(&text));
}
