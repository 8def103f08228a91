//! Cedar: the only module that names it.

use std::collections::HashMap;
use std::sync::LazyLock;

pub(crate) use cedar_policy::Template;
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicyId, PolicySet, Request, RestrictedExpression, Schema, SlotId, ValidationMode, Validator,
};
use serde_json::Value;
use verger_policy::model::RoleSubject;
use verger_policy::roles::{Ask, Single, Subject};

use crate::lower;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(&lower::schema()).expect("a schema made of two tables");
    schema
});

/// Cedar refuses a rule. Drafts that check never make one that it refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(String);

impl Fault {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A template, by a number that is its own.
pub(crate) fn template(number: usize, json: Value) -> Result<Template, Fault> {
    Template::from_json(Some(template_id(number)), json).map_err(Fault::of)
}

/// Validates templates strictly against the schema.
pub(crate) fn validate(templates: &[Template]) -> Result<(), Fault> {
    if templates.is_empty() {
        return Ok(());
    }
    let mut set = PolicySet::new();
    for template in templates {
        set.add_template(template.clone()).map_err(Fault::of)?;
    }
    let result = Validator::new(SCHEMA.clone()).validate(&set, ValidationMode::Strict);
    match result.validation_errors().next() {
        None => Ok(()),
        Some(error) => Err(Fault::of(error)),
    }
}

/// Links of templates to subjects, and what they decide together.
#[derive(Default)]
pub(crate) struct Links {
    set: PolicySet,
}

/// Which links decided: by the numbers they were made under.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    /// Allows that hold, where it is allowed; denies that hold, where not. In no order.
    pub(crate) by: Vec<usize>,
    /// Denies that could not be evaluated. In no order.
    pub(crate) failed: Vec<usize>,
}

impl Links {
    /// Links a template to a subject under a number.
    pub(crate) fn link(
        &mut self,
        number: usize,
        template: &Template,
        subject: &RoleSubject,
    ) -> Result<(), Fault> {
        if self.set.template(template.id()).is_none() {
            self.set.add_template(template.clone()).map_err(Fault::of)?;
        }
        let holder = match subject {
            RoleSubject::Group(name) => uid(lower::GROUP, name.as_str()),
            RoleSubject::Local(local) => uid(lower::LOCAL, &local.to_string()),
            RoleSubject::Person(name) => uid(lower::PERSON, name.as_str()),
        };
        let values = HashMap::from([(SlotId::principal(), holder)]);
        self.set
            .link(template.id().clone(), link_id(number), values)
            .map_err(Fault::of)
    }

    /// Decides.
    pub(crate) fn decide(&self, subject: &Subject, ask: &Ask) -> Result<Verdict, Fault> {
        let (person, resource) = (person(subject)?, resource(ask)?);
        let request = Request::new(
            person.uid(),
            uid(lower::ACTION, ask.verb.word()),
            resource.uid(),
            Context::empty(),
            Some(&SCHEMA),
        )
        .map_err(Fault::of)?;
        let groups = subject
            .groups
            .iter()
            .map(|group| Entity::with_uid(uid(lower::GROUP, group.as_str())));
        let known = groups.chain([person, resource]);
        let entities = Entities::from_entities(known, Some(&SCHEMA)).map_err(Fault::of)?;
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let diagnostics = response.diagnostics();
        let failed: Vec<usize> = diagnostics
            .errors()
            .filter_map(|error| self.failed_deny(error))
            .collect();
        // Cedar passes over what it cannot evaluate: here a deny is never passed over.
        let allowed = response.decision() == Decision::Allow && failed.is_empty();
        let by = if response.decision() == Decision::Allow && !allowed {
            Vec::new()
        } else {
            diagnostics.reason().filter_map(number_of).collect()
        };
        Ok(Verdict { allowed, by, failed })
    }

    fn failed_deny(&self, error: &AuthorizationError) -> Option<usize> {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        let policy = self.set.policy(error.policy_id())?;
        (policy.effect() == Effect::Forbid).then(|| number_of(policy.id()))?
    }
}

/// Whoever has no name has one that no certificate can have.
fn person(subject: &Subject) -> Result<Entity, Fault> {
    let Subject {
        person,
        groups,
        local,
    } = subject;
    if let Some(local) = local {
        let uid = uid(lower::LOCAL, &local.uid.to_string());
        return Entity::new_with_tags(uid, [], [], []).map_err(Fault::of);
    }
    let name = person.as_ref().map_or("", |name| name.as_str());
    let parents = groups.iter().map(|group| uid(lower::GROUP, group.as_str()));
    Entity::new_with_tags(uid(lower::PERSON, name), [], parents, []).map_err(Fault::of)
}

