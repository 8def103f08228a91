//! Shows what three members lose when they are killed, frozen and cut off from each other under load: nothing; and that whoever follows them
//! is shown everything once.

use std::process::ExitCode;

use verger_integration_tests::{members, point};

fn main() -> ExitCode {
    point::timed("members", members::run)
}
