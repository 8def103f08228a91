//! regorus, with its data indexed by subject and by what is asked, on its virtual machine: the fastest it offers.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::{Engine, Value};
use serde_json::json;
use verger_policy::model::{Effect, PolicyObject, Resource, Scope, Verb};
use verger_policy::roles::{Ask, Single, Subject, bound};

const POLICY: &str = r#"
package verger

import rego.v1

default allow := false

allow if {
	not denied
	some holder in input.holders
	some scopes in data.allows[holder][input.power]
	every scope in scopes { within(scope) }
}

denied if {
	some holder in input.holders
	some scopes in data.denies[holder][input.power]
	every scope in scopes { reached(scope) }
}

reached(scope) if not input.single

reached(scope) if within(scope)

within(scope) if {
	input.single
	named(scope)
	every key, value in scope.labels { input.labels[key] == value }
}

named(scope) if not scope.named

named(scope) if scope.exact[input.name]

named(scope) if {
	some above in scope.above
	startswith(input.name, above)
}
"#;

/// The machine, and inputs made ready: asking is all that is measured.
pub(crate) struct Rego {
    machine: RegoVM,
    inputs: Vec<Value>,
}

impl Rego {
    pub(crate) fn compile(objects: &[PolicyObject], requests: &[super::Request]) -> Result<Self> {
        let data = Value::from_json_str(&data(objects).to_string())?;
        let mut engine = Engine::new();
        engine.add_policy("verger.rego".to_owned(), POLICY.to_owned())?;
        let policy = engine.compile_with_entrypoint(&Arc::from("data.verger.allow"))?;
        let program = Compiler::compile_from_policy(&policy, &["data.verger.allow"])?;
        let mut machine = RegoVM::new();
        machine.load_program(program);
        machine.set_data(data)?;
        let inputs = requests.iter().map(|request| {
            let input = input(&request.subject, &request.ask);
            Value::from_json_str(&input.to_string())
        });
        Ok(Self {
            machine,
            inputs: inputs.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn decide(&mut self, number: usize) -> Result<bool> {
        self.machine.set_input(self.inputs[number].clone());
        let value = self.machine.execute()?;
        Ok(value == Value::from(true))
    }
}

fn power(verb: Verb, resource: Resource) -> String {
    format!("{verb} {resource}")
}

fn data(objects: &[PolicyObject]) -> serde_json::Value {
    type Granted = BTreeMap<String, BTreeMap<String, Vec<serde_json::Value>>>;
    let (mut allows, mut denies) = (Granted::new(), Granted::new());
    for binding in bound(objects) {
        for rule in binding.role.iter().flat_map(|role| &role.rules) {
            let scopes = [&rule.scope, &binding.binding.scope];
            let scopes: Vec<_> = scopes
                .into_iter()
                .filter(|scope| !scope.is_everything())
                .map(scope)
                .collect();
            let granted = match rule.effect {
                Effect::Allow => &mut allows,
                Effect::Deny => &mut denies,
            };
            for subject in &binding.binding.subjects {
                let of_them = granted.entry(subject.to_string()).or_default();
                for resource in &rule.resources {
                    for verb in resource.verbs().iter().filter(|verb| rule.verbs.contains(verb)) {
                        let known = of_them.entry(power(*verb, *resource)).or_default();
                        known.push(json!(scopes));
                    }
                }
            }
        }
    }
    json!({ "allows": allows, "denies": denies })
}

fn scope(Scope { names, labels }: &Scope) -> serde_json::Value {
    let exact = names.iter().filter(|pattern| !pattern.is_below());
    let exact: BTreeMap<&str, bool> = exact.map(|pattern| (pattern.name().as_str(), true)).collect();
    let above = names.iter().filter(|pattern| pattern.is_below());
    let above: Vec<String> = above.map(|pattern| format!("{}/", pattern.name())).collect();
    json!({ "named": !names.is_empty(), "exact": exact, "above": above, "labels": labels })
}

fn input(subject: &Subject, ask: &Ask) -> serde_json::Value {
    let holders: Vec<String> = subject.holders().map(|holder| holder.to_string()).collect();
    let mut input = json!({
        "holders": holders,
        "power": power(ask.verb, ask.resource),
        "single": ask.single.is_some(),
    });
    if let Some(Single { name, labels }) = &ask.single {
        if let Some(name) = name {
            input["name"] = json!(name);
        }
        input["labels"] = json!(labels);
    }
    input
}
