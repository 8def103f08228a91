//! Numbers, quantities, paths and labels.

use super::node::{Key, Node, Value};
use super::problem::quoted;
use super::reader::{Form, Got, Reader};
use crate::model::{Labels, is_printable};

/// The largest integer RFC 8785 writes exactly.
pub(super) const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The longest label key and, for most uses, value.
const MAX_LABEL: usize = 4096;

/// Reads an integer between two bounds, both included.
pub(super) fn integer(reader: &mut Reader<'_>, node: &Node, least: u64, most: u64) -> Got<u64> {
    let Value::Number(text) = &node.value else {
        return reader.wrong_sort(node, "an integer");
    };
    match decimal(text) {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(reader.report(
            node.place,
            format!("{} is not an integer from {least} to {most}", quoted(text)),
            "write decimal digits without sign, leading zero, point or exponent",
        )),
    }
}

/// Decimal digits without a leading zero, which other readers take for octal.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Reads a uid or gid. The largest 32-bit number means "no change" to the kernel and is none.
pub(super) fn id(reader: &mut Reader<'_>, node: &Node) -> Got<u32> {
    if let Value::Text { text, .. } = &node.value {
        return Err(reader.report(
            node.place,
            format!(
                "{} is not a number; a name means what the image's /etc/passwd says",
                quoted(text)
            ),
            "write the numeric id",
        ));
    }
    let number = integer(reader, node, 0, u64::from(u32::MAX - 1))?;
    Ok(u32::try_from(number).expect("bounded above"))
}

/// Reads bytes: an integer, or one with a unit.
pub(super) fn bytes(reader: &mut Reader<'_>, node: &Node) -> Got<u64> {
    let Value::Text { text, .. } = &node.value else {
        return integer(reader, node, 1, MAX_INTEGER);
    };
    let units: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let found = (reader.form == Form::Draft)
        .then(|| {
            units
                .iter()
                .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        })
        .flatten()
        .and_then(|(digits, factor)| decimal(digits)?.checked_mul(*factor))
        .filter(|amount| (1..=MAX_INTEGER).contains(amount));
    found.ok_or_else(|| {
        reader.report(
            node.place,
            format!("{} is not an amount of bytes", quoted(text)),
            "write an integer, or one followed by Ki, Mi, Gi, Ti (powers of 1024) or k, M, G, T (of 1000), as in 512Mi",
        )
    })
}

/// Reads thousandths of a core: `1.5`, `2` or `1500m` in a draft, thousandths in canonical bytes.
pub(super) fn millicores(reader: &mut Reader<'_>, node: &Node) -> Got<u64> {
    if reader.form == Form::Canonical {
        return integer(reader, node, 1, MAX_INTEGER);
    }
    let found = match &node.value {
        Value::Number(text) => cores(text),
        Value::Text { text, .. } => text.strip_suffix('m').and_then(decimal),
        _ => return reader.wrong_sort(node, "a number of cores"),
    };
    found
        .filter(|milli| (1..=MAX_INTEGER).contains(milli))
        .ok_or_else(|| {
            reader.report(
                node.place,
                "is not a number of cores",
                "write cores with at most three decimals, as in 1.5, or thousandths of a core, as in 1500m",
            )
        })
}

fn cores(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milli: u64 = format!("{fraction:0<3}").parse().ok()?;
    decimal(whole)?.checked_mul(1000)?.checked_add(milli)
}

/// Reads an absolute path without `.`, `..`, doubled or trailing slashes.
pub(super) fn path(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let text = reader.text(node)?;
    match path_fault(text) {
        None => Ok(text.to_owned()),
        Some(fault) => Err(reader.report(
            node.place,
            format!("the path {} {fault}", quoted(text)),
            "write an absolute path in its shortest form, as in /var/cache",
        )),
    }
}

/// What keeps a path from being absolute and normal.
pub(super) fn path_fault(text: &str) -> Option<&'static str> {
    let Some(rest) = text.strip_prefix('/') else {
        return Some("is not absolute");
    };
    if text.len() > 4095 {
        return Some("is longer than 4095 bytes, the limit of the kernel");
    }
    if text.chars().any(char::is_control) {
        return Some("has control characters in it");
    }
    if rest.is_empty() {
        return None;
    }
    rest.split('/').find_map(|part| match part {
        "" => Some("has a doubled or trailing slash"),
        "." | ".." => Some("has `.` or `..` in it"),
        _ if part.len() > 255 => Some("has a component longer than 255 bytes"),
        _ => None,
    })
}

/// Reads a short text for people: not empty, nothing invisible in it but line ends.
pub(super) fn sentence(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let text = reader.text(node)?;
    if text.trim().is_empty() {
        return Err(reader.report(node.place, "is empty", "write who or why"));
    }
    if text.len() > MAX_LABEL || !text.chars().all(|c| is_printable(c) || c == '\n') {
        return Err(reader.report(
            node.place,
            format!("is longer than {MAX_LABEL} bytes, or has control or invisible characters in it"),
            "write a short plain text",
        ));
    }
    Ok(text.to_owned())
}

/// Reads labels, or a selector over them.
pub(super) fn labels(reader: &mut Reader<'_>, node: &Node) -> Got<Labels> {
    reader.map(node, label_key, label_value).map(Labels)
}

/// Checks the key of a label or annotation: visible ASCII, no spaces.
pub(super) fn label_key(reader: &mut Reader<'_>, key: &Key) -> Got<()> {
    if !key.text.is_empty() && key.text.len() <= 253 && key.text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(reader.report(
        key.place,
        format!("{} is not the key of a label", quoted(&key.text)),
        "write 1 to 253 visible ASCII characters without spaces",
    ))
}

fn label_value(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let text = reader.text(node)?;
    if text.len() <= MAX_LABEL && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(reader.report(
        node.place,
        format!("the value of a label is longer than {MAX_LABEL} bytes or has control characters in it"),
        "write a short plain text, or use an annotation",
    ))
}
