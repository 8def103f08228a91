//! Measures what the proxy adds to calls of the runtime. Needs root and a Docker daemon of its own; run it through `cargo xtask bench proxy_streams`.

use std::path::PathBuf;
use std::process::ExitCode;

use verger_integration_tests::{cost, point};

/// Where tables go.
const FOLDER: &str = "VERGER_BENCH_DIR";

fn main() -> ExitCode {
    let folder = std::env::var_os(FOLDER).map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    point::main("proxy_streams", |_| cost::proxy_streams(&folder))
}
