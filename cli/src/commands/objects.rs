//! `get` and `list`: the policy objects, as their seal vouches for them.

use std::path::Path;

use serde_json::Value;
use verger_policy::draft;
use verger_policy::model::{Kind, OBJECT_PREFIX, ObjectKey};
use verger_policy::set::{Body, Entry};

use crate::args::{Format, GetArgs, ListArgs, ObjectArgs};
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Sheet, emit, print};
use crate::sealed;

const COLUMNS: &[Column] = &[
    Column::new("KIND"),
    Column::new("NAME"),
    Column::new("EPOCH"),
    Column::new("HOSTS"),
    Column::wide("DIGEST"),
];

pub(super) async fn get(args: GetArgs, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let key = key(&args.object)?;
    let session = Session::open(context).await?.stale_ok(args.stale);
    let held = sealed::fetch(&session, &args.held).await?;
    let (Some(entry), Some(body)) = (held.set.entry(&key), held.set.body(&key)) else {
        return Err(Failure::new(Exit::Violation, format!("there is no {key}; see `verger list`")).into());
    };
    let mut sheet = Sheet::one(COLUMNS);
    push(&mut sheet, entry, body);
    render(&sheet, &[body], format)
}

pub(super) async fn list(args: ListArgs, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let wanted = args.kind.as_deref().map(kind).transpose()?;
    let session = Session::open(context).await?.stale_ok(args.stale);
    let held = sealed::fetch(&session, &args.held).await?;
    let mut sheet = Sheet::list(
        COLUMNS,
        "there are no policy objects; make one with `verger bless`, then `verger apply -f FILE`",
    );
    let mut bodies = Vec::new();
    for (entry, body) in held.set.parts() {
        let Some(body) = body.filter(|_| wanted.is_none_or(|wanted| wanted == entry.key.kind)) else {
            continue;
        };
        push(&mut sheet, entry, body);
        bodies.push(&**body);
    }
    render(&sheet, &bodies, format)
}

fn render(sheet: &Sheet, bodies: &[&Body], format: Format) -> anyhow::Result<Exit> {
    if format == Format::Yaml {
        emit(
            &bodies
                .iter()
                .map(|body| format!("---\n{}", draft::write(body.object())))
                .collect::<String>(),
        )?;
    } else {
        print(sheet, format)?;
    }
    Ok(Exit::Clean)
}

fn push(sheet: &mut Sheet, entry: &Entry, body: &Body) {
    let hosts: Vec<String> = entry
        .hosts
        .0
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let cells = vec![
        entry.key.kind.to_string(),
        entry.key.name.to_string(),
        entry.epoch.to_string(),
        if hosts.is_empty() {
            "all".to_owned()
        } else {
            hosts.join(",")
        },
        entry.digest.to_string(),
    ];
    sheet.push(entry.key.to_string(), cells, canonical(body));
}

/// The object that was signed.
fn canonical(body: &Body) -> Value {
    let json = body.bytes().strip_prefix(OBJECT_PREFIX).unwrap_or_default();
    verger_policy::json::parse(json).unwrap_or(Value::Null)
}

/// The object an argument names.
pub(super) fn key(args: &ObjectArgs) -> anyhow::Result<ObjectKey> {
    let name = args
        .name
        .parse()
        .map_err(|error| Failure::input(format!("NAME `{}`: {error}", args.name)))?;
    Ok(ObjectKey {
        kind: kind(&args.kind)?,
        name,
    })
}

/// A kind as people write it: any case, singular or plural.
pub(super) fn kind(text: &str) -> Result<Kind, Failure> {
    let singular = text.strip_suffix(['s', 'S']).unwrap_or(text);
    Kind::ALL
        .iter()
        .copied()
        .find(|kind| kind.word().eq_ignore_ascii_case(text) || kind.word().eq_ignore_ascii_case(singular))
        .ok_or_else(|| {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
            Failure::input(format!("KIND `{text}` is none of: {}", known.join(", ")))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kinds_are_read_as_people_write_them() {
        for text in ["Workload", "workload", "workloads", "WORKLOADS"] {
            assert_eq!(kind(text).unwrap(), Kind::Workload);
        }
        assert!(kind("pod").unwrap_err().message.contains("Guardrail"));
        assert!(kind("").is_err());
    }
}
