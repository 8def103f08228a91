//! JSON trees in which every key means itself.
//!
//! `serde_json`'s own reader of trees takes an object with the one key `$serde_json::private::RawValue` for a text that is to
//! be parsed again. Labels and variables may have that name, and a seccomp filter could be dressed up as another.

pub mod strict;

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The largest integer that every reader of JSON counts alike (RFC 8785, I-JSON).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Reads one document. Of a doubled key the last counts.
///
/// # Errors
/// When it is no JSON, or nests deeper than 128.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(bytes).map(|Tree(value)| value)
}

/// Whether RFC 8785 writes every number of the tree exactly: two trees that differ have two canonical forms then.
pub(crate) fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(n), _) => n <= MAX_INTEGER,
            (None, Some(n)) => n.unsigned_abs() <= MAX_INTEGER,
            (None, None) => false,
        },
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Tree(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Tree(value))) = members.next_entry::<String, Tree>()? {
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_that_serde_json_keeps_for_itself_is_a_key() {
        let text = br#"{"a":[1,-2,1.5,null,true,"x"],"b":{"$serde_json::private::RawValue":"{\"c\":1}"}}"#;
        let value = parse(text).unwrap();
        assert_eq!(value["b"]["$serde_json::private::RawValue"], "{\"c\":1}");
        assert_eq!(serde_json::to_vec(&value).unwrap(), text);
        assert!(parse(&b"[".repeat(200)).is_err() && parse(b"{} {}").is_err() && parse(b"1e400").is_err());
    }

    #[test]
    fn numbers_that_would_be_rounded_are_told() {
        for (text, exact) in [
            ("[9007199254740991,-9007199254740991,0]", true),
            ("[9007199254740992]", false),
            ("{\"a\":-9007199254740992}", false),
            ("18446744073709551615", false),
            ("0.1", false),
        ] {
            assert_eq!(is_exact(&parse(text.as_bytes()).unwrap()), exact, "{text}");
        }
    }
}
