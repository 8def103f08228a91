//! Shows how soon a host that falls silent without closing anything is a finding.

use std::process::ExitCode;

use verger_integration_tests::{point, silence};

fn main() -> ExitCode {
    point::main("silence", silence::run)
}
