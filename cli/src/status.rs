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
    let info = status.get_details_error_info();
    let reason = info.map(|info| info.reason).filter(|reason| !reason.is_empty());
    // Who gives a reason has answered.
    let (head, remedy) = match status.code() {
        _ if is_unreachable(status) && reason.is_none() => (
            "the cluster does not answer",
            Some("try again, and see that the addresses in the context are the controllers'"),
        ),
        _ if is_unreachable(status) => ("the cluster cannot do it now", Some("try again")),
        Code::Unauthenticated => (
            "the cluster refused",
            Some("see that the certificate in the context has not ended: `verger context show`"),
        ),
        Code::Aborted => (
            "the cluster refused",
            Some("look at what changed with `verger diff`, and apply again"),
        ),
        _ => ("the cluster refused", None),
    };
    let said = match said.is_empty() {
        true => status.code().description(),
        false => &said,
    };
    let reason = reason.map(|reason| format!(" ({})", printable_within(&reason, 80)));
    let remedy = remedy.map(|remedy| format!("; {remedy}"));
    format!(
        "{head}: {said}{}{}",
        reason.unwrap_or_default(),
        remedy.unwrap_or_default()
    )
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
            text.starts_with(
                "the cluster does not answer: The service is currently unavailable; try again, and see"
            ),
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
