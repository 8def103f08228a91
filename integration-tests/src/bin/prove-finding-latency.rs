//! Shows how soon a drift's first finding is printed. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{latency, point};

fn main() -> ExitCode {
    point::main("finding-latency", latency::run)
}
