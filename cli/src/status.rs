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
    let mut text = match (is_unreachable(status), said.is_empty()) {
        (true, true) => "the cluster does not answer".to_owned(),
        (true, false) => format!("the cluster does not answer: {said}"),
        (false, true) => format!("the cluster refused: {}", status.code().description()),
        (false, false) => format!("the cluster refused: {said}"),
    };
    if let Some(reason) = status
        .get_details_error_info()
        .map(|info| info.reason)
        .filter(|reason| !reason.is_empty())
    {
        text = format!("{text} ({})", printable_within(&reason, 80));
    }
    let remedy = match status.code() {
        _ if is_unreachable(status) => {
            "try again, and see that the addresses in the context are the controllers'"
        }
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

    #[test]
    fn a_controllers_words_are_escaped() {
        let text = sentence(&Status::new(Code::NotFound, "a\u{1b}[2Jb\r\n"));
        assert!(
            !text.contains(['\u{1b}', '\r', '\n']) && text.contains("\\u{1b}[2Jb"),
            "{text}"
        );
    }
}
