//! Shows what the gate refuses. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{launch, point};

fn main() -> ExitCode {
    point::main("launch", launch::run)
}
