//! Exit codes, and the errors that carry them.

use std::process::ExitCode;

/// How the program ends (documented in `verger --help`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done, nothing found.
    Clean = 0,
    /// Refused, or something violates the policy.
    Violation = 1,
    /// Bad input or usage.
    BadInput = 2,
    /// Nothing violated, something not evaluated.
    NotEvaluated = 3,
    /// The cluster could not be reached.
    Unreachable = 4,
    /// Somebody else changed the policy set first.
    Conflict = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that says how the program should end; every other error ends it with [`Exit::Violation`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self { exit: Exit::BadInput, message: message.into() }
    }

    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}
