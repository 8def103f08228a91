//! Shows what three members lose when they are upgraded one by one under load, to a program that writes a stored form otherwise: nothing;
//! and that none of them goes back.

use std::process::ExitCode;

use verger_integration_tests::{members, point};

fn main() -> ExitCode {
    point::main("rolling-upgrade", members::upgrade::run)
}
