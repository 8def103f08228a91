//! A difference, field by field, for people.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::{Body, PolicySet, SetDiff};
use crate::model::{ObjectKey, printable};

/// What a change does to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectChange {
    /// It is new; every field it states, `before` empty.
    Added(ObjectKey, Vec<FieldChange>),
    /// Other fields. None where one of the two bodies is not here to compare.
    Changed(ObjectKey, Option<Vec<FieldChange>>),
    /// It is gone.
    Removed(ObjectKey),
}

/// What a change does to one field. Values are JSON, already safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Which, as in `spec.config.mounts[/data].access`.
    pub field: String,
    /// What it was; none where it was not stated.
    pub before: Option<String>,
    /// What it is; none where it is no longer stated.
    pub after: Option<String>,
}

impl SetDiff {
    /// Says what the change does to `before`, field by field, in the order of keys.
    pub fn describe(&self, before: &PolicySet) -> Vec<ObjectChange> {
        let mut changes: BTreeMap<&ObjectKey, ObjectChange> = BTreeMap::new();
        for key in &self.deletes {
            changes.insert(key, ObjectChange::Removed(key.clone()));
        }
        for (entry, body) in &self.upserts {
            let key = &entry.key;
            let change = match (before.entry(key), before.body(key), body) {
                (Some(old), ..) if old == entry => continue,
                (None, _, Some(new)) => ObjectChange::Added(key.clone(), compare(None, new)),
                (None, _, None) => ObjectChange::Added(key.clone(), Vec::new()),
                (Some(_), Some(old), Some(new)) => {
                    ObjectChange::Changed(key.clone(), Some(compare(Some(old), new)))
                }
                (Some(_), ..) => ObjectChange::Changed(key.clone(), None),
            };
            changes.insert(key, change);
        }
        changes.into_values().collect()
    }
}

fn compare(before: Option<&Body>, after: &Body) -> Vec<FieldChange> {
    let mut found = Vec::new();
    let before = before.map(json);
    for part in ["metadata", "spec"] {
        let (old, new) = (
            before.as_ref().and_then(|body| body.get(part)),
            json(after).get(part).cloned(),
        );
        walk(&mut found, part, old, new.as_ref());
    }
    found.retain(|change| change.field != "metadata.name");
    found
}

fn json(body: &Body) -> Value {
    let start = body
        .bytes()
        .iter()
        .position(|byte| *byte == 0)
        .expect("the prefix of a checked body ends in NUL");
    crate::json::parse(&body.bytes()[start + 1..]).expect("a checked body is JSON")
}

fn walk(found: &mut Vec<FieldChange>, field: &str, before: Option<&Value>, after: Option<&Value>) {
    if before == after {
        return;
    }
    if let (Some(old), Some(new)) = (members(before), members(after))
        && !(old.is_empty() && new.is_empty())
    {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            walk(
                found,
                &format!("{field}{}", printable(name)),
                old.get(name).copied(),
                new.get(name).copied(),
            );
        }
        return;
    }
    let show = |value: &Value| printable(&value.to_string()).into_owned();
    found.push(FieldChange {
        field: field.to_owned(),
        before: before.map(show),
        after: after.map(show),
    });
}

/// The members of a map, or of a list that is a set keyed by one of its members; the empty map for what is absent.
fn members(value: Option<&Value>) -> Option<BTreeMap<String, &Value>> {
    match value {
        None => Some(BTreeMap::new()),
        Some(Value::Object(map)) => Some(
            map.iter()
                .map(|(name, value)| (format!(".{name}"), value))
                .collect(),
        ),
        Some(Value::Array(list)) if !list.is_empty() => list
            .iter()
            .map(|item| {
                let key = ["target", "path", "listen"]
                    .iter()
                    .find_map(|name| item.get(name)?.as_str())?;
                Some((format!("[{key}]"), item))
            })
            .collect(),
        Some(_) => None,
    }
}

impl fmt::Display for ObjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, key, fields) = match self {
            Self::Removed(key) => return write!(f, "- {} {}", key.kind, key.name),
            Self::Added(key, fields) => ("+", key, fields.as_slice()),
            Self::Changed(key, Some(fields)) if !fields.is_empty() => ("~", key, fields.as_slice()),
            Self::Changed(key, _) => return write!(f, "~ {} {}", key.kind, key.name),
        };
        if sign == "+" {
            write!(f, "+ {} {}", key.kind, key.name)?;
        }
        for (index, change) in fields.iter().enumerate() {
            if sign == "+" || index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{sign} {} {} {change}", key.kind, key.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "{field}: {before} -> {after}"),
            (Some(before), None) => write!(f, "{field}: {before} -> (not stated)"),
            (None, Some(after)) => write!(f, "{field}: {after}"),
            (None, None) => write!(f, "{field}"),
        }
    }
}
