//! `Exception` drafts.

use jiff::Timestamp;

use super::config::image;
use super::guardrail::rule;
use super::node::Node;
use super::object::name;
use super::problem::quoted;
use super::reader::{Form, Got, Reader};
use super::scalar::{labels, sentence};
use crate::model::{Control, Exception, ExceptionScope, InvalidWindow, MAX_EXCEPTION_DAYS, RuleId};
use crate::rules;

/// Reads the `spec` of an exception.
pub(super) fn exception(reader: &mut Reader<'_>, node: &Node) -> Got<Exception> {
    let mut fields = reader.open(node)?;
    let rules = fields.required(reader, "rules", "[ privilege/is-root ]", |reader, node| {
        let rules = reader.set(node, liftable)?;
        if rules.is_empty() {
            return Err(reader.report(node.place, "lifts no rule", "name at least one"));
        }
        Ok(rules)
    });
    let values = fields.optional(reader, "values", |reader, node| {
        let values = reader.set(node, |reader, node| reader.text(node).map(str::to_owned))?;
        if values.is_empty() {
            return Err(reader.report(
                node.place,
                "is empty, and so fits no violation",
                "list values, or remove it",
            ));
        }
        Ok(values)
    });
    let scope = fields.required(reader, "scope", "{ workload: payments/web }", scope);
    let owner = fields.required(reader, "owner", "\"NAME <ADDRESS>\"", sentence);
    let reason = fields.required(reader, "reason", "\"…\"", sentence);
    let ticket = fields.required(reader, "ticket", "\"OPS-123\"", sentence);
    let not_before = fields.optional(reader, "notBefore", instant);
    let end = fields.take("notAfter");
    let not_after = match end {
        Some(node) => reader.under("notAfter", |reader| instant(reader, node)),
        None => Err(reader.under("notAfter", |reader| {
            let remedy =
                format!("add `notAfter: YYYY-MM-DDThh:mm:ssZ`, at most {MAX_EXCEPTION_DAYS} days ahead");
            reader.report(node.place, "is missing", remedy)
        })),
    };
    fields.close(reader)?;
    let exception = Exception {
        rules: rules?,
        values: values?,
        scope: scope?,
        owner: owner?,
        reason: reason?,
        ticket: ticket?,
        not_before: not_before?,
        not_after: not_after?,
    };
    match exception.check_window(None) {
        Ok(()) => Ok(exception),
        Err(fault) => Err(reader.under("notAfter", |reader| {
            let place = end.map_or(node.place, |node| node.place);
            reader.report(place, fault.to_string(), window_remedy(fault))
        })),
    }
}

/// Reads the id of a rule that something an exception covers can violate. What was sealed before this was asked stays readable.
fn liftable(reader: &mut Reader<'_>, node: &Node) -> Got<RuleId> {
    let id = rule(reader, node)?;
    let of_host = rules::find(id.as_str()).is_some_and(|found| found.control == Control::Host);
    if of_host && reader.form == Form::Draft {
        return Err(reader.report(
            node.place,
            format!(
                "the rule {} is about the agent and its host; no exception can lift it",
                quoted(id.as_str())
            ),
            "remove it, and mend what the finding names; acknowledge the finding meanwhile",
        ));
    }
    Ok(id)
}

/// What to do about a bad window.
pub(super) fn window_remedy(fault: InvalidWindow) -> String {
    match fault {
        InvalidWindow::Empty => "write an instant after `notBefore`".to_owned(),
        InvalidWindow::TooLong => {
            format!(
                "end it at most {MAX_EXCEPTION_DAYS} days after it begins, and renew it when it is still needed"
            )
        }
    }
}

fn scope(reader: &mut Reader<'_>, node: &Node) -> Got<ExceptionScope> {
    let mut fields = reader.open(node)?;
    let workload = fields.optional(reader, "workload", name);
    let image = fields.optional(reader, "image", image);
    let hosts = fields.optional(reader, "hosts", labels);
    let place = fields.place();
    fields.close(reader)?;
    let scope = ExceptionScope {
        workload: workload?,
        image: image?,
        hosts: hosts?.unwrap_or_default(),
    };
    if scope.workload.is_none() && scope.image.is_none() {
        return Err(reader.report(place, "covers everything", "state `workload` or `image`"));
    }
    Ok(scope)
}

/// Reads an instant: RFC 3339 with an offset, in whole seconds.
fn instant(reader: &mut Reader<'_>, node: &Node) -> Got<Timestamp> {
    let text = reader.text(node)?;
    let parsed = is_rfc3339(text).then(|| text.parse().ok()).flatten();
    parsed.ok_or_else(|| {
        reader.report(
            node.place,
            format!("{} is not an instant", quoted(text)),
            "write it as RFC 3339 says, in whole seconds, as in 2026-01-31T12:00:00Z",
        )
    })
}

fn is_rfc3339(text: &str) -> bool {
    let fits = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(byte, want)| {
                if want == b'0' {
                    byte.is_ascii_digit()
                } else {
                    byte == want
                }
            })
    };
    text.is_ascii() && text.len() > 19 && fits(&text[..19], "0000-00-00T00:00:00") && {
        let zone = &text[19..];
        zone == "Z" || fits(zone, "+00:00") || fits(zone, "-00:00")
    }
}
