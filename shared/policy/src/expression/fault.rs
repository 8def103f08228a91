//! What is wrong with an expression.

use std::fmt;

use crate::model::{printable, printable_within};

/// What is wrong with an expression, and where. `Display` is a sentence with the place and the remedy, and safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// The line in the expression, from 1.
    pub line: u32,
    /// The column in the line, in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
            remedy,
        } = self;
        write!(
            f,
            "line {line}, column {column} of the expression: {}; {}",
            printable(message),
            printable(remedy)
        )
    }
}

impl Fault {
    /// Of what is refused since it and what is judged with it may take more steps than are allowed.
    pub(crate) fn too_dear() -> Self {
        Place::START.fault(
            "the checks of its guardrail may together take more steps than are allowed",
            "nest fewer loops, or make several guardrails of it",
        )
    }
}

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    pub(super) fn fault(self, message: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault {
            line: self.line,
            column: self.column,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// Text of an expression in backquotes, escaped and cut.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", printable_within(text, 60))
}
