//! Measures what judging costs. Needs root and a Docker daemon of its own; run it through `cargo xtask bench drift_eval`.

use std::path::PathBuf;
use std::process::ExitCode;

use verger_integration_tests::{drift_eval, point};

/// Where tables go.
const FOLDER: &str = "VERGER_BENCH_DIR";

fn main() -> ExitCode {
    let folder = std::env::var_os(FOLDER).map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    point::main("drift_eval", |_| drift_eval::run(&folder))
}
