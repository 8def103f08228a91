//! Shows what members keep of what they acknowledged when the power of one, two and all of them is cut: everything.

use std::process::ExitCode;

use verger_integration_tests::{members, point};

fn main() -> ExitCode {
    point::main("members-power", members::power::run)
}
