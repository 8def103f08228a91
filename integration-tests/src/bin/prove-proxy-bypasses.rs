//! Shows what gets past the runtime proxy. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{point, runtime_proxy};

fn main() -> ExitCode {
    point::main("proxy-bypasses", runtime_proxy::bypasses)
}
