//! `Guardrail` drafts.

use super::node::{Node, Place};
use super::problem::{nearest, quoted};
use super::reader::{Form, Got, Reader};
use super::scalar::{labels, sentence};
use super::workload::mode;
use crate::compile::JUDGED_CONTROLS;
use crate::expression::{Expression, MAX_COST, MAX_EXPRESSION};
use crate::model::{
    CHECK_RULES, Control, Guardrail, GuardrailCheck, MAX_CHECKS, Name, Profile, RuleId, Selector, Severity,
    UnknownInstances, is_printable,
};
use crate::rules;

/// Reads the `spec` of a guardrail.
pub(super) fn guardrail(reader: &mut Reader<'_>, node: &Node) -> Got<Guardrail> {
    let mut fields = reader.open(node)?;
    let select = fields.optional(reader, "select", selector);
    let profile = fields.optional(reader, "profile", |reader, node| {
        reader.word(node, Profile::ALL, Profile::word)
    });
    let named = fields.optional(reader, "rules", |reader, node| reader.set(node, guardrail_rule));
    let checks = fields.optional(reader, "checks", checks);
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
        checks: checks?.unwrap_or_default(),
        mode: mode?,
        unknown: unknown?,
    };
    let rules = guardrail.rules.is_empty() && guardrail.checks.is_empty();
    if guardrail.profile.is_none() && rules && guardrail.unknown.is_none() {
        return Err(reader.report(
            place,
            "asks for nothing",
            "state `profile: baseline` or `restricted`, some `rules` or `checks`, or `unknown`",
        ));
    }
    Ok(guardrail)
}

/// Reads a guardrail's own checks.
fn checks(reader: &mut Reader<'_>, node: &Node) -> Got<Vec<GuardrailCheck>> {
    let mut cost = 0_u64;
    let checks = reader.records(
        node,
        "id",
        |reader, node| {
            let (check, more) = check(reader, node)?;
            cost = cost.saturating_add(more);
            Ok(check)
        },
        |check| check.id.clone(),
    )?;
    if checks.is_empty() {
        return Err(reader.report(node.place, "is an empty list", "list checks, or remove it"));
    }
    if checks.len() > MAX_CHECKS {
        return Err(reader.report(
            node.place,
            format!("has {} checks; the limit is {MAX_CHECKS}", checks.len()),
            "make several guardrails of it",
        ));
    }
    if cost > MAX_COST {
        return Err(reader.report(
            node.place,
            format!("judging all of them may take {cost} steps for each instance; the limit is {MAX_COST}"),
            "nest fewer loops, or compare with shorter lists",
        ));
    }
    Ok(checks)
}

/// Reads one, and what judging it may cost. What was sealed is not read as an expression here: another version may know more of them, and
/// what this one cannot read it judges to be an error.
fn check(reader: &mut Reader<'_>, node: &Node) -> Got<(GuardrailCheck, u64)> {
    let mut fields = reader.open(node)?;
    let id = fields.required(reader, "id", "memory-limited", |reader, node| {
        let name: Name = reader.parse(node, "write a DNS label, as in memory-limited")?;
        match name.as_str().contains('/') {
            false => Ok(name.as_str().to_owned()),
            true => Err(reader.report(
                node.place,
                "has a slash in it",
                "write a DNS label, as in memory-limited",
            )),
        }
    });
    let expression = fields.required(reader, "expression", "user.uid != 0", expression);
    let message = fields.required(
        reader,
        "message",
        "\"what is wrong where it does not hold\"",
        sentence,
    );
    let control = fields.optional(reader, "control", |reader, node| {
        reader.word(node, JUDGED_CONTROLS, Control::word)
    });
    let severity = fields.optional(reader, "severity", |reader, node| {
        reader.word(node, Severity::ALL, Severity::word)
    });
    let remedy = fields.optional(reader, "remedy", sentence);
    fields.close(reader)?;
    let (expression, cost) = expression?;
    let check = GuardrailCheck {
        id: id?,
        expression,
        message: message?,
        control: control?,
        severity: severity?,
        remedy: remedy?,
    };
    Ok((check, cost))
}

fn expression(reader: &mut Reader<'_>, node: &Node) -> Got<(String, u64)> {
    let text = reader.text(node)?;
    if text.len() > MAX_EXPRESSION || !text.chars().all(|c| is_printable(c) || c == '\n') {
        return Err(reader.report(
            node.place,
            format!("is longer than {MAX_EXPRESSION} bytes, or has control or invisible characters in it"),
            "write several checks, and such characters in texts as \\u and four hexadecimal digits",
        ));
    }
    if reader.form == Form::Canonical {
        return Ok((text.to_owned(), 0));
    }
    match Expression::read(text) {
        Ok(expression) => Ok((text.to_owned(), expression.cost())),
        Err(fault) => {
            // Where the expression stands in one line, that of the file can be told.
            let place = match node.place {
                Place { line, column } if !text.contains('\n') && fault.line == 1 => Place {
                    line,
                    column: column + fault.column - 1 + u32::from(node.is_quoted()),
                },
                place => place,
            };
            let at = format!("line {}, column {} of the expression", fault.line, fault.column);
            Err(reader.report(place, format!("{at}: {}", fault.message), fault.remedy))
        }
    }
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
    if rule.as_str().starts_with(CHECK_RULES) {
        return Err(reader.report(
            node.place,
            "is a check of a guardrail, which holds where that guardrail does",
            "have that guardrail select what it is for, or write the check here under `checks`",
        ));
    }
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

/// Reads the id of a built-in rule, or of a check of a guardrail.
pub(super) fn rule(reader: &mut Reader<'_>, node: &Node) -> Got<RuleId> {
    let text = reader.text(node)?;
    if let Some(found) = rules::find(text) {
        return Ok(found.rule_id());
    }
    if text.starts_with(CHECK_RULES) {
        let example = "write guardrail/GUARDRAIL/CHECK, as findings show it";
        let id: RuleId = reader.parse(node, example)?;
        return match id.as_str().split('/').count() {
            0..=2 => Err(reader.report(node.place, "names no check of a guardrail", example)),
            _ => Ok(id),
        };
    }
    let known: Vec<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
    let remedy = match nearest(text, &known) {
        _ if text.contains(['*', '?']) => "globs are not allowed here; name each rule".to_owned(),
        Some(near) => format!("did you mean `{near}`?"),
        None => "write CONTROL/RULE, as findings show it, such as privilege/is-root".to_owned(),
    };
    Err(reader.report(node.place, format!("unknown rule {}", quoted(text)), remedy))
}
