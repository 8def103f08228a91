//! What a request to a container runtime's API asks for, and whether whoever sends it may have it.
//!
//! The APIs are Docker's (Engine API, 1.24 to 1.41) and Podman's (4.0 to 4.3): Docker's, as Podman reads it, and its own. A request is classified
//! by a table; what the table does not hold is refused, and so is whatever the daemon could read otherwise than this crate: escaped paths, keys in
//! another spelling, keys given twice.
//!
//! Everything here is values. The crate does no I/O and knows no async runtime; the agent carries requests to and fro.

mod body;
mod call;
mod further;
mod head;
mod judge;
mod known;
mod query;
mod table;

#[cfg(test)]
mod fuzz;

pub use body::{Document, JSON_BYTES};
pub use call::{Call, On, Wish};
pub use judge::{Caller, Policy, Subjects, decide, narrowed};
pub use known::{Known, Made, container, image, made_id};
pub use table::{Answer, Body, Engine, Method, NEWEST, Route};

use verger_policy::model::printable_within;

/// The longest text of somebody's that a refusal shows, characters.
const SHOWN: usize = 120;

/// Why a request goes no further. Shown to whoever sent it; hostile bytes in it are escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The HTTP status of the answer.
    pub status: u16,
    /// What is said.
    pub message: String,
}

impl Refusal {
    /// It is no request that this crate can read one way only.
    pub(crate) fn unclear(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
        }
    }

    /// It may not be done.
    pub fn denied(message: impl Into<String>) -> Self {
        Self {
            status: 403,
            message: message.into(),
        }
    }
}

/// Somebody's text, for a refusal.
pub(crate) fn shown(text: &str) -> String {
    printable_within(text, SHOWN)
}
