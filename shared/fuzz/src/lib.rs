//! Inputs for fuzz targets: valid ones with damage done to them, and now and then bytes that never were valid.
//!
//! Random bytes alone never get past the first brace of a document. So a target gives what its parser accepts, and
//! [`Damaged`] edits it: single bytes of any input, and whole fields of those whose structure it knows. Every choice
//! comes from bolero's driver, so the same targets run under its random engine and under a coverage-guided one.
//!
//! For tests only: no crate may depend on this one but for them.

mod bytes;
mod dice;
mod framing;
mod json;
mod lines;
mod proto;

use std::fmt;
use std::ops::Deref;

use bolero::{Driver, ValueGenerator};

use dice::{below, chance};
use framing::Count;

/// The most bytes of an input: enough for every shape, and little enough for a thousand inputs a second.
pub const MOST_BYTES: usize = 64 << 10;
/// The most edits of one sort that are done to one input.
const MOST_EDITS: usize = 4;
/// The most bytes of an input that never was valid.
const MOST_NOISE: usize = 512;

/// Bytes for a parser. Shown as a byte string that can be pasted into a regression test.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(Vec<u8>);

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Input {
    /// The input as text, with U+FFFD for what is no UTF-8: for parsers that are given text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// What is known of the structure of the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bytes,
    Lines,
    Json,
    Proto,
}

/// Makes inputs of seeds.
#[derive(Clone, Debug)]
pub struct Damaged {
    seeds: Vec<Vec<u8>>,
    form: Form,
    prefix: &'static [u8],
    framing: Option<fn(&[u8]) -> bool>,
    count: Count,
}

impl Damaged {
    fn new<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>, form: Form) -> Self {
        let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|seed| seed.as_ref().to_vec()).collect();
        assert!(!seeds.is_empty(), "a target gives at least one valid input");
        Self {
            seeds,
            form,
            prefix: b"",
            framing: None,
            count: Count::new(form != Form::Bytes),
        }
    }

    /// Says what the framing of bytes is that their reader checks first: a length, a magic number, a checksum. That of lines
    /// is UTF-8, and that of JSON and protobuf their syntax; bytes have none unless it is said here.
    #[must_use]
    pub fn framed(self, framing: fn(&[u8]) -> bool) -> Self {
        Self {
            framing: Some(framing),
            count: Count::new(true),
            ..self
        }
    }

    fn is_framed(&self, input: &[u8]) -> bool {
        if let Some(framing) = self.framing {
            return framing(input);
        }
        match self.form {
            Form::Bytes => false,
            Form::Lines => std::str::from_utf8(input).is_ok(),
            Form::Json => input.strip_prefix(self.prefix).is_some_and(json::is_syntax),
            Form::Proto => input.strip_prefix(self.prefix).is_some_and(proto::is_syntax),
        }
    }

    /// Bytes of which nothing is known.
    pub fn bytes<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self::new(seeds, Form::Bytes)
    }

    /// Text in lines, such as YAML, PEM, TOML and the files of `/proc`: lines are also dropped, doubled, moved and taken from
    /// other seeds.
    pub fn lines<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self::new(seeds, Form::Lines)
    }

    /// JSON: members are also dropped, renamed, moved and replaced by values that parsers like to get wrong.
    pub fn json<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self::new(seeds, Form::Json)
    }

    /// Protobuf messages: fields are also dropped, doubled, renumbered and given other values, their lengths kept right.
    pub fn proto<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self::new(seeds, Form::Proto)
    }

    /// The same for seeds that begin with `prefix`, which only edits of bytes touch.
    #[must_use]
    pub fn after(self, prefix: &'static [u8]) -> Self {
        Self { prefix, ..self }
    }

    fn seed<D: Driver>(&self, driver: &mut D) -> Option<&[u8]> {
        let at = below(driver, self.seeds.len())?;
        Some(&self.seeds[at])
    }

    fn restructured<D: Driver>(&self, driver: &mut D, seed: &[u8]) -> Option<Vec<u8>> {
        let Some(body) = seed.strip_prefix(self.prefix) else {
            return Some(seed.to_vec());
        };
        let other = self.seed(driver)?;
        let other = other.strip_prefix(self.prefix).unwrap_or(other);
        let edits = below(driver, MOST_EDITS + 1)?;
        let body = match self.form {
            Form::Bytes => body.to_vec(),
            Form::Lines => lines::edit(driver, body, other, edits)?,
            Form::Json => json::edit(driver, body, other, edits)?,
            Form::Proto => proto::edit(driver, body, edits)?,
        };
        Some([self.prefix, &body].concat())
    }
}

impl ValueGenerator for Damaged {
    type Output = Input;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Input> {
        let input = self.make(driver)?;
        self.count.input(|| self.is_framed(&input));
        Some(Input(input))
    }
}

impl Damaged {
    fn make<D: Driver>(&self, driver: &mut D) -> Option<Vec<u8>> {
        if chance(driver, 16)? {
            return bytes::noise(driver, MOST_NOISE);
        }
        let seed = self.seed(driver)?;
        let mut input = self.restructured(driver, seed)?;
        // Half of the inputs whose structure is known keep it whole: else nothing would pass the checks behind the syntax.
        let edits = match self.form {
            // A checksum holds of what is whole alone.
            Form::Bytes if chance(driver, 4)? => 0,
            Form::Bytes => below(driver, 2 * MOST_EDITS)?,
            _ if chance(driver, 2)? => 0,
            _ => below(driver, MOST_EDITS)?,
        };
        let other = self.seed(driver)?;
        for _ in 0..edits {
            bytes::edit(driver, &mut input, other)?;
        }
        input.truncate(MOST_BYTES);
        Some(input)
    }
}
