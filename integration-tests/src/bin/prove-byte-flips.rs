//! Shows what a member does whose files are not what it wrote: it says so, or reads as before.

use std::process::ExitCode;

use verger_integration_tests::{byte_flips, point};

fn main() -> ExitCode {
    point::seeded("byte-flips", byte_flips::run)
}
