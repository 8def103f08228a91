//! Shows what mutated requests get through the runtime proxy. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{point, proxy_requests};

fn main() -> ExitCode {
    point::seeded("proxy-requests", proxy_requests::run)
}
