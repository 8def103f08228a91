//! Shows what three members lose when they are killed, frozen and cut off from each other under load: nothing.

use std::process::ExitCode;

use verger_integration_tests::{members, point};

fn main() -> ExitCode {
    point::timed("members", members::run)
}
