//! Shows what becomes of bad input. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{hostile, point};

fn main() -> ExitCode {
    point::main("bad-input", hostile::run)
}
