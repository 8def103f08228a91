//! An exception as a row and as an object.

use jiff::Timestamp;
use serde_json::{Value, json};
use verger_policy::model::{Exception, ExceptionScope, Standing};

use super::usage::Sealed;
use crate::output::{Column, Sheet};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("STATE"),
    Column::new("RULES"),
    Column::new("SCOPE"),
    Column::new("OWNER"),
    Column::new("TICKET"),
    Column::new("ENDS"),
    Column::new("NOTE"),
    Column::wide("REASON"),
    Column::wide("BEGINS"),
    Column::wide("VALUES"),
    Column::wide("SEALED BY"),
    Column::wide("EPOCH"),
];

/// Adds it. `sealed_by` are those who sealed the set that it is in; `note` is what the command has to say of it, under the name that
/// machines read it by.
pub(super) fn push(
    sheet: &mut Sheet,
    exception: Sealed<'_>,
    sealed_by: &[String],
    at: Timestamp,
    note: Option<(&'static str, &str, Value)>,
) {
    let Sealed { key, spec, epoch } = exception;
    let Exception {
        rules,
        values,
        scope,
        owner,
        reason,
        ticket,
        not_before,
        not_after,
    } = spec;
    let standing = spec.standing_at(at);
    let rules: Vec<&str> = rules.iter().map(|rule| rule.as_str()).collect();
    let begins = not_before.map(|at| at.to_string());
    let values: Option<Vec<&String>> = values.as_ref().map(|values| values.iter().collect());
    let cells = vec![
        key.name.to_string(),
        word(standing).to_owned(),
        rules.join(", "),
        covers(scope),
        owner.clone(),
        ticket.clone(),
        not_after.to_string(),
        note.as_ref().map_or("-", |(_, note, _)| *note).to_owned(),
        reason.clone(),
        begins.clone().unwrap_or_else(|| "at once".to_owned()),
        values.as_ref().map_or_else(
            || "any".to_owned(),
            |values| {
                values
                    .iter()
                    .map(|value| value.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            },
        ),
        sealed_by.join(", "),
        epoch.to_string(),
    ];
    let mut object = json!({
        "name": key.name.to_string(),
        "state": standing,
        "rules": rules,
        "values": values,
        "scope": scope,
        "owner": owner,
        "reason": reason,
        "ticket": ticket,
        "notBefore": begins,
        "notAfter": not_after.to_string(),
        "sealedBy": sealed_by,
        "epoch": epoch,
    });
    if let Some((field, _, value)) = note {
        object[field] = value;
    }
    sheet.push(key.name.to_string(), cells, object);
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::NotYet => "not yet",
        Standing::InForce => "in force",
        Standing::Over => "over",
    }
}

fn covers(scope: &ExceptionScope) -> String {
    let ExceptionScope {
        workload,
        image,
        hosts,
    } = scope;
    let workload = workload.iter().map(|name| format!("workload {name}"));
    let image = image.iter().map(|image| format!("image {image:.19}"));
    let hosts = hosts.0.iter().map(|(key, value)| format!("hosts {key}={value}"));
    workload.chain(image).chain(hosts).collect::<Vec<_>>().join(", ")
}
