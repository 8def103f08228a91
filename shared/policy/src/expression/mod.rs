//! Expressions that people write in guardrails: a bounded part of CEL, the Common Expression Language (cel-spec 0.24).
//!
//! What is read here means what CEL says it means, with one exception: an error in what is evaluated is the result, where CEL lets `||`
//! and `&&` pass over it. Left out is what has no bound or no type: regular expressions, floating point, bytes, timestamps, maps and
//! lists that are built (but lists of literals), joined text, `map`, functions of extensions.
//!
//! Every expression has a type before it runs, so that a misspelt field is refused when it is written and not found out when it matters;
//! and a cost, from the bounds of what it looks at ([`Expression::cost`]): none above [`MAX_COST`] is read. There is no clock here: what
//! is bounded is what is done.

mod code;
mod evaluate;
mod fault;
mod parse;
mod resolve;
mod token;
mod types;
mod value;
mod view;

pub use evaluate::Verdict;
pub use fault::Fault;
pub use types::{MAX_MEMBERS, MAX_TEXT, Member, Type};
pub use value::Value;
pub use view::{FIELDS, Field, Subject};

use code::Resolved;

/// The longest expression, bytes.
pub const MAX_EXPRESSION: usize = 2048;

/// The deepest nesting: parentheses, brackets, operators in operators.
pub const MAX_DEPTH: usize = 32;

/// The most parts: literals, names, operators, calls.
pub const MAX_PARTS: usize = 256;

/// The most elementary steps that evaluating may take; comparing 64 bytes of text is one. Some ten milliseconds.
pub const MAX_COST: u64 = 1_000_000;

/// An expression that is true or false, and may be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: String,
    resolved: Resolved,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where: syntax, a field that there is not, a type that does not fit, a result other than
    /// true or false, or more than [`MAX_EXPRESSION`], [`MAX_DEPTH`], [`MAX_PARTS`] or [`MAX_COST`] allow.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let node = parse::parse(text)?;
        Ok(Self {
            text: text.to_owned(),
            resolved: resolve::resolve(&node)?,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fields it looks at, in the order of [`FIELDS`].
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.resolved.fields.iter().map(|place| &FIELDS[*place])
    }

    /// The most steps that evaluating it takes, whatever it looks at.
    pub const fn cost(&self) -> u64 {
        self.resolved.cost
    }

    /// Its value, where that is the same for everything.
    pub fn constant(&self) -> Option<bool> {
        evaluate::constant(&self.resolved.code)
    }

    /// Evaluates it. True of nothing of which a field that it looks at was not seen, whatever the rest of it says.
    pub fn judge(&self, subject: &Subject<'_>) -> Verdict {
        evaluate::judge(&self.resolved, subject)
    }
}

#[cfg(test)]
mod tests;
