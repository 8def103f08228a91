//! Shows that spellings do not matter and differences do. Needs root and a Docker daemon of its own.

use std::process::ExitCode;

use verger_integration_tests::{canonical, point};

fn main() -> ExitCode {
    point::main("canonicalisation", canonical::run)
}
