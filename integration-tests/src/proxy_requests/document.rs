//! Documents that can be written in more ways than any writer would, and their mutations.

use serde_json::Value;

use crate::dice::Dice;

use super::seeds::{REACHING, STAYING};

/// A document, as it is spelled.
#[derive(Clone, Debug)]
pub(super) enum Json {
    /// As it stands: a number, a word, or what is none.
    Raw(String),
    /// What is between the quotes.
    Text(String),
    List(Vec<Json>),
    /// Keys as they are between their quotes, and as often as they are given.
    Object(Vec<(String, Json)>),
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        let inside = |text: &str| {
            let quoted = Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        match value {
            Value::String(text) => Self::Text(inside(text)),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(key, value)| (inside(key), Self::from(value)))
                    .collect(),
            ),
            other => Self::Raw(other.to_string()),
        }
    }
}

fn json(text: &str) -> Json {
    serde_json::from_str::<Value>(text)
        .map_or_else(|_| Json::Raw(text.to_owned()), |value| Json::from(&value))
}

impl Json {
    pub(super) fn written(&self, into: &mut String) {
        match self {
            Self::Raw(text) => into.push_str(text),
            Self::Text(text) => {
                into.push('"');
                into.push_str(text);
                into.push('"');
            }
            Self::List(items) => {
                into.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        into.push(',');
                    }
                    item.written(into);
                }
                into.push(']');
            }
            Self::Object(members) => {
                into.push('{');
                for (place, (key, value)) in members.iter().enumerate() {
                    if place > 0 {
                        into.push(',');
                    }
                    into.push('"');
                    into.push_str(key);
                    into.push_str("\":");
                    value.written(into);
                }
                into.push('}');
            }
        }
    }

    fn count(&self) -> u64 {
        1 + match self {
            Self::List(items) => items.iter().map(Self::count).sum(),
            Self::Object(members) => members.iter().map(|(_, value)| value.count()).sum(),
            Self::Raw(_) | Self::Text(_) => 0,
        }
    }

    /// The value of this number, in the order of writing; `left` is counted down.
    fn nth(&mut self, left: &mut u64) -> Option<&mut Self> {
        if *left == 0 {
            return Some(self);
        }
        *left -= 1;
        match self {
            Self::List(items) => items.iter_mut().find_map(|item| item.nth(left)),
            Self::Object(members) => members.iter_mut().find_map(|(_, value)| value.nth(left)),
            Self::Raw(_) | Self::Text(_) => None,
        }
    }

    fn host(&mut self) -> Option<&mut Self> {
        let Self::Object(members) = self else { return None };
        let host = members.iter_mut().find(|(key, _)| key == "HostConfig")?;
        Some(&mut host.1)
    }
}

/// Changes a document in one way.
pub(super) fn mutate(document: &mut Json, dice: &mut Dice) {
    // Half of what is added or changed is where Docker looks for the host's part.
    if dice.below(3) == 0 {
        let pool = if dice.below(3) == 0 { STAYING } else { REACHING };
        if let Some((key, value)) = dice.pick(pool) {
            let value = json(value);
            let place = match dice.below(4) {
                0 => Some(&mut *document),
                _ => document.host(),
            };
            if let Some(Json::Object(members)) = place {
                let at = usize::try_from(dice.below(members.len() as u64 + 1)).unwrap_or(0);
                members.insert(at, ((*key).to_owned(), value));
            }
        }
        return;
    }
    let mut at = dice.below(document.count());
    let Some(place) = document.nth(&mut at) else {
        return;
    };
    match (dice.below(9), place) {
        (0..=3, Json::Object(members)) => key(members, dice),
        (4, Json::Object(members)) if !members.is_empty() => {
            // Given twice, in one case or two, with one value or two.
            let from = usize::try_from(dice.below(members.len() as u64)).unwrap_or(0);
            let (mut name, mut value) = members[from].clone();
            if dice.below(2) == 0 {
                name = respelled(&name, dice);
            }
            if dice.below(2) == 0 {
                value = other(dice);
            }
            let to = usize::try_from(dice.below(members.len() as u64 + 1)).unwrap_or(0);
            members.insert(to, (name, value));
        }
        (5, Json::Object(members)) if !members.is_empty() => {
            members.remove(usize::try_from(dice.below(members.len() as u64)).unwrap_or(0));
        }
        (6, Json::Object(members)) => {
            let under = (*dice
                .pick(&["HostConfig", "Config", "hostconfig", "x", ""])
                .unwrap_or(&""))
            .to_owned();
            *members = vec![(under, Json::Object(std::mem::take(members)))];
        }
        (0..=4, Json::Text(text)) => *text = respelled(text, dice),
        (5, Json::List(items)) if !items.is_empty() => {
            let one = items[usize::try_from(dice.below(items.len() as u64)).unwrap_or(0)].clone();
            items.push(one);
        }
        (6, place @ Json::List(_)) => {
            // One of a list in place of the list.
            if let Json::List(items) = place
                && let Some(one) = items.pop()
            {
                *place = one;
            }
        }
        (7, place) => *place = Json::List(vec![place.clone()]),
        (_, place) => *place = other(dice),
    }
}

fn key(members: &mut [(String, Json)], dice: &mut Dice) {
    if members.is_empty() {
        return;
    }
    let at = usize::try_from(dice.below(members.len() as u64)).unwrap_or(0);
    members[at].0 = respelled(&members[at].0, dice);
}

