//! The commands, one file per group.

mod apply;
mod audit;
mod auth;
mod bless;
mod cluster;
mod context;
mod docker_env;
mod exceptions;
mod explain;
mod findings;
mod hosts;
mod instances;
mod judge;
mod keys;
mod login;
mod objects;
mod proposals;
mod rotation;
mod shell;
mod snapshot;
mod token;
mod trust;
mod unseen;
mod version;

use crate::args::{Cli, Command};
use crate::exit::Exit;

/// Carries the command out, and says how the program ends.
pub(crate) async fn run(
    Cli {
        output,
        context,
        command,
    }: Cli,
) -> anyhow::Result<Exit> {
    let context = context.as_deref();
    match command {
        Command::Apply(args) => apply::apply(args, context, output).await,
        Command::Delete(args) => apply::delete(args, context, output).await,
        Command::Diff(args) => apply::diff(args, context, output).await,
        Command::Get(args) => objects::get(args, context, output).await,
        Command::List(args) => objects::list(args, context, output).await,
        Command::Sign(args) => proposals::sign(args, context, output).await,
        Command::Proposals(args) => proposals::proposals(args, context, output).await,
        Command::Explain { topic } => explain::explain(topic, output),
        Command::Bless(args) => bless::bless(args).await,
        Command::Judge(args) => judge::judge(args, output),
        Command::Hosts(args) => {
            let stale = args.stale;
            match args.decision() {
                (Some(agent), Some(decision)) => hosts::decide(agent, decision, context, output).await,
                (agent, _) => hosts::hosts(agent, stale, context, output).await,
            }
        }
        Command::Instances(args) => instances::instances(args, context, output).await,
        Command::Findings(command) => findings::findings(command, context, output).await,
        Command::Exceptions(command) => exceptions::exceptions(command, context, output).await,
        Command::Audit(command) => audit::audit(command, context, output).await,
        Command::Auth(command) => auth::auth(command, context, output).await,
        Command::Keys(command) => keys::keys(command, context, output).await,
        Command::Trust(command) => trust::trust(command, context, output).await,
        Command::Cluster(command) => cluster::cluster(command, context, output).await,
        Command::Token(command) => token::token(command, context, output).await,
        Command::Login(args) => login::login(args, context, output).await,
        Command::Context(command) => self::context::context(command, context, output).await,
        Command::Version => version::version(context, output).await,
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { dir } => shell::manual(&dir),
    }
}
