//! Cedar as its users use it: a template for each rule within its scopes, a link for each subject of each binding, all in one set.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression, SlotId, Template,
};
use verger_policy::model::{Effect, Name, PolicyObject, RoleRule, RoleSubject, Scope};
use verger_policy::roles::{Ask, Single, Subject, bound};

/// The set, and requests made ready: asking is all that is measured.
pub(crate) struct Cedar {
    authorizer: Authorizer,
    set: PolicySet,
    requests: Vec<(Request, Entities)>,
}

impl Cedar {
    pub(crate) fn compile(objects: &[PolicyObject], requests: &[super::Request]) -> Result<Self> {
        let mut set = PolicySet::new();
        let mut templates: BTreeMap<String, PolicyId> = BTreeMap::new();
        let mut links = 0;
        for binding in bound(objects) {
            let rules = binding.role.iter().flat_map(|role| &role.rules);
            for rule in rules {
                let text = text(rule, &binding.binding.scope);
                let id = if let Some(id) = templates.get(&text) {
                    id.clone()
                } else {
                    let id = PolicyId::new(format!("t{}", templates.len()));
                    set.add_template(Template::parse(Some(id.clone()), &text).context(text.clone())?)?;
                    templates.insert(text, id.clone());
                    id
                };
                for subject in &binding.binding.subjects {
                    let values = HashMap::from([(SlotId::principal(), holder(subject)?)]);
                    set.link(id.clone(), PolicyId::new(format!("l{links}")), values)?;
                    links += 1;
                }
            }
        }
        let requests = requests
            .iter()
            .map(|request| self::request(&request.subject, &request.ask));
        Ok(Self {
            authorizer: Authorizer::new(),
            set,
            requests: requests.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn decide(&self, number: usize) -> bool {
        let (request, entities) = &self.requests[number];
        let response = self.authorizer.is_authorized(request, &self.set, entities);
        response.decision() == Decision::Allow
    }
}

fn text(rule: &RoleRule, bound: &Scope) -> String {
    let RoleRule {
        effect,
        verbs,
        resources,
        scope,
    } = rule;
    let word = match effect {
        Effect::Allow => "permit",
        Effect::Deny => "forbid",
    };
    let actions: Vec<String> = verbs.iter().map(|verb| format!("Action::\"{verb}\"")).collect();
    let kinds: Vec<String> = resources
        .iter()
        .map(|resource| format!("resource is R{resource:?}"))
        .collect();
    let mut text = format!(
        "{word} (principal in ?principal, action in [{}], resource) when {{ {} }}",
        actions.join(", "),
        kinds.join(" || ")
    );
    for scope in [scope, bound].into_iter().filter(|scope| !scope.is_everything()) {
        let single = within(scope);
        text += &match effect {
            Effect::Allow => format!(" when {{ !resource.whole && {single} }}"),
            Effect::Deny => format!(" when {{ resource.whole || ({single}) }}"),
        };
    }
    text + ";"
}

fn within(Scope { names, labels }: &Scope) -> String {
    let mut parts = Vec::new();
    if !names.is_empty() {
        let fits: Vec<String> = names
            .iter()
            .map(|pattern| {
                let operator = if pattern.is_below() { "like" } else { "==" };
                format!("resource.name {operator} \"{pattern}\"")
            })
            .collect();
        parts.push(format!("resource has name && ({})", fits.join(" || ")));
    }
    parts.extend(labels.0.iter().map(|(key, value)| {
        format!("resource.hasTag(\"{key}\") && resource.getTag(\"{key}\") == \"{value}\"")
    }));
    parts.join(" && ")
}

fn uid(of: &str, id: &str) -> Result<EntityUid> {
    Ok(format!("{of}::\"{id}\"").parse()?)
}

fn group(name: &Name) -> Result<EntityUid> {
    uid("Group", name.as_str())
}

fn holder(subject: &RoleSubject) -> Result<EntityUid> {
    match subject {
        RoleSubject::Group(name) => group(name),
        RoleSubject::Local(number) => uid("Local", &number.to_string()),
        RoleSubject::Person(name) => uid("Person", name.as_str()),
    }
}

fn request(subject: &Subject, ask: &Ask) -> Result<(Request, Entities)> {
    let person = uid("Person", subject.person.as_ref().map_or("", |name| name.as_str()))?;
    let groups = subject.groups.iter().map(group).collect::<Result<Vec<_>>>()?;
    let mut attributes = HashMap::from([(
        "whole".to_owned(),
        RestrictedExpression::new_bool(ask.single.is_none()),
    )]);
    let mut tags = Vec::new();
    let mut id = "";
    if let Some(Single { name, labels }) = &ask.single {
        if let Some(name) = name {
            id = name.as_str();
            attributes.insert("name".to_owned(), RestrictedExpression::new_string(id.to_owned()));
        }
        let text = |value: &String| RestrictedExpression::new_string(value.clone());
        tags.extend(labels.0.iter().map(|(key, value)| (key.clone(), text(value))));
    }
    let resource = uid(&format!("R{:?}", ask.resource), id)?;
    let action = uid("Action", ask.verb.word())?;
    let all = [
        Entity::new_with_tags(person.clone(), [], groups.clone(), [])?,
        Entity::new_with_tags(resource.clone(), attributes, [], tags)?,
    ];
    let all = all.into_iter().chain(groups.into_iter().map(Entity::with_uid));
    let request = Request::new(person, action, resource, Context::empty(), None)?;
    Ok((request, Entities::from_entities(all, None)?))
}
