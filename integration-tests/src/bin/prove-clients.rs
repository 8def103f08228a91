//! Shows that docker and docker-compose print and end through the runtime proxy as at Docker itself. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{point, runtime_proxy};

fn main() -> ExitCode {
    point::main("clients", runtime_proxy::clients)
}
