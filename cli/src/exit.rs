//! Exit codes, and the errors that carry them.

use std::process::ExitCode;

use tonic::Status;
use verger_transport::ConnectError;

use crate::output::note;
use crate::status;

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
        Self {
            exit: Exit::BadInput,
            message: message.into(),
        }
    }

    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

/// Says what went wrong, with every cause that adds something, and how the program should end.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    let mut text = String::new();
    let mut exit = Exit::Violation;
    for cause in error.chain() {
        let more = match cause.downcast_ref::<Status>() {
            Some(answer) => status::sentence(answer),
            None => cause.to_string(),
        };
        if text.is_empty() {
            text = more;
        } else if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        if let Some(found) = ending(cause) {
            exit = found;
            break;
        }
    }
    note(&format!("error: {text}"));
    exit
}

fn ending(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if let Some(answer) = cause.downcast_ref::<Status>() {
        return Some(status::exit(answer));
    }
    cause.downcast_ref::<ConnectError>().map(|error| match error {
        ConnectError::Unreachable { .. } => Exit::Unreachable,
        ConnectError::NoAddress | ConnectError::Address(_) => Exit::BadInput,
    })
}
