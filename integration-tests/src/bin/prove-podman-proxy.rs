//! Shows that Podman's socket behind the proxy gives each user what the roles say. Needs root, Podman and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{podman_proxy, point};

fn main() -> ExitCode {
    point::main("podman-proxy", podman_proxy::run)
}
