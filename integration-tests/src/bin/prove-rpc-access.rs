//! Shows who is let in, by a running controller.

use std::process::ExitCode;

use verger_integration_tests::{point, rpc_access};

fn main() -> ExitCode {
    point::main("rpc-access", rpc_access::run)
}
