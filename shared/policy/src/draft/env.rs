//! The `env` block: which variables, and which are too dangerous for a glob.

use super::node::{Key, Node};
use super::problem::quoted;
use super::reader::{Got, Reader};
use crate::model::{EnvRule, steering_variable};

/// Reads `env`.
pub(super) fn env(reader: &mut Reader<'_>, node: &Node) -> Got<EnvRule> {
    let mut fields = reader.open(node)?;
    let require = fields.optional(reader, "require", |reader, node| {
        reader.map(node, name, |r, n| r.text(n).map(str::to_owned))
    });
    let allow = fields.optional(reader, "allow", |reader, node| reader.set(node, allowed));
    fields.close(reader)?;
    Ok(EnvRule {
        require: require?.unwrap_or_default(),
        allow: allow?.unwrap_or_default(),
    })
}

fn name(reader: &mut Reader<'_>, key: &Key) -> Got<()> {
    match name_fault(&key.text) {
        None => Ok(()),
        Some(fault) => Err(reader.report(
            key.place,
            format!("{} {fault}", quoted(&key.text)),
            "write the name of an environment variable, as in TZ",
        )),
    }
}

fn name_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.contains('=') {
        return Some("has `=` in it");
    }
    (text.chars().any(|c| c.is_control() || c.is_whitespace()))
        .then_some("has spaces or control characters in it")
}

fn allowed(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let text = reader.text(node)?;
    let stem = text.strip_suffix('*').unwrap_or(text);
    if stem.contains(['*', '?', '[']) {
        return Err(reader.report(
            node.place,
            format!("{} has a wildcard inside", quoted(text)),
            "a glob is a name with one `*` at its end, as in PAYMENTS_*",
        ));
    }
    if text == "*" {
        return Err(reader.report(
            node.place,
            "`*` would allow every variable, and with them those that choose which code runs",
            "list names or prefixes; or write `env: any`, which is reported as not evaluated",
        ));
    }
    if let Some(fault) = name_fault(stem) {
        return Err(reader.report(
            node.place,
            format!("{} {fault}", quoted(text)),
            "write a name, or a prefix and `*`",
        ));
    }
    match steering_variable(text) {
        None => Ok(text.to_owned()),
        Some((variable, reason)) => Err(reader.report(
            node.place,
            format!("{} would let {variable} have any value: {reason}", quoted(text)),
            "state its value under `require`, or write a longer prefix",
        )),
    }
}
