//! A finding as a row and as an object.

use serde_json::{Value, json};
use verger_policy::finding::{Finding, HostCount, SubjectClass};
use verger_policy::model::printable;

use crate::output::{Column, Sheet};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("UID"),
    Column::new("STATE"),
    Column::new("SEVERITY"),
    Column::new("RULE"),
    Column::new("SUBJECT"),
    Column::new("FIELD"),
    Column::new("EXPECTED"),
    Column::new("ACTUAL"),
    Column::wide("HOSTS"),
    Column::wide("INSTANCES"),
    Column::wide("CHANGED"),
    Column::wide("REVISION"),
];

/// Widths of columns that scroll by. Enough for most; longer cells push the rest of their row aside.
const WIDTHS: [usize; 12] = [12, 12, 8, 30, 28, 28, 24, 24, 5, 9, 28, 8];

/// The longest expected and actual value of a row, characters.
const CELL: usize = 40;

pub(super) fn push(sheet: &mut Sheet, finding: &Finding) {
    sheet.push(finding.uid.to_string(), cells(finding), object(finding));
}

/// A cell per column.
pub(super) fn cells(finding: &Finding) -> Vec<String> {
    let Finding {
        uid,
        check,
        lifecycle,
        hosts,
        changed,
        revision,
        ..
    } = finding;
    let value = |value: &Option<String>| match value {
        Some(value) => verger_policy::model::printable_within(value, CELL),
        None => "-".to_owned(),
    };
    let affected: u64 = hosts
        .values()
        .fold(0, |sum, count| sum.saturating_add(count.affected));
    vec![
        uid.to_string()[..12].to_owned(),
        word(lifecycle),
        check.severity.to_string(),
        check.rule.to_string(),
        subject(&finding.subject),
        check.field.to_string(),
        value(&check.expected),
        value(&check.actual),
        hosts.len().to_string(),
        affected.to_string(),
        changed.to_string(),
        revision.to_string(),
    ]
}

/// The word of a value that is serialised as one.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// What it is about, in one word.
pub(super) fn subject(subject: &SubjectClass) -> String {
    match subject {
        SubjectClass::Workload(name) => format!("workload/{name}"),
        SubjectClass::Unknown(Some(image)) => format!("unknown/{image}"),
        SubjectClass::Unknown(None) => "unknown".to_owned(),
        SubjectClass::Host => "host".to_owned(),
    }
}

/// The object machines read. Stable: fields are added, never renamed.
pub(super) fn object(finding: &Finding) -> Value {
    let Finding {
        uid,
        revision,
        control,
        rule,
        subject: about,
        image,
        check,
        lifecycle,
        acknowledged,
        wanted,
        effective,
        hosts,
        samples,
        first_seen,
        changed,
        reopened,
        occurrences,
    } = finding;
    let hosts: serde_json::Map<String, Value> = hosts
        .iter()
        .map(|(agent, HostCount { affected, evaluated })| {
            (
                agent.to_string(),
                json!({ "affected": affected, "evaluated": evaluated }),
            )
        })
        .collect();
    let samples: Vec<Value> = samples
        .iter()
        .map(|sample| json!({ "runtime": sample.instance.runtime, "id": sample.instance.id, "name": sample.name }))
        .collect();
    json!({
        "uid": uid.to_string(),
        "revision": revision,
        "state": word(lifecycle),
        "control": control,
        "rule": rule,
        "severity": check.severity,
        "subject": subject(about),
        "image": image.map(|image| image.to_string()),
        "field": check.field,
        "result": word(&check.result),
        "expected": check.expected,
        "actual": check.actual,
        "reason": check.reason,
        "decidedBy": check.decided_by.as_ref().map(ToString::to_string),
        "acknowledged": acknowledged.as_ref().map(|ack| json!({ "person": ack.person, "note": ack.note, "at": ack.at.to_string() })),
        "wanted": wanted,
        "effective": effective,
        "hosts": hosts,
        "samples": samples,
        "firstSeen": first_seen.to_string(),
        "changed": changed.to_string(),
        "reopened": reopened,
        "occurrences": occurrences,
    })
}

/// A row for a terminal that scrolls.
pub(super) fn line(finding: &Finding, wide: bool) -> String {
    aligned(&cells(finding), wide)
}

/// The head of such rows.
pub(super) fn head(wide: bool) -> String {
    aligned(
        &COLUMNS
            .iter()
            .map(|column| column.head.to_owned())
            .collect::<Vec<_>>(),
        wide,
    )
}

fn aligned(cells: &[String], wide: bool) -> String {
    let mut text = String::new();
    for ((cell, width), column) in cells.iter().zip(WIDTHS).zip(COLUMNS) {
        if wide || !column.wide {
            text.push_str(&format!("{:<width$}  ", printable(cell)));
        }
    }
    format!("{}\n", text.trim_end())
}
