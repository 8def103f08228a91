//! Measures writes of three members beside those of etcd. Needs etcd and perf; run it through `cargo xtask bench replicated_writes`.

use std::path::PathBuf;
use std::process::ExitCode;

use verger_integration_tests::{cost, point};

/// Where tables go.
const FOLDER: &str = "VERGER_BENCH_DIR";

fn main() -> ExitCode {
    let folder = std::env::var_os(FOLDER).map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    point::main("replicated_writes", |_| cost::replicated_writes(&folder))
}
