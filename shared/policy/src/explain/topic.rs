//! What there is to explain, by the names people give it.

use crate::compile::{DEFAULTS, Default};
use crate::draft::nearest;
use crate::model::{CHECK_RULES, Kind, RuleId, printable_within};
use crate::rules::{self, Rule};

/// Something that can be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A built-in rule.
    Rule(&'static Rule),
    /// A check that people may have stated in a guardrail.
    Check(RuleId),
    /// A kind of object.
    Kind(Kind),
    /// A field of a workload's `config` block, or a group of fields; all of them for `config` itself.
    Fields(Vec<&'static Default>),
}

/// Nothing is called that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule, kind or field `{}`{}", printable_within(.topic, 60), slip_of(.near))]
pub struct UnknownTopic {
    /// What was asked for; hostile bytes, which the message shows escaped and cut.
    pub topic: String,
    /// The name it is most likely a slip of.
    pub near: Option<String>,
}

fn slip_of(near: &Option<String>) -> String {
    near.as_ref()
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Finds a topic: a rule by its id, a kind in any case, singular or plural, or a field as policies write it, with or without what
/// is above it (`mounts`, `config.mounts`, `spec.config.mounts`, `Workload.mounts`, `Workload.spec.config.mounts`).
///
/// # Errors
/// When there is none; names what it may be a slip of.
pub fn topic(text: &str) -> Result<Topic, UnknownTopic> {
    if let Some(rule) = rules::find(text) {
        return Ok(Topic::Rule(rule));
    }
    if text.starts_with(CHECK_RULES)
        && let Ok(rule) = text.parse()
    {
        return Ok(Topic::Check(rule));
    }
    if let Some(kind) = kind(text) {
        return Ok(Topic::Kind(kind));
    }
    let (of, path) = match text.split_once('.') {
        Some((first, rest)) if kind(first).is_some() => (kind(first), rest),
        _ => (None, text),
    };
    let unknown = |near: Option<String>| UnknownTopic {
        topic: text.to_owned(),
        near,
    };
    match (of, path) {
        // Other kinds are explained as a whole.
        (Some(other), _) if other != Kind::Workload => return Err(unknown(Some(other.word().to_owned()))),
        (Some(kind), "spec") => return Ok(Topic::Kind(kind)),
        _ => {}
    }
    let path = below("spec", path).unwrap_or(path);
    if path == "config" {
        return Ok(Topic::Fields(DEFAULTS.iter().collect()));
    }
    let path = below("config", path).unwrap_or(path);
    let fields: Vec<&Default> = DEFAULTS
        .iter()
        .filter(|row| row.field == path || below(path, row.field).is_some())
        .collect();
    if fields.is_empty() {
        return Err(unknown(slip(of, text, path)));
    }
    Ok(Topic::Fields(fields))
}

/// The rest of a dotted path below another one.
fn below<'a>(above: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(above)?.strip_prefix('.')
}

fn kind(text: &str) -> Option<Kind> {
    let singular = text.strip_suffix(['s', 'S']).unwrap_or(text);
    Kind::ALL
        .iter()
        .copied()
        .find(|kind| kind.word().eq_ignore_ascii_case(text) || kind.word().eq_ignore_ascii_case(singular))
}

fn slip(of: Option<Kind>, text: &str, path: &str) -> Option<String> {
    let groups = DEFAULTS
        .iter()
        .filter_map(|row| Some(row.field.split_once('.')?.0));
    let fields: Vec<&str> = DEFAULTS
        .iter()
        .map(|row| row.field)
        .chain(groups)
        .chain(["config"])
        .collect();
    let field = nearest(path, &fields);
    if of.is_some() {
        return field.map(|field| format!("Workload.{field}"));
    }
    let others: Vec<&str> = rules::ALL
        .iter()
        .map(|rule| rule.id)
        .chain(Kind::ALL.iter().map(|kind| kind.word()))
        .collect();
    field.or_else(|| nearest(text, &others)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    /// Every field, and every group of them, with the fields it stands for.
    fn names() -> Vec<(&'static str, Vec<&'static str>)> {
        let groups: BTreeSet<&str> = DEFAULTS
            .iter()
            .filter_map(|row| Some(row.field.split_once('.')?.0))
            .collect();
        let of_group = |group: &'static str| {
            let fields = DEFAULTS.iter().map(|row| row.field);
            (
                group,
                fields
                    .filter(|field| field.starts_with(&format!("{group}.")))
                    .collect(),
            )
        };
        let fields = DEFAULTS.iter().map(|row| (row.field, vec![row.field]));
        fields.chain(groups.into_iter().map(of_group)).collect()
    }

    fn fields(text: &str) -> Vec<&'static str> {
        match topic(text) {
            Ok(Topic::Fields(rows)) => rows.iter().map(|row| row.field).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_field_and_group_is_found_however_much_of_its_path_is_written() {
        let names = names();
        assert!(names.len() > DEFAULTS.len());
        for (name, expected) in names {
            for above in ["", "config.", "spec.config.", "spec."] {
                for kind in ["", "Workload.", "workload.", "workloads."] {
                    assert_eq!(
                        fields(&format!("{kind}{above}{name}")),
                        expected,
                        "{kind}{above}{name}"
                    );
                }
            }
        }
        for all in ["config", "spec.config", "Workload.config", "workload.spec.config"] {
            assert_eq!(fields(all).len(), DEFAULTS.len(), "{all}");
        }
    }

    #[test]
    fn rules_and_kinds_are_found_as_before() {
        for rule in rules::ALL {
            assert_eq!(topic(rule.id), Ok(Topic::Rule(rule)));
        }
        for kind in Kind::ALL {
            for text in [kind.word().to_owned(), format!("{}S", kind.word().to_uppercase())] {
                assert_eq!(topic(&text), Ok(Topic::Kind(*kind)));
            }
        }
        assert_eq!(topic("Workload.spec"), Ok(Topic::Kind(Kind::Workload)));
    }

    #[test]
    fn what_is_not_there_names_what_is_near() {
        for (text, near) in [
            ("mount", Some("mounts")),
            ("config.mont", Some("mounts")),
            ("Workload.noNewPrivilege", Some("Workload.noNewPrivileges")),
            ("Workload.namespace", Some("Workload.namespaces")),
            ("Workload.confg", Some("Workload.config")),
            ("Worklod", Some("Workload")),
            ("privilege/is-rot", Some("privilege/is-root")),
            ("Guardrail.rules", Some("Guardrail")),
            ("zzzzzzzzzzzz", None),
            ("", None),
            ("Workload.", None),
        ] {
            let error = topic(text).unwrap_err();
            assert_eq!(error.near.as_deref(), near, "{text}");
            assert_eq!(error.to_string().contains("did you mean"), near.is_some());
        }
        assert!(!topic("\u{1b}[31m").unwrap_err().to_string().contains('\u{1b}'));
    }
}
