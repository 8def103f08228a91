//! `verger`: blesses configurations, and says what departs from them.
//!
//! Arguments become requests, answers become text. What anything means is `verger-policy`'s to say.

mod args;
mod commands;
mod connect;
mod consent;
mod context;
mod docker;
mod exit;
mod files;
mod following;
mod output;
mod podman;
mod renewal;
mod sealed;
mod signer;
mod status;

use std::process::ExitCode;

fn main() -> ExitCode {
    verger_transport::install_crypto_provider();
    let cli = args::Cli::read();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&error.into()).into(),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}
