//! Decisions about small sets, and about any set.
#![allow(clippy::unwrap_used)]

mod decisions;
mod guard;
mod reference;

use verger_controller_authz::{Ask, Roles, Subject};
use verger_policy::draft;
use verger_policy::model::{Labels, PolicyObject, Resource, Verb};
use verger_policy::set::PolicySet;

/// An object of a kind.
pub(crate) fn object(kind: &str, name: &str, spec: &str) -> PolicyObject {
    let text =
        format!("apiVersion: verger/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n");
    let mut objects = draft::read("o.yaml", text.as_bytes()).unwrap();
    objects.pop().unwrap()
}

/// A binding of a role to subjects, with more fields.
pub(crate) fn bind(name: &str, role: &str, subjects: &str, more: &str) -> PolicyObject {
    object(
        "RoleBinding",
        name,
        &format!("role: {role}, subjects: [ {subjects} ]{more}"),
    )
}

/// A role of these rules.
pub(crate) fn role(name: &str, rules: &str) -> PolicyObject {
    object("Role", name, &format!("rules: [ {rules} ]"))
}

pub(crate) fn compile(objects: &[PolicyObject]) -> Roles {
    Roles::compile(objects).unwrap()
}

pub(crate) fn set(objects: &[PolicyObject]) -> PolicySet {
    PolicySet::empty().change(objects.to_vec(), []).unwrap()
}

pub(crate) fn person(name: &str) -> Subject {
    Subject::person(name.parse().unwrap())
}

pub(crate) fn all(verb: Verb, resource: Resource) -> Ask {
    Ask::all(verb, resource)
}

pub(crate) fn workload(verb: Verb, name: &str, labels: &[(&str, &str)]) -> Ask {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Ask::one(
        verb,
        Resource::Workload,
        Some(name.parse().unwrap()),
        Labels(labels.collect()),
    )
}
