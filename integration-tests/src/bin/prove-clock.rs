//! Shows what becomes of clocks that are ten years off. Needs root, faketime and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{clock, point};

fn main() -> ExitCode {
    point::main("clock", clock::run)
}
