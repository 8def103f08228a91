//! Shows what becomes of what a hostile controller offers. Needs no daemon and no root.

use std::process::ExitCode;

use verger_integration_tests::{hostile_controller, point};

fn main() -> ExitCode {
    point::main("hostile-controller", hostile_controller::run)
}
