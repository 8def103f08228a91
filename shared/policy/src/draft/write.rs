//! Policy objects as YAML for people.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::node::{Value, is_ambiguous_word, resolve};
use crate::model::{PolicyObject, is_printable};

/// The order in which people read fields; what is not listed follows in the order of the alphabet.
const ORDER: [&str; 52] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "labels",
    "annotations",
    "spec",
    "match",
    "container",
    "image",
    "select",
    "profile",
    "rules",
    "checks",
    "id",
    "expression",
    "message",
    "control",
    "role",
    "subjects",
    "effect",
    "verbs",
    "resources",
    "names",
    "scope",
    "workload",
    "agent",
    "hosts",
    "workloads",
    "mode",
    "tighten",
    "default",
    "unknown",
    "config",
    "images",
    "command",
    "env",
    "user",
    "uid",
    "gid",
    "groups",
    "workingDir",
    "target",
    "path",
    "listen",
    "source",
    "access",
    "soft",
    "hard",
    "owner",
    "reason",
    "ticket",
];

/// Writes an object so that [`super::read`] gives the same object back.
///
/// Text that any YAML reader could take for something else, and every character a terminal could act on, is quoted
/// and escaped. Quantities are written with units.
pub fn write(object: &PolicyObject) -> String {
    let bytes = object.canonical_bytes();
    let json = bytes
        .strip_prefix(crate::model::OBJECT_PREFIX)
        .expect("canonical bytes begin with the prefix");
    let Ok(Json::Object(mut root)) = crate::json::parse(json) else {
        unreachable!("canonical bytes are a JSON map")
    };
    if !object.metadata.annotations.is_empty()
        && let Some(Json::Object(metadata)) = root.get_mut("metadata")
    {
        let annotations = object
            .metadata
            .annotations
            .iter()
            .map(|(key, text)| (key.clone(), text.as_str().into()));
        metadata.insert("annotations".to_owned(), Json::Object(annotations.collect()));
    }
    if let Some(Json::Object(limits)) = root
        .get_mut("spec")
        .and_then(|spec| spec.pointer_mut("/config/limits"))
    {
        for (name, value) in limits {
            match (name.as_str(), value.as_u64()) {
                ("memory", Some(bytes)) => {
                    if let Some(amount) = with_unit(bytes) {
                        *value = amount.into();
                    }
                }
                ("cpu", Some(milli)) => *value = format!("{milli}m").into(),
                _ => {}
            }
        }
    }
    let mut out = String::new();
    map(&mut out, &root, 0);
    out
}

fn with_unit(bytes: u64) -> Option<String> {
    let units = [
        ("Ti", 1_u64 << 40),
        ("Gi", 1 << 30),
        ("Mi", 1 << 20),
        ("Ki", 1 << 10),
    ];
    let (unit, factor) = units.iter().find(|(_, factor)| bytes.is_multiple_of(*factor))?;
    Some(format!("{}{unit}", bytes / factor))
}

fn map(out: &mut String, map: &Map<String, Json>, indent: usize) {
    let rank = |name: &str| {
        ORDER
            .iter()
            .position(|known| *known == name)
            .unwrap_or(ORDER.len())
    };
    let mut fields: Vec<(&String, &Json)> = map.iter().collect();
    fields.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
    for (index, (name, value)) in fields.into_iter().enumerate() {
        if index > 0 || indent == 0 {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        text(out, name);
        out.push(':');
        field(out, value, indent + 2);
    }
}

/// Writes what follows `key:`.
fn field(out: &mut String, value: &Json, indent: usize) {
    match value {
        Json::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            map(out, fields, indent);
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                match item {
                    Json::Object(fields) if !fields.is_empty() => {
                        out.push(' ');
                        map(out, fields, indent + 2);
                        out.truncate(out.trim_end_matches('\n').len());
                    }
                    item => scalar(out, item),
                }
            }
            out.push('\n');
        }
        value => {
            scalar(out, value);
            out.push('\n');
        }
    }
}

fn scalar(out: &mut String, value: &Json) {
    out.push(' ');
    match value {
        Json::String(value) => text(out, value),
        // Empty lists and maps, numbers, truth: their JSON is their YAML.
        value => write!(out, "{value}").expect("a String takes everything"),
    }
}

fn text(out: &mut String, value: &str) {
    if is_plain(value) {
        return out.push_str(value);
    }
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => write!(out, "\\U{:08x}", u32::from(c)).expect("a String takes everything"),
        }
    }
    out.push('"');
}

/// Whether the text means itself without quotes, to readers of YAML 1.1 too (whose numbers may hold `:` and `_`).
fn is_plain(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !value.ends_with(':')
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b':'))
        && !is_ambiguous_word(value)
        && matches!(resolve(value), Value::Text { .. })
}
