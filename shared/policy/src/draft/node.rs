//! The tree of a draft, with where each value stands.

use std::sync::Arc;

/// A value and its place. Clones share what is below.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Line and column in characters, both from 1; 0 where the input has none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value after the core schema of YAML 1.2.2 (§10.3). Numbers stay text, so that nothing is rounded.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Arc<str>),
    Text { text: Arc<str>, quoted: bool },
    List(Arc<[Node]>),
    Map(Arc<[(Key, Node)]>),
}

/// A key: always text.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: Arc<str>,
    pub(super) place: Place,
}

impl Node {
    /// Whether it is text that stands in quotes.
    pub(super) const fn is_quoted(&self) -> bool {
        matches!(self.value, Value::Text { quoted: true, .. })
    }

    /// What it is, for a message.
    pub(super) const fn sort(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Resolves an unquoted scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.into()),
        _ => Value::Text {
            text: text.into(),
            quoted: false,
        },
    }
}

/// Whether other YAML readers take this unquoted text for true or false (YAML 1.1 `bool`).
pub(super) fn is_ambiguous_word(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "on"
            | "On"
            | "ON"
            | "off"
            | "Off"
            | "OFF"
    )
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)));
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    exponent_fits && mantissa_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_resolve_by_the_core_schema() {
        for text in [
            "0", "-1", "+12", "0o17", "0xfF", "1.", ".5", "1.5e-3", "-.inf", ".nan", "0755", "1e5",
        ] {
            assert!(matches!(resolve(text), Value::Number(_)), "{text}");
        }
        for text in [
            "-",
            "+",
            ".",
            "0o8",
            "0x",
            "1.2.3",
            "e5",
            "512Mi",
            "8080/tcp",
            "yes",
            "1_000",
            "sha256:00",
            "-.nan",
        ] {
            assert!(
                matches!(resolve(text), Value::Text { quoted: false, .. }),
                "{text}"
            );
        }
        assert!(matches!(resolve("~"), Value::Null));
        assert!(matches!(resolve("True"), Value::Bool(true)));
    }
}
