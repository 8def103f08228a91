//! Shows that closed instances have no network from their first instruction on. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{launch_window, point};

fn main() -> ExitCode {
    point::main("launch-window", launch_window::run)
}
