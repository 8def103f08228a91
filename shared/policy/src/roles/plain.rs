//! What roles decide, written down a second time: without an index, a rule at a time, as the documentation says it.
//!
//! For tests: what [`super::CompiledRoles`] and Cedar decide is held against it.

use super::{Ask, Because, Decision, GivenRule, Subject, bound};
use crate::model::{Effect, PolicyObject, RoleRule, RoleSubject, Scope};

/// Decides by looking at every rule of every binding.
pub fn decide(objects: &[PolicyObject], subject: &Subject, ask: &Ask) -> Decision {
    let given = bound(objects);
    let mut holding: Vec<GivenRule> = Vec::new();
    for binding in &given {
        let is_theirs = binding.binding.subjects.iter().any(|holder| match holder {
            RoleSubject::Person(name) => subject.person.as_ref() == Some(name),
            RoleSubject::Group(name) => subject.groups.contains(name),
            RoleSubject::Local(uid) => subject
                .local
                .as_ref()
                .is_some_and(|local| local.uid == *uid && binding.binding.hosts.select(&local.host)),
        });
        let rules = binding.role.iter().flat_map(|role| &role.rules);
        let hold = rules.filter(|rule| is_theirs && names(rule, ask)).filter(|rule| {
            inside(&rule.scope, rule.effect, ask) && inside(&binding.binding.scope, rule.effect, ask)
        });
        holding.extend(hold.map(|rule| GivenRule {
            binding: binding.name.clone(),
            role: binding.binding.role.clone(),
            rule: rule.clone(),
        }));
    }
    let denied = holding.iter().any(|given| given.rule.effect == Effect::Deny);
    let wanted = if denied { Effect::Deny } else { Effect::Allow };
    holding.retain(|given| given.rule.effect == wanted);
    holding.sort();
    holding.dedup();
    let because = if ask.check().is_err() {
        vec![Because::Meaningless]
    } else if given.is_empty() && subject.local.is_none() {
        vec![Because::NothingBound]
    } else if holding.is_empty() || (subject.local.is_some() && !ask.resource.is_of_runtime()) {
        vec![Because::NothingAllows]
    } else {
        holding.into_iter().map(Because::Rule).collect()
    };
    Decision {
        allowed: match because[0] {
            Because::Meaningless
            | Because::NothingAllows
            | Because::NothingBoundYet
            | Because::Unevaluated(_) => false,
            Because::NothingBound => true,
            Because::Rule(_) => !denied,
        },
        because,
    }
}

fn names(rule: &RoleRule, ask: &Ask) -> bool {
    rule.verbs.contains(&ask.verb) && rule.resources.contains(&ask.resource)
}

/// What holds of a scope.
fn inside(scope: &Scope, effect: Effect, ask: &Ask) -> bool {
    if scope.names.is_empty() && scope.labels.0.is_empty() {
        return true;
    }
    let Some(single) = &ask.single else {
        return effect == Effect::Deny;
    };
    let fits = |name: &str| {
        let mut patterns = scope.names.iter().map(ToString::to_string);
        patterns.any(|pattern| match pattern.strip_suffix('*') {
            Some(above) => name.starts_with(above),
            None => name == pattern,
        })
    };
    let named = scope.names.is_empty() || single.name.as_ref().is_some_and(|name| fits(name.as_str()));
    let mut labels = scope.labels.0.iter();
    named && labels.all(|label| single.labels.0.iter().any(|own| own == label))
}
