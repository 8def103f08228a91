//! One table from errors to `tonic::Status`, every variant listed.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use verger_controller_state::{Refused, Response};
use verger_wire::InvalidMessage;

use crate::ports::{IssueError, Unavailable};

/// The domain of the reasons, stable for programs.
const DOMAIN: &str = "verger";
/// When to try again after UNAVAILABLE.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) fn with_reason(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    Status::with_error_details(code, message, details)
}

pub(crate) fn invalid(error: InvalidMessage) -> Status {
    let mut details = ErrorDetails::with_error_info("INVALID_ARGUMENT", DOMAIN, [] as [(String, String); 0]);
    details.add_bad_request_violation(error.field.clone(), error.what.clone());
    Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
}

pub(crate) fn argument(field: &str, what: &str) -> Status {
    invalid(InvalidMessage::new(field, what))
}

pub(crate) fn unavailable(error: &Unavailable) -> Status {
    let (code, reason) = match error {
        Unavailable::Elsewhere(_) => (Code::Unavailable, "NOT_LEADING"),
        Unavailable::Failed(_) => (Code::Unavailable, "CANNOT_WRITE"),
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    details.set_retry_info(Some(RETRY));
    Status::with_error_details(code, error.to_string(), details)
}

pub(crate) fn issue(error: &IssueError) -> Status {
    match error {
        IssueError::Request(_) => {
            with_reason(Code::InvalidArgument, "CERTIFICATE_REQUEST", error.to_string())
        }
        IssueError::Authority(_) => {
            tracing::error!(%error, "a certificate was not issued");
            with_reason(
                Code::Internal,
                "AUTHORITY",
                "the certificate could not be issued; see the controller's log",
            )
        }
    }
}

pub(crate) fn refused(refused: &Refused) -> Status {
    let code = match refused {
        Refused::AlreadyFounded(_) => Code::AlreadyExists,
        Refused::NotFounded => Code::FailedPrecondition,
        Refused::TrustRoot(_) => Code::InvalidArgument,
        Refused::EpochConflict { .. } => Code::Aborted,
        Refused::Set(_) => Code::InvalidArgument,
        Refused::Seal { .. } => Code::PermissionDenied,
        Refused::TokenAlreadyCreated(_) => Code::AlreadyExists,
        Refused::TooManyTokens => Code::ResourceExhausted,
        Refused::Token => Code::PermissionDenied,
        Refused::UnknownAgent => Code::PermissionDenied,
        Refused::SequenceGap { .. } => Code::OutOfRange,
        Refused::ForgedFinding => Code::InvalidArgument,
        Refused::TooManyFindings => Code::ResourceExhausted,
        Refused::NoSuchFinding => Code::NotFound,
        Refused::Invalid(_) => Code::InvalidArgument,
    };
    with_reason(code, refused.word(), refused.to_string())
}

/// A response of another command than the one proposed.
pub(crate) fn unexpected(response: &Response) -> Status {
    match response {
        Response::Refused(reason) => refused(reason),
        other => {
            tracing::error!(?other, "the state machine answered another command");
            with_reason(
                Code::Internal,
                "UNEXPECTED_ANSWER",
                "the controller answered another command; see its log",
            )
        }
    }
}

pub(crate) fn not_found(what: &str) -> Status {
    with_reason(Code::NotFound, "NOT_FOUND", format!("there is no {what}"))
}
