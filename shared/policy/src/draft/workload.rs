//! `Workload` drafts.

use std::collections::BTreeMap;

use super::config::config;
use super::node::Node;
use super::problem::quoted;
use super::reader::{Got, Reader};
use super::role::words;
use super::scalar::labels;
use crate::model::{ContainerHint, Control, Mode, Modes, Tighten, Workload};

/// Reads the `spec` of a workload.
pub(super) fn workload(reader: &mut Reader<'_>, node: &Node) -> Got<Workload> {
    let mut fields = reader.open(node)?;
    let hint = fields.optional(reader, "match", hint);
    let hosts = fields.optional(reader, "hosts", labels);
    let mode = fields.optional(reader, "mode", modes);
    let tighten = fields.optional(reader, "tighten", |reader, node| {
        words(reader, node, Tighten::ALL, Tighten::word)
    });
    let config = fields.required(reader, "config", "{ images: [ \"sha256:…\" ] }", config);
    let files: Got<Option<()>> = fields.optional(reader, "files", |reader, node| {
        Err(reader.report(
            node.place,
            "checking files against a manifest is not supported by this version yet",
            "remove it",
        ))
    });
    fields.close(reader)?;
    files?;
    Ok(Workload {
        hint: hint?.unwrap_or_default(),
        hosts: hosts?.unwrap_or_default(),
        mode: mode?,
        tighten: tighten?.unwrap_or_default(),
        config: config?,
    })
}

fn hint(reader: &mut Reader<'_>, node: &Node) -> Got<ContainerHint> {
    let mut fields = reader.open(node)?;
    let container = fields.optional(reader, "container", container);
    let mut all = Ok(());
    for other in ["service", "vm", "process"] {
        if let Some(node) = fields.take(other) {
            all = Err(reader.under(other, |reader| {
                reader.report(node.place, "this version judges containers only", "remove it")
            }));
        }
    }
    fields.close(reader)?;
    all?;
    Ok(container?.unwrap_or_default())
}

fn container(reader: &mut Reader<'_>, node: &Node) -> Got<ContainerHint> {
    let mut fields = reader.open(node)?;
    let image = fields.optional(reader, "image", repository);
    let labels = fields.optional(reader, "labels", labels);
    fields.close(reader)?;
    Ok(ContainerHint {
        image: image?,
        labels: labels?.unwrap_or_default(),
    })
}

/// Reads the name of a repository: what a launcher writes, without tag and digest.
fn repository(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let text = reader.text(node)?;
    let last = text.rsplit('/').next().unwrap_or(text);
    let fault = if text.contains('@') {
        "carries a digest"
    } else if last.contains(':') {
        "carries a tag"
    } else if !is_repository(text) {
        "is not the name of an image"
    } else {
        return Ok(text.to_owned());
    };
    Err(reader.report(
        node.place,
        format!("{} {fault}", quoted(text)),
        "write the name alone, as in registry.example/payments/web; digests belong in config.images",
    ))
}

fn is_repository(text: &str) -> bool {
    let component = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        part.bytes().next().is_some_and(inner)
            && part.bytes().last().is_some_and(inner)
            && part.bytes().all(|b| inner(b) || matches!(b, b'.' | b'_' | b'-'))
    };
    let host = |part: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        !part.is_empty() && part.bytes().all(inner)
    };
    match text.split_once('/') {
        _ if text.len() > 255 => false,
        None => component(text),
        Some((first, rest)) => (component(first) || host(first)) && rest.split('/').all(component),
    }
}

fn modes(reader: &mut Reader<'_>, node: &Node) -> Got<Modes> {
    let mut fields = reader.open(node)?;
    let default = fields.required(reader, "default", "monitor", mode);
    let mut controls = BTreeMap::new();
    let mut all = Ok(());
    for control in Control::ALL {
        match fields.optional(reader, control.word(), mode) {
            Ok(None) => {}
            Ok(Some(mode)) => _ = controls.insert(*control, mode),
            Err(reported) => all = Err(reported),
        }
    }
    fields.close(reader)?;
    all?;
    Ok(Modes {
        default: default?,
        controls,
    })
}

/// Reads a mode.
pub(super) fn mode(reader: &mut Reader<'_>, node: &Node) -> Got<Mode> {
    reader.word(node, Mode::ALL, Mode::word)
}
