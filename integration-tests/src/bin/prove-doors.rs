//! Shows that nobody comes past the gate unseen. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{doors, point};

fn main() -> ExitCode {
    point::main("doors", doors::run)
}