/// A word in another spelling, which some reader takes for the same.
fn respelled(word: &str, dice: &mut Dice) -> String {
    match dice.below(10) {
        0 => word.to_lowercase(),
        1 => word.to_uppercase(),
        2 => word
            .chars()
            .map(|c| {
                if dice.below(2) == 0 {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect(),
        3 => word.replacen(['s', 'S'], "\u{17f}", 1),
        4 => word.replacen(['k', 'K'], "\u{212a}", 1),
        5 => word.replacen(['s', 'S'], "\\u017f", 1),
        6 => {
            let letters: Vec<char> = word.chars().collect();
            let Some(at) = letters
                .len()
                .checked_sub(1)
                .map(|most| dice.below(most as u64 + 1))
            else {
                return word.to_owned();
            };
            let escaped = letters
                .iter()
                .enumerate()
                .map(|(place, c)| match place as u64 == at {
                    true if c.is_ascii_alphanumeric() => format!("\\u{:04x}", u32::from(*c)),
                    _ => c.to_string(),
                });
            escaped.collect()
        }
        7 => format!(
            "{}{word}",
            dice.pick(&[" ", "\\t", "\\u0000", "\u{feff}", "\u{200b}"])
                .unwrap_or(&"")
        ),
        8 => format!(
            "{word}{}",
            dice.pick(&[" ", "\\n", "\\u0000", "\u{301}", "\\ud800", ":ro"])
                .unwrap_or(&"")
        ),
        _ => (*dice
            .pick(&[
                "host",
                "Host",
                "HOST",
                "container:WEB",
                "",
                "/",
                "bind",
                "volume",
                "Privileged",
                "HostConfig",
                "ALL",
                "../../etc:/x",
                "./etc:/x",
                "~:/x",
                "C:\\\\x:/x",
                "a:/x",
                "/etc",
                "local",
                "macvlan",
                "CAP_SYS_ADMIN",
                "$serde_json::private::RawValue",
                "default",
                "unconfined",
            ])
            .unwrap_or(&""))
        .to_owned(),
    }
}

/// Something else.
fn other(dice: &mut Dice) -> Json {
    json(
        dice.pick(&[
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "1e400",
            "-0",
            "18446744073709551616",
            "0.5",
            "\"true\"",
            "\"1\"",
            "\"host\"",
            "\"\"",
            "[]",
            "{}",
            "[true]",
            "[null]",
            "{\"a\":\"b\"}",
            "[\"SYS_ADMIN\"]",
            "\"SYS_ADMIN\"",
            "[\"/:/host\"]",
            "[{\"Type\":\"bind\",\"Source\":\"/\",\"Target\":\"/host\"}]",
            "tRue",
            "NaN",
            "+1",
            "01",
            "'x'",
            "-1000",
            "\"/\"",
        ])
        .unwrap_or(&"null"),
    )
}

/// Writes a document, and does to the bytes what a document cannot say.
pub(super) fn spoiled(document: &Json, dice: &mut Dice, padded: bool) -> Vec<u8> {
    let mut text = String::new();
    document.written(&mut text);
    if padded {
        let padding = format!("{{\"Labels\":{{\"pad\":\"{}\"}},", "x".repeat(1_100_000));
        text.replace_range(..1.min(text.len()), &padding);
    }
    let mut bytes = text.into_bytes();
    let at = |bytes: &[u8], dice: &mut Dice| usize::try_from(dice.below(bytes.len() as u64 + 1)).unwrap_or(0);
    match dice.below(60) {
        0 => bytes.splice(..0, *b"\xef\xbb\xbf").for_each(drop),
        1 => {
            let end = at(&bytes, dice);
            bytes.truncate(end);
        }
        2 => bytes.extend_from_slice(b" {\"HostConfig\":{\"Privileged\":true}}"),
        3 => bytes.extend_from_slice(
            dice.pick(&[&b"}"[..], b"\n\n", b"\0", b",", b"null", b"// x"])
                .unwrap_or(&&b""[..]),
        ),
        4 => {
            let place = at(&bytes, dice);
            let few = *dice
                .pick(&[
                    &b"\xff"[..],
                    b"\xc2\xa0",
                    b"\0",
                    b"\\",
                    b"\"",
                    b"/**/",
                    b",",
                    b"\xed\xa0\x80",
                    b" \t\r\n",
                ])
                .unwrap_or(&&b""[..]);
            bytes.splice(place..place, few.iter().copied()).for_each(drop);
        }
        5 => {
            let place = at(&bytes, dice);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << dice.below(8);
            }
        }
        6 => {
            let wide: Vec<u8> = String::from_utf8_lossy(&bytes)
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect();
            bytes = wide;
        }
        7 => {
            let levels = usize::try_from(dice.below(200)).unwrap_or(0);
            let mut nested = "[".repeat(levels).into_bytes();
            nested.extend(bytes);
            nested.extend("]".repeat(levels).into_bytes());
            bytes = nested;
        }
        8 => bytes.clear(),
        9 => {
            let spaced = String::from_utf8_lossy(&bytes)
                .replace(':', " : \r\n\t")
                .into_bytes();
            bytes = spaced;
        }
        _ => {}
    }
    bytes
}
