//! Between the wire and the domain: the only crate that names both.
//!
//! Parsing is strict and happens here, once: past it there is no `Option` from a message and no unvalidated string. Every
//! message is taken apart by field name, so that a new field breaks the build.

pub mod audit;
mod check;
mod finding;
#[cfg(test)]
mod fuzz;
mod head;
mod parts;
mod set;
mod transition;

pub use finding::lifecycle_of_number;

/// Makes a domain value of a message.
pub trait FromWire<M>: Sized {
    /// Parses.
    ///
    /// # Errors
    /// Names the field that is missing or not valid.
    fn from_wire(message: M) -> Result<Self, InvalidMessage>;
}

/// Makes a message of a domain value.
pub trait IntoWire<M> {
    /// Renders.
    fn into_wire(self) -> M;
}

/// A message that has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {what}")]
pub struct InvalidMessage {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it; never repeats its bytes.
    pub what: String,
}

impl InvalidMessage {
    /// Names a field and what is wrong with it.
    pub fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            what: what.into(),
        }
    }

    /// The same problem, one level further out.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

pub use parts::{digest, digest_bytes, digest_text, instant, parse, required, timestamp};
