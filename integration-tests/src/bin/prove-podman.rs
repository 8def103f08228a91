//! Shows that what Podman and `ctr` launch is judged as what Docker launches is. Needs root, Podman, containerd and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{podman, point};

fn main() -> ExitCode {
    point::main("podman", podman::run)
}
