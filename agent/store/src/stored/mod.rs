//! Stored forms, format 1: JSON of structs of this module. Domain structs are never written as they are, so that
//! a change of the domain does not change what is on disk; the frozen tests hold the bytes.

mod finding;
mod set;

pub(crate) use finding::{StoredFinding, StoredQueue, StoredTransition};
use serde::Serialize;
use serde::de::DeserializeOwned;
pub(crate) use set::{StoredEntry, StoredHead};
use verger_policy::model::printable_within;

/// Encodes a stored form.
pub(crate) fn write(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("strings, integers and maps with string keys")
}

/// Decodes a stored form.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| told(&error))
}

/// Parses a stored word, number or name.
pub(crate) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| told(&error))
}

/// A parser's words, which may repeat what it read: names from containers.
fn told(error: &impl std::fmt::Display) -> String {
    printable_within(&error.to_string(), 300)
}