fn resource(ask: &Ask) -> Result<Entity, Fault> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut attributes = vec![(
        "whole".to_owned(),
        RestrictedExpression::new_bool(ask.single.is_none()),
    )];
    let mut tags = Vec::new();
    let mut id = "";
    if let Some(Single { name, labels }) = &ask.single {
        if let Some(name) = name {
            id = name.as_str();
            attributes.push(("name".to_owned(), text(id)));
        }
        tags.extend(labels.0.iter().map(|(key, value)| (key.clone(), text(value))));
    }
    Entity::new_with_tags(uid(&lower::type_of(ask.resource), id), attributes, [], tags).map_err(Fault::of)
}

fn uid(of: &str, id: &str) -> EntityUid {
    let of: EntityTypeName = of.parse().expect("types are named by `lower`");
    EntityUid::from_type_name_and_id(of, EntityId::new(id))
}

fn template_id(number: usize) -> PolicyId {
    PolicyId::new(format!("template {number}"))
}

fn link_id(number: usize) -> PolicyId {
    PolicyId::new(format!("link {number}"))
}

fn number_of(id: &PolicyId) -> Option<usize> {
    let text: &str = id.as_ref();
    text.strip_prefix("link ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use verger_policy::model::{Effect, Labels, Resource, RoleRule, Scope, Verb};

    use super::*;

    fn rule(effect: Effect) -> RoleRule {
        RoleRule {
            effect,
            verbs: [Verb::Get].into(),
            resources: [Resource::Workload].into(),
            scope: Scope::default(),
        }
    }

    /// Asks for a tag without looking whether there is one.
    fn erring(effect: Effect) -> Template {
        let mut json = lower::template(&rule(effect), &Scope::default());
        let tag = json!({ "getTag": { "left": { "Var": "resource" }, "right": { "Value": "app" } } });
        json["conditions"].as_array_mut().unwrap().push(json!({
            "kind": "when", "body": { "==": { "left": tag, "right": { "Value": "x" } } },
        }));
        template(1, json).unwrap()
    }

    fn verdict(second: &Template, labels: Labels) -> Verdict {
        let ada = Subject::person("ada".parse().unwrap());
        let holder = "person/ada".parse().unwrap();
        let mut links = Links::default();
        let allow = template(0, lower::template(&rule(Effect::Allow), &Scope::default())).unwrap();
        links.link(0, &allow, &holder).unwrap();
        links.link(1, second, &holder).unwrap();
        let ask = Ask::one(
            Verb::Get,
            Resource::Workload,
            Some("web".parse().unwrap()),
            labels,
        );
        links.decide(&ada, &ask).unwrap()
    }

    #[test]
    fn a_deny_that_cannot_be_evaluated_denies_and_such_an_allow_does_nothing() {
        let erred = verdict(&erring(Effect::Deny), Labels::default());
        assert_eq!(
            erred,
            Verdict {
                allowed: false,
                by: vec![],
                failed: vec![1]
            }
        );
        let labels = Labels([("app".to_owned(), "y".to_owned())].into());
        let passed = verdict(&erring(Effect::Deny), labels);
        assert_eq!(
            passed,
            Verdict {
                allowed: true,
                by: vec![0],
                failed: vec![]
            }
        );
        let allowed = verdict(&erring(Effect::Allow), Labels::default());
        assert_eq!((allowed.allowed, allowed.by), (true, vec![0]));
    }

    #[test]
    fn every_resource_looks_the_same_to_a_scope() {
        let labels = Labels([("k".to_owned(), "v".to_owned())].into());
        let names = ["a/*".parse().unwrap(), "b".parse().unwrap()].into();
        let scope = Scope { names, labels };
        for effect in [Effect::Allow, Effect::Deny] {
            let everything = RoleRule {
                verbs: Verb::ALL.iter().copied().collect(),
                resources: Resource::ALL.iter().copied().collect(),
                scope: scope.clone(),
                effect,
            };
            let made = template(0, lower::template(&everything, &scope)).unwrap();
            assert_eq!(validate(&[made]), Ok(()));
        }
    }

    #[test]
    fn what_could_err_does_not_pass_validation() {
        assert!(validate(&[erring(Effect::Deny)]).is_err());
        let mut json = lower::template(&rule(Effect::Deny), &Scope::default());
        json["action"]["entities"][0]["id"] = "frobnicate".into();
        assert!(validate(&[template(0, json).unwrap()]).is_err());
        assert!(
            validate(&[template(0, lower::template(&rule(Effect::Deny), &Scope::default())).unwrap()])
                .is_ok()
        );
    }
}
