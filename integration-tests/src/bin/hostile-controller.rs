//! A member that was taken over: it serves one agent, tries every attack on it, and says what became of each. For tests alone.
//!
//! What is not a member's to do (starting and killing the agent) it asks for on its standard output, in lines that begin with `?`,
//! and goes on when `done` is written to its standard input; `prove-hostile-controller` answers.

use std::process::ExitCode;

use clap::Parser;
use verger_integration_tests::{hostile_controller, point};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    process: hostile_controller::Process,
}

fn main() -> ExitCode {
    let Arguments { process } = Arguments::parse();
    point::end("hostile-controller", hostile_controller::serve(&process))
}
