//! A whole object: `apiVersion`, `kind`, `metadata`, `spec`.

use super::exception::exception;
use super::guardrail::guardrail;
use super::node::Node;
use super::problem::{nearest, quoted};
use super::reader::{Got, Reader};
use super::role::{binding, check_name, role};
use super::scalar::{label_key, labels};
use super::workload::workload;
use crate::model::{HostObject, Kind, Metadata, Name, PolicyObject, Spec};

/// The one value of `apiVersion`.
pub(super) const API_VERSION: &str = "verger/v1";

/// Kinds of the policy model that this version does not judge.
const LATER: [&str; 4] = ["Channel", "ContentRule", "HostBaseline", "MalwareRule"];

const NAME: &str = "write a path of DNS labels, as in payments/web";

/// Reads a whole object.
pub(super) fn object(reader: &mut Reader<'_>, node: &Node) -> Got<PolicyObject> {
    let mut fields = reader.open(node)?;
    let version = fields.required(reader, "apiVersion", API_VERSION, |reader, node| {
        match reader.text(node)? {
            API_VERSION => Ok(()),
            other => Err(reader.report(
                node.place,
                format!("unknown version {}", quoted(other)),
                format!("this version reads `{API_VERSION}`"),
            )),
        }
    });
    let kind = fields.required(reader, "kind", "Workload", kind);
    let metadata = fields.required(reader, "metadata", "{ name: payments/web }", |reader, node| {
        metadata(reader, node, kind.ok())
    });
    // Without a kind nobody knows which fields `spec` has.
    let spec = match kind {
        Err(reported) => fields.take("spec").map_or(Err(reported), |_| Err(reported)),
        Ok(kind) => fields.required(reader, "spec", "…", |reader, node| match kind {
            Kind::Workload => workload(reader, node).map(|spec| Spec::Workload(Box::new(spec))),
            Kind::Guardrail => guardrail(reader, node).map(Spec::Guardrail),
            Kind::Exception => exception(reader, node).map(Spec::Exception),
            Kind::Host => host(reader, node).map(Spec::Host),
            Kind::Role => role(reader, node).map(Spec::Role),
            Kind::RoleBinding => binding(reader, node).map(Spec::RoleBinding),
        }),
    };
    fields.close(reader)?;
    version?;
    Ok(PolicyObject {
        metadata: metadata?,
        spec: spec?,
    })
}

fn kind(reader: &mut Reader<'_>, node: &Node) -> Got<Kind> {
    let text = reader.text(node)?;
    if let Ok(kind) = text.parse() {
        return Ok(kind);
    }
    let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    if LATER.contains(&text) {
        return Err(reader.report(
            node.place,
            format!("this version does not judge the kind `{text}`"),
            format!("remove the object; kinds it judges: {}", words.join(", ")),
        ));
    }
    let remedy = match nearest(text, &words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of: {}", words.join(", ")),
    };
    Err(reader.report(node.place, format!("unknown kind {}", quoted(text)), remedy))
}

fn metadata(reader: &mut Reader<'_>, node: &Node, kind: Option<Kind>) -> Got<Metadata> {
    let mut fields = reader.open(node)?;
    let name = fields.required(reader, "name", "payments/web", |reader, node| {
        let name = name(reader, node)?;
        if kind == Some(Kind::Role) {
            check_name(reader, node, &name)?;
        }
        Ok(name)
    });
    let labels = fields.optional(reader, "labels", labels);
    let annotations = fields.optional(reader, "annotations", |reader, node| {
        reader.map(node, label_key, |reader, node| {
            reader.text(node).map(str::to_owned)
        })
    });
    fields.close(reader)?;
    Ok(Metadata {
        name: name?,
        labels: labels?.unwrap_or_default(),
        annotations: annotations?.unwrap_or_default(),
    })
}

/// Reads the name of an object.
pub(super) fn name(reader: &mut Reader<'_>, node: &Node) -> Got<Name> {
    reader.parse(node, NAME)
}

fn host(reader: &mut Reader<'_>, node: &Node) -> Got<HostObject> {
    let mut fields = reader.open(node)?;
    let agent = fields.required(reader, "agent", "AGENT-ID", |reader, node| {
        reader.parse(node, "write the id that `verger hosts` shows")
    });
    let labels = fields.optional(reader, "labels", labels);
    fields.close(reader)?;
    Ok(HostObject {
        agent: agent?,
        labels: labels?.unwrap_or_default(),
    })
}
