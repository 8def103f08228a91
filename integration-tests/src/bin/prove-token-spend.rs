//! Shows what becomes of a join token that many use at once.

use std::process::ExitCode;

use verger_integration_tests::{point, token_spend};

fn main() -> ExitCode {
    point::main("token-spend", token_spend::run)
}
