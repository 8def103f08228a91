//! Shows what is to be had on a host whose agent was killed. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{agent_dead, point};

fn main() -> ExitCode {
    point::main("agent-dead", agent_dead::run)
}
