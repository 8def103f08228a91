//! `Guardrail` drafts.

use super::node::Node;
use super::problem::{nearest, quoted};
use super::reader::{Got, Reader};
use super::scalar::labels;
use super::workload::mode;
use crate::model::{Guardrail, Profile, RuleId, Selector, UnknownInstances};
use crate::rules;

/// Reads the `spec` of a guardrail.
pub(super) fn guardrail(reader: &mut Reader<'_>, node: &Node) -> Got<Guardrail> {
    let mut fields = reader.open(node)?;
    let select = fields.optional(reader, "select", selector);
    let profile = fields.optional(reader, "profile", |reader, node| {
        reader.word(node, Profile::ALL, Profile::word)
    });
    let named = fields.optional(reader, "rules", |reader, node| reader.set(node, guardrail_rule));
    let mode = fields.optional(reader, "mode", mode);
    let unknown = fields.optional(reader, "unknown", |reader, node| {
        reader.word(node, UnknownInstances::ALL, UnknownInstances::word)
    });
    let place = fields.place();
    fields.close(reader)?;
    let guardrail = Guardrail {
        select: select?.unwrap_or_default(),
        profile: profile?,
        rules: named?.unwrap_or_default(),
        mode: mode?,
        unknown: unknown?,
    };
    if guardrail.profile.is_none() && guardrail.rules.is_empty() && guardrail.unknown.is_none() {
        return Err(reader.report(
            place,
            "asks for nothing",
            "state `profile: baseline` or `restricted`, some `rules`, or `unknown`",
        ));
    }
    Ok(guardrail)
}

fn selector(reader: &mut Reader<'_>, node: &Node) -> Got<Selector> {
    let mut fields = reader.open(node)?;
    let hosts = fields.optional(reader, "hosts", labels);
    let workloads = fields.optional(reader, "workloads", labels);
    fields.close(reader)?;
    Ok(Selector {
        hosts: hosts?.unwrap_or_default(),
        workloads: workloads?.unwrap_or_default(),
    })
}

fn guardrail_rule(reader: &mut Reader<'_>, node: &Node) -> Got<RuleId> {
    let rule = rule(reader, node)?;
    if rules::find(rule.as_str()).is_some_and(|found| !found.is_guardrail()) {
        return Err(reader.report(
            node.place,
            format!(
                "the rule {} judges a workload's own configuration; no guardrail can hold it",
                quoted(rule.as_str())
            ),
            format!(
                "write one of: {}",
                rules::ALL
                    .iter()
                    .filter(|rule| rule.is_guardrail())
                    .map(|rule| rule.id)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ));
    }
    Ok(rule)
}

/// Reads the id of a built-in rule.
pub(super) fn rule(reader: &mut Reader<'_>, node: &Node) -> Got<RuleId> {
    let text = reader.text(node)?;
    if let Some(found) = rules::find(text) {
        return Ok(found.rule_id());
    }
    let known: Vec<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
    let remedy = match nearest(text, &known) {
        _ if text.contains(['*', '?']) => "globs are not allowed here; name each rule".to_owned(),
        Some(near) => format!("did you mean `{near}`?"),
        None => "write CONTROL/RULE, as findings show it, such as privilege/is-root".to_owned(),
    };
    Err(reader.report(node.place, format!("unknown rule {}", quoted(text)), remedy))
}
