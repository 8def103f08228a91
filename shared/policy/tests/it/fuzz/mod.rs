//! Fuzz targets: what every parser of outside bytes does with hostile ones, beyond not to panic.

mod canonical;
mod draft;
mod expression;
mod facts;
mod names;
mod podman;
mod proc;
mod set;

use verger_policy::model::printable;

/// The longest message about hostile bytes, bytes of UTF-8.
const MESSAGE_BYTES: usize = 8 << 10;

/// Whether a terminal and a log may see the message as it is. Lines of its own making are allowed.
#[track_caller]
fn assert_shown(message: &str) {
    assert!(message.lines().all(|line| printable(line) == line), "{message:?}");
}

/// [`assert_shown`], of one line that is not longer for longer bytes.
#[track_caller]
fn assert_short(message: &str) {
    assert_eq!(printable(message), message);
    assert!(
        message.len() <= MESSAGE_BYTES,
        "{} bytes: {message:.200}",
        message.len()
    );
}
