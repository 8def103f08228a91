//! Shows what three members do when their disks are full: what they can, and they say what they cannot.

use std::process::ExitCode;

use verger_integration_tests::{members, point};

fn main() -> ExitCode {
    point::main("disk-full", members::full::run)
}
