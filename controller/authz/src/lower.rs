//! Rules in Cedar's terms: its schema, and one template for each rule and scope.
//!
//! Templates are made as Cedar's JSON form, so no text of a policy object is ever parsed as Cedar.

use std::fmt::Write as _;

use serde_json::{Value, json};
use verger_policy::model::{Effect, NamePattern, Resource, RoleRule, Scope, Verb};

pub(crate) const PERSON: &str = "Verger::Person";
pub(crate) const GROUP: &str = "Verger::Group";
/// A user of a host.
pub(crate) const LOCAL: &str = "Verger::Local";
pub(crate) const ACTION: &str = "Verger::Action";

/// The type of what a verb is done to. The suffix keeps it from names that Cedar has taken.
pub(crate) fn type_of(resource: Resource) -> String {
    format!("Verger::{}", short(resource))
}

fn short(resource: Resource) -> String {
    format!("{resource:?}Resource")
}

/// The schema, in Cedar's own words: every resource, and every verb with what knows it.
pub(crate) fn schema() -> String {
    let mut text =
        String::from("namespace Verger {\n  entity Group;\n  entity Local;\n  entity Person in [Group];\n");
    for resource in Resource::ALL {
        let name = short(*resource);
        writeln!(
            text,
            "  entity {name} = {{ whole: Bool, name?: String }} tags String;"
        )
        .expect("a String takes everything");
    }
    for verb in Verb::ALL {
        let knowing = Resource::ALL
            .iter()
            .filter(|resource| resource.verbs().contains(verb));
        let local = knowing.clone().any(|resource| resource.is_of_runtime());
        let principals = if local { "Local, Person" } else { "Person" };
        let knowing: Vec<String> = knowing.map(|resource| short(*resource)).collect();
        writeln!(
            text,
            "  action \"{verb}\" appliesTo {{ principal: [{principals}], resource: [{}] }};",
            knowing.join(", ")
        )
        .expect("a String takes everything");
    }
    text.push_str("}\n");
    text
}

/// A rule within its own scope and its binding's.
pub(crate) fn template(rule: &RoleRule, bound: &Scope) -> Value {
    let RoleRule {
        effect,
        verbs,
        resources,
        scope,
    } = rule;
    let actions: Vec<Value> = verbs
        .iter()
        .map(|verb| json!({ "type": ACTION, "id": verb.word() }))
        .collect();
    let kinds = resources.iter().map(
        |resource| json!({ "is": { "left": { "Var": "resource" }, "entity_type": type_of(*resource) } }),
    );
    let mut conditions = vec![when(any(kinds.collect()))];
    for scope in [scope, bound].into_iter().filter(|scope| !scope.is_everything()) {
        conditions.push(when(within(scope, *effect)));
    }
    json!({
        "effect": match effect { Effect::Allow => "permit", Effect::Deny => "forbid" },
        "principal": { "op": "in", "slot": "?principal" },
        "action": { "op": "in", "entities": actions },
        "resource": { "op": "All" },
        "conditions": conditions,
    })
}

fn when(body: Value) -> Value {
    json!({ "kind": "when", "body": body })
}

/// All at once is within no scope of an allow, and within every scope of a deny.
fn within(Scope { names, labels }: &Scope, effect: Effect) -> Value {
    let mut single = Vec::new();
    if !names.is_empty() {
        let named = json!({ "has": { "left": { "Var": "resource" }, "attr": "name" } });
        single.push(both(named, any(names.iter().map(fits).collect())));
    }
    single.extend(labels.0.iter().map(|(key, value)| {
        let (resource, key) = (json!({ "Var": "resource" }), json!({ "Value": key }));
        let has = json!({ "hasTag": { "left": resource, "right": key } });
        let tag = json!({ "getTag": { "left": resource, "right": key } });
        both(has, json!({ "==": { "left": tag, "right": { "Value": value } } }))
    }));
    let single = all(single);
    let whole = json!({ ".": { "left": { "Var": "resource" }, "attr": "whole" } });
    match effect {
        Effect::Allow => both(json!({ "!": { "arg": whole } }), single),
        Effect::Deny => json!({ "||": { "left": whole, "right": single } }),
    }
}

fn fits(pattern: &NamePattern) -> Value {
    let name = json!({ ".": { "left": { "Var": "resource" }, "attr": "name" } });
    if pattern.is_below() {
        let above = format!("{}/", pattern.name());
        json!({ "like": { "left": name, "pattern": [{ "Literal": above }, "Wildcard"] } })
    } else {
        json!({ "==": { "left": name, "right": { "Value": pattern.name().as_str() } } })
    }
}

fn both(left: Value, right: Value) -> Value {
    json!({ "&&": { "left": left, "right": right } })
}

fn any(parts: Vec<Value>) -> Value {
    balanced("||", false, parts)
}

fn all(parts: Vec<Value>) -> Value {
    balanced("&&", true, parts)
}

/// A tree as shallow as can be: a scope may state as many names as fit an object, and Cedar's evaluator is recursive.
fn balanced(operator: &str, empty: bool, mut parts: Vec<Value>) -> Value {
    while parts.len() > 1 {
        let mut next = Vec::with_capacity(parts.len().div_ceil(2));
        let mut pairs = parts.into_iter();
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => json!({ operator: { "left": left, "right": right } }),
                None => left,
            });
        }
        parts = next;
    }
    parts.pop().unwrap_or_else(|| json!({ "Value": empty }))
}
