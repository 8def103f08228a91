//! What the tests about judging share.

use jiff::Timestamp;
use verger_policy::compile::{Compiled, compile};
use verger_policy::drift::{Check, Judgement, Outcome, judge};
use verger_policy::facts::{Evidence, ImageDefaults, Instance, LiveFacts, ProcessFacts};
use verger_policy::ideal::ideal;
use verger_policy::model::{Control, Labels, PolicyObject, Workload};

pub(crate) const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

pub(crate) fn at() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn read(yaml: &str) -> Vec<PolicyObject> {
    verger_policy::draft::read("test.yaml", yaml.as_bytes()).unwrap()
}

pub(crate) fn compiled(yaml: &str) -> Compiled {
    compile(&read(yaml), &Labels::default(), 1)
}

/// A workload named `name` whose spec, below `config`, is this flow mapping.
pub(crate) fn workload(name: &str, hint: &str, config: &str) -> String {
    format!(
        "---\napiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n  match: {{ container: {hint} \
         }}\n  config: {config}\n"
    )
}

pub(crate) fn guardrail(name: &str, spec: &str) -> String {
    format!("---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
}

pub(crate) fn exception(name: &str, rules: &str, scope: &str, more: &str) -> String {
    format!(
        "---\napiVersion: verger/v1\nkind: Exception\nmetadata: {{ name: {name} }}\nspec:\n  rules: {rules}\n  scope: \
         {scope}\n  owner: o\n  reason: r\n  ticket: t\n  notBefore: 2026-05-01T00:00:00Z\n  notAfter: \
         2026-07-01T00:00:00Z\n{more}"
    )
}

pub(crate) fn first_workload(compiled: &Compiled) -> &Workload {
    &compiled.workloads()[0].spec
}

/// The image that the ideal instances here are of.
pub(crate) fn image() -> ImageDefaults {
    ImageDefaults {
        command: vec!["/app".to_owned(), "-v".to_owned()],
        env: [("TZ".to_owned(), "UTC".to_owned())].into(),
        user: "1000:1000".to_owned(),
        working_dir: "/srv".to_owned(),
        volumes: ["/cache".to_owned()].into(),
    }
}

/// The instance that the first workload blesses.
pub(crate) fn blessed(compiled: &Compiled) -> Instance {
    ideal(first_workload(compiled), &image())
}

pub(crate) fn judged(compiled: &Compiled, instance: &Instance) -> Judgement {
    judge(compiled, instance, at())
}

/// `rule field` of every failing check.
pub(crate) fn failing(judgement: &Judgement) -> Vec<String> {
    with(judgement, Outcome::Fail)
}

pub(crate) fn with(judgement: &Judgement, outcome: Outcome) -> Vec<String> {
    judgement
        .checks
        .iter()
        .filter(|check| check.result == outcome)
        .map(named)
        .collect()
}

pub(crate) fn named(check: &Check) -> String {
    format!("{} {}", check.rule, check.field)
}

pub(crate) fn failing_of(judgement: &Judgement, control: Control) -> Vec<String> {
    judgement
        .failing()
        .filter(|check| check.control == control)
        .map(named)
        .collect()
}

pub(crate) fn result(judgement: &Judgement, rule: &str, field: &str) -> Option<Outcome> {
    judgement
        .checks
        .iter()
        .find(|check| check.rule.as_str() == rule && check.field == field)
        .map(|check| check.result)
}

pub(crate) fn live(instance: &mut Instance) -> &mut LiveFacts {
    match &mut instance.live {
        Evidence::Seen(live) => live,
        Evidence::Missing(reason) => panic!("{reason}"),
    }
}

pub(crate) fn process(instance: &mut Instance) -> &mut ProcessFacts {
    &mut live(instance).processes[0]
}

pub(crate) fn seen<T>(evidence: &mut Evidence<T>) -> &mut T {
    match evidence {
        Evidence::Seen(value) => value,
        Evidence::Missing(reason) => panic!("{reason}"),
    }
}
