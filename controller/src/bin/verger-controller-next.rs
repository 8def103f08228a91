//! `verger-controller` of the next version, for the rig of upgrades. Nobody is given it.

use std::process::ExitCode;

fn main() -> ExitCode {
    verger_controller::main()
}
