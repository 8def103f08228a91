//! Shows that nothing acknowledged is lost, and nothing doubled, by kill -9 of agent or controller. Needs root and a
//! Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{kill, point};

fn main() -> ExitCode {
    point::main("kill", kill::run)
}
