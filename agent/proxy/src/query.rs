//! The part of a target after the question mark.

use std::collections::BTreeMap;

use crate::{Refusal, shown};

/// Keys that mean a list when they are given more than once.
const LISTS: [&str; 10] = [
    "changes",
    "containers",
    "fields",
    "images",
    "names",
    "osfeature",
    "platform",
    "references",
    "setenv",
    "t",
];

/// Each key of a query with its values, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Reads a query of which only these keys are known. Other readers take a semicolon for an ampersand, or the last of two values: so
    /// there is no such thing in it.
    pub(crate) fn read(text: &str, known: &str) -> Result<Self, Refusal> {
        let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.split_whitespace().any(|word| word == key) {
                return Err(Refusal::unclear(format!(
                    "verger: the query key `{}` is not one that is known here",
                    shown(key)
                )));
            }
            let value = decoded(value).ok_or_else(|| {
                Refusal::unclear(format!("verger: the value of `{key}` in the query is malformed"))
            })?;
            let values = pairs.entry(key.to_owned()).or_default();
            if !values.is_empty() && !LISTS.contains(&key) {
                return Err(Refusal::unclear(format!(
                    "verger: `{key}` is given twice in the query"
                )));
            }
            values.push(value);
        }
        Ok(Self(pairs))
    }

    /// The value of a key; empty where it is not given.
    pub(crate) fn get(&self, key: &str) -> &str {
        let values = self.0.get(key);
        values
            .and_then(|values| values.first())
            .map_or("", String::as_str)
    }

    /// Gives a key another value, and no more than that one.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), vec![value.to_owned()]);
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// The query with another value for a key, encoded anew.
    pub(crate) fn encoded(&self, replaced: Option<(&str, &str)>) -> String {
        let mut text = String::new();
        for (key, values) in &self.0 {
            for value in values {
                let value = match replaced {
                    Some((changed, other)) if changed == key => other,
                    _ => value,
                };
                text.push(if text.is_empty() { '?' } else { '&' });
                text.push_str(key);
                text.push('=');
                encode(value, &mut text);
            }
        }
        text
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
                u8::try_from(value).ok()?
            }
            b';' => return None,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                into.push(char::from(byte))
            }
            other => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                into.push('%');
                into.push(char::from(DIGITS[usize::from(other >> 4)]));
                into.push(char::from(DIGITS[usize::from(other & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bolero::check;

    use super::*;

    #[test]
    fn what_two_readers_could_read_as_two_things_is_refused() {
        for text in [
            "a=1&a=2", "a=1;b=2", "b;a=1", "a=%zz", "a=%2", "a=%ff", "%61=1", "c=1", "A=1",
        ] {
            assert!(Query::read(text, "a b").is_err(), "{text}");
        }
        let query = Query::read("a=x%20y+z&b&t=1&t=2", "a b t").unwrap();
        assert_eq!(
            (query.get("a"), query.get("b"), query.get("c")),
            ("x y z", "", "")
        );
        assert_eq!(query.encoded(Some(("a", "q"))), "?a=q&b=&t=1&t=2");
    }

    #[test]
    fn what_is_sent_on_says_what_was_read() {
        check!()
            .with_type::<String>()
            .with_iterations(2_000)
            .for_each(|value| {
                let mut text = "a=".to_owned();
                encode(value, &mut text);
                let query = Query::read(&text, "a").unwrap();
                assert_eq!(query.get("a"), value);
                assert_eq!(Query::read(&query.encoded(None)[1..], "a").unwrap(), query);
            });
    }
}
