//! One table from errors to `tonic::Status`, every variant listed.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use verger_controller_authz::{Ask, Decision, Unsafe};
use verger_controller_state::{Refused, Response};
use verger_wire::InvalidMessage;

use crate::ports::{IssueError, Unavailable};

/// The domain of the reasons, stable for programs.
const DOMAIN: &str = "verger";
/// When to try again after UNAVAILABLE.
const RETRY: Duration = Duration::from_millis(500);
/// The longest text of a message, bytes. It travels in a header, escaped, and once or twice more in another; callers take in
/// 16 KiB of headers, and no answer at all when there are more.
const TEXT_BYTES: usize = 2_000;

fn details(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, [] as [(String, String); 0])
}

// Some repeat what was sent, of whatever length.
fn cut(text: String) -> String {
    const MARK: &str = "… (cut)";
    if text.len() <= TEXT_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(TEXT_BYTES - MARK.len());
    format!("{}{MARK}", &text[..end])
}

/// As much of a text as a command names anything with.
pub(crate) fn cut_name(text: &str) -> String {
    text[..text.floor_char_boundary(verger_controller_state::limits::NAME_BYTES)].to_owned()
}

fn status(code: Code, message: impl Into<String>, details: ErrorDetails) -> Status {
    Status::with_error_details(code, cut(message.into()), details)
}

pub(crate) fn with_reason(code: Code, reason: &str, message: impl Into<String>) -> Status {
    status(code, message, details(reason))
}

pub(crate) fn invalid(error: InvalidMessage) -> Status {
    let mut details = details("INVALID_ARGUMENT");
    details.add_bad_request_violation(error.field.clone(), cut(error.what.clone()));
    status(Code::InvalidArgument, error.to_string(), details)
}

pub(crate) fn argument(field: &str, what: impl Into<String>) -> Status {
    invalid(InvalidMessage::new(field, what))
}

pub(crate) fn unavailable(error: &Unavailable) -> Status {
    let (code, reason) = match error {
        Unavailable::Elsewhere(_) => (Code::Unavailable, "NOT_LEADING"),
        Unavailable::Failed(_) => (Code::Unavailable, "CANNOT_WRITE"),
    };
    let mut details = details(reason);
    details.set_retry_info(Some(RETRY));
    status(code, error.to_string(), details)
}

/// To who has a stream open.
pub(crate) fn stopping() -> Status {
    unavailable(&Unavailable::Elsewhere("the member stops".to_owned()))
}

pub(crate) fn issue(error: &IssueError) -> Status {
    match error {
        IssueError::Request(_) => {
            with_reason(Code::InvalidArgument, "CERTIFICATE_REQUEST", error.to_string())
        }
        IssueError::NoRoots(_) => with_reason(Code::FailedPrecondition, "NO_ROOT_KEYS", error.to_string()),
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
        Refused::Stamp { .. } => Code::PermissionDenied,
        Refused::SealComplete => Code::FailedPrecondition,
        Refused::NoSuchProposal(_) => Code::NotFound,
        Refused::TooManyProposals => Code::ResourceExhausted,
        Refused::TooManyLogins(_) => Code::ResourceExhausted,
        Refused::LoginTaken(_) => Code::PermissionDenied,
        Refused::LoginRevoked(_) => Code::PermissionDenied,
        Refused::LoginStale => Code::PermissionDenied,
        Refused::LoginOver => Code::FailedPrecondition,
        Refused::LoginName => Code::InvalidArgument,
        Refused::NoBreakGlass(_) => Code::NotFound,
        Refused::RequestIdReused => Code::AlreadyExists,
        Refused::TooManyTokens => Code::ResourceExhausted,
        Refused::MemberNameTaken(_) => Code::AlreadyExists,
        Refused::TooManyMembers(_) => Code::ResourceExhausted,
        Refused::VersionNewer { .. } => Code::FailedPrecondition,
        Refused::MemberJoins(_) => Code::FailedPrecondition,
        Refused::Token => Code::PermissionDenied,
        Refused::Rejected => Code::PermissionDenied,
        Refused::NotWaiting => Code::NotFound,
        Refused::OtherKey(_) => Code::PermissionDenied,
        Refused::CopiedIdentity(_) => Code::PermissionDenied,
        Refused::NoMachine(_) => Code::PermissionDenied,
        Refused::Evicted(_) => Code::PermissionDenied,
        Refused::Banned { .. } => Code::PermissionDenied,
        Refused::NotBanned(_) => Code::FailedPrecondition,
        Refused::NotRevoked(_) => Code::FailedPrecondition,
        Refused::UnknownAgent => Code::PermissionDenied,
        Refused::SequenceGap { .. } => Code::OutOfRange,
        Refused::ForgedFinding => Code::InvalidArgument,
        Refused::ForgedHead(_) => Code::InvalidArgument,
        Refused::NoSuchFinding => Code::NotFound,
        Refused::Invalid(_) => Code::InvalidArgument,
    };
    // What a program needs beside the reason, so that it reads no sentence.
    let metadata = match refused {
        Refused::EpochConflict { expected, current } => vec![
            ("expected", expected.to_string()),
            ("current", current.to_string()),
        ],
        Refused::Seal { word, .. } => vec![("refusal", (*word).to_owned())],
        Refused::SequenceGap { expected } => vec![("expected", expected.to_string())],
        _ => Vec::new(),
    };
    let metadata: HashMap<String, String> = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let details = ErrorDetails::with_error_info(refused.word(), DOMAIN, metadata);
    status(code, refused.to_string(), details)
}

/// A response to a request with an id. The log remembers ids whatever they were for: one that is used twice is answered as
/// the first request was.
pub(crate) fn answered_otherwise(response: &Response) -> Status {
    match response {
        Response::Refused(reason) => refused(reason),
        _ => argument(
            "request_id",
            "was used for another kind of request already; make a new one",
        ),
    }
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

/// What roles do not let a person do.
pub(crate) fn role_denied(person: &str, ask: &Ask, decision: &Decision) -> Status {
    let mut metadata = HashMap::from([
        ("verb".to_owned(), ask.verb.word().to_owned()),
        ("resource".to_owned(), ask.resource.word().to_owned()),
        ("rule".to_owned(), cut(decision.to_string())),
    ]);
    let name = ask.single.as_ref().and_then(|single| single.name.as_ref());
    metadata.extend(name.map(|name| ("name".to_owned(), name.to_string())));
    let details = ErrorDetails::with_error_info("ROLE_DENIED", DOMAIN, metadata);
    status(
        Code::PermissionDenied,
        format!("{person} may not {ask}: {decision}"),
        details,
    )
}

/// Roles that would be good for nobody.
pub(crate) fn roles_unsafe(error: &Unsafe) -> Status {
    let reason = match error {
        Unsafe::NoSuchRole { .. } => "NO_SUCH_ROLE",
        Unsafe::NobodyLeft => "NOBODY_LEFT",
        Unsafe::Compile(_) => "ROLES",
    };
    with_reason(Code::FailedPrecondition, reason, error.to_string())
}

pub(crate) fn not_found(what: &str) -> Status {
    with_reason(Code::NotFound, "NOT_FOUND", format!("there is no {what}"))
}
