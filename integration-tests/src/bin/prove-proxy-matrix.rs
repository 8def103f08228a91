//! Shows what each user of a host can do through the runtime proxy. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{point, runtime_proxy};

fn main() -> ExitCode {
    point::main("proxy-matrix", runtime_proxy::matrix)
}
