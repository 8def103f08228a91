//! Shows that a large snapshot reaches a member in little memory, over a way that breaks, while others write.

use std::process::ExitCode;

use verger_integration_tests::{point, snapshot_stream};

fn main() -> ExitCode {
    point::main("snapshot-stream", snapshot_stream::run)
}
