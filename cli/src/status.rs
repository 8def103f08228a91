//! What the cluster's refusals mean to a person, and how they end the program.

use std::error::Error as _;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_policy::model::printable_within;

use crate::exit::Exit;

/// The longest message of a controller that is shown, characters.
const SHOWN: usize = 2_000;

/// How the program ends on this answer.
pub(crate) fn exit(status: &Status) -> Exit {
    if is_unreachable(status) {
        return Exit::Unreachable;
    }
    match status.code() {
        Code::Aborted => Exit::Conflict,
        Code::InvalidArgument => Exit::BadInput,
        _ => Exit::Violation,
    }
}

/// Whether nobody answered, or not in time: the same request may be answered later.
///
/// A status with a source was made here, of a connection that broke; what a controller says has none.
pub(crate) fn is_unreachable(status: &Status) -> bool {
    status.source().is_some()
        || matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
        )
}

fn reason(status: &Status) -> Option<String> {
    let reason = status.get_details_error_info()?.reason;
    (!reason.is_empty()).then_some(reason)
}

/// Whether a change that may be offered again was not made this time: who answered says so.
pub(crate) fn is_undone(status: &Status) -> bool {
    status.source().is_none() && matches!(reason(status).as_deref(), Some("NO_LEADER" | "CHANGE_FAILED"))
}

/// Whether somebody else changed the policy set first.
pub(crate) fn is_conflict(status: &Status) -> bool {
    status.code() == Code::Aborted
}

/// The answer as a sentence that may be shown.
pub(crate) fn sentence(status: &Status) -> String {
    let mut said = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    let said = printable_within(&said, SHOWN);
    let reason = reason(status);
    // Who gives a reason has answered.
    let has_answered = status.source().is_none() && reason.is_some();
    let is_silent = is_unreachable(status) && !has_answered;
    let head = match is_unreachable(status) {
        true if is_silent => "the cluster does not answer",
        true => "the cluster cannot do it now",
        false => "the cluster refused",
    };
    let mut text = match said.is_empty() {
        false => format!("{head}: {said}"),
        true if is_silent => head.to_owned(),
        true => format!("{head}: {}", status.code().description()),
    };
    if let Some(reason) = reason {
        text = format!("{text} ({})", printable_within(&reason, 80));
    }
    let remedy = match status.code() {
        _ if is_silent => "try again, and see that the addresses in the context are the controllers'",
        _ if is_unreachable(status) => "try again",
        Code::Unauthenticated => {
            "see that the certificate in the context has not ended: `verger context show`"
        }
        Code::Aborted => "look at what changed with `verger diff`, and apply again",
        _ => return text,
    };
    format!("{text}; {remedy}")
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn codes_end_the_program_as_the_help_says() {
        for (code, wanted) in [
            (Code::Unavailable, Exit::Unreachable),
            (Code::DeadlineExceeded, Exit::Unreachable),
            (Code::Aborted, Exit::Conflict),
            (Code::InvalidArgument, Exit::BadInput),
            (Code::PermissionDenied, Exit::Violation),
            (Code::NotFound, Exit::Violation),
        ] {
            assert_eq!(exit(&Status::new(code, "x")), wanted, "{code:?}");
        }
    }

    fn with_reason(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "verger", [] as [(String, String); 0]);
        Status::with_error_details(code, "no", details)
    }

    #[test]
    fn who_gives_a_reason_has_answered() {
        let text = sentence(&with_reason(Code::Unavailable, "NO_LEADER"));
        assert_eq!(text, "the cluster cannot do it now: no (NO_LEADER); try again");
        let text = sentence(&with_reason(Code::NotFound, "NOT_FOUND"));
        assert_eq!(text, "the cluster refused: no (NOT_FOUND)");
        let text = sentence(&Status::unavailable(""));
        assert!(
            text.starts_with("the cluster does not answer; try again, and see"),
            "{text}"
        );
    }

    #[test]
    fn a_controllers_words_are_escaped() {
        let text = sentence(&Status::new(Code::NotFound, "a\u{1b}[2Jb\r\n"));
        assert!(
            !text.contains(['\u{1b}', '\r', '\n']) && text.contains("\\u{1b}[2Jb"),
            "{text}"
        );
    }
}
