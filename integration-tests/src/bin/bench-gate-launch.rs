//! Measures what the gate adds to a launch. Needs root and a Docker daemon of its own; run it through `cargo xtask bench gate_launch`.

use std::path::PathBuf;
use std::process::ExitCode;

use verger_integration_tests::{cost, point};

/// Where tables go.
const FOLDER: &str = "VERGER_BENCH_DIR";

fn main() -> ExitCode {
    let folder = std::env::var_os(FOLDER).map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    point::main("gate_launch", |_| cost::gate_launch(&folder))
}
