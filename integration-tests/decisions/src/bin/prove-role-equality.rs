//! Shows that the compiled form of roles decides as Cedar does.

use std::process::ExitCode;

use verger_decisions::equality;
use verger_rig::point;

fn main() -> ExitCode {
    point::seeded("role-equality", equality::run)
}
