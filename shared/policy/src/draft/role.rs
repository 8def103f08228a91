//! `Role` and `RoleBinding` drafts.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::node::Node;
use super::object::name;
use super::problem::quoted;
use super::reader::{Got, Reader};
use super::scalar::labels;
use crate::model::{
    Effect, Labels, MAX_ROLE_WORDS, Name, Resource, Role, RoleBinding, RoleRule, RoleSubject, Scope, Verb,
};
use crate::roles;

/// Reads the `spec` of a role.
pub(super) fn role(reader: &mut Reader<'_>, node: &Node) -> Got<Role> {
    let mut fields = reader.open(node)?;
    let example = "[ { effect: allow, verbs: [ get, list ], resources: [ Workload ] } ]";
    let rules = fields.required(reader, "rules", example, |reader, node| {
        let rules = reader.records(node, "rule", rule, RoleRule::clone)?;
        if rules.is_empty() {
            return Err(reader.report(node.place, "allows and denies nothing", "state at least one rule"));
        }
        within_limit(reader, node, rules.len(), "make several roles, and bind them all")?;
        Ok(rules.into_iter().collect())
    });
    fields.close(reader)?;
    Ok(Role { rules: rules? })
}

/// Reads the `spec` of a binding.
pub(super) fn binding(reader: &mut Reader<'_>, node: &Node) -> Got<RoleBinding> {
    let mut fields = reader.open(node)?;
    let role = fields.required(reader, "role", "viewer", name);
    let subjects = fields.required(reader, "subjects", "[ person/ada ]", |reader, node| {
        let subjects = reader.set(node, |reader, node| {
            reader.parse(
                node,
                "write person/NAME, as in the certificate, group/NAME, or local/UID",
            )
        })?;
        if subjects.is_empty() {
            return Err(reader.report(
                node.place,
                "names nobody",
                "name at least one person, group or local user",
            ));
        }
        Ok(subjects)
    });
    let scope = fields.optional(reader, "scope", |reader, node| {
        let mut fields = reader.open(node)?;
        let scope = scope(reader, &mut fields);
        fields.close(reader)?;
        let scope = scope?;
        if scope.is_everything() {
            return Err(reader.report(
                node.place,
                "leaves nothing out",
                "state `names` or `labels`, or remove it",
            ));
        }
        Ok(scope)
    });
    let hosts_node = fields.take("hosts");
    let hosts = hosts_node
        .map(|node| reader.under("hosts", |reader| hosts(reader, node)))
        .transpose();
    fields.close(reader)?;
    let binding = RoleBinding {
        role: role?,
        subjects: subjects?,
        scope: scope?.unwrap_or_default(),
        hosts: hosts?.unwrap_or_default(),
    };
    let is_local = |subject: &RoleSubject| matches!(subject, RoleSubject::Local(_));
    if let Some(node) = hosts_node
        && !binding.subjects.iter().any(is_local)
    {
        return Err(reader.under("hosts", |reader| {
            reader.report(
                node.place,
                "narrows nothing: no subject is a local user",
                "remove it, or name a local user: people and groups call the cluster, and no host",
            )
        }));
    }
    Ok(binding)
}

/// Reads on which hosts a binding gives its role to local users.
fn hosts(reader: &mut Reader<'_>, node: &Node) -> Got<Labels> {
    let hosts = labels(reader, node)?;
    if hosts.is_empty() {
        return Err(reader.report(
            node.place,
            "leaves no host out",
            "state labels of hosts, or remove it",
        ));
    }
    within_limit(reader, node, hosts.0.len(), "state fewer")?;
    Ok(hosts)
}

/// Refuses the name of a built-in role.
pub(super) fn check_name(reader: &mut Reader<'_>, node: &Node, name: &Name) -> Got<()> {
    if roles::find(name.as_str()).is_none() {
        return Ok(());
    }
    Err(reader.report(
        node.place,
        format!("{} is a built-in role", quoted(name.as_str())),
        "give the role another name",
    ))
}

fn rule(reader: &mut Reader<'_>, node: &Node) -> Got<RoleRule> {
    let mut fields = reader.open(node)?;
    let effect = fields.required(reader, "effect", "allow", |reader, node| {
        reader.word(node, Effect::ALL, Effect::word)
    });
    let verbs = fields.required(reader, "verbs", "[ get, list ]", |reader, node| {
        words(reader, node, Verb::ALL, Verb::word)
    });
    let resources_node = fields.take("resources");
    let resources = match resources_node {
        Some(node) => reader.under("resources", |reader| {
            words(reader, node, Resource::ALL, Resource::word)
        }),
        None => fields.required(reader, "resources", "[ Workload ]", |_, _| Ok(BTreeSet::new())),
    };
    let scope = scope(reader, &mut fields);
    fields.close(reader)?;
    let rule = RoleRule {
        effect: effect?,
        verbs: verbs?,
        resources: resources?,
        scope: scope?,
    };
    let place = resources_node.map_or(node.place, |node| node.place);
    match fault(&rule) {
        None => Ok(rule),
        Some((message, remedy)) => {
            Err(reader.under("resources", |reader| reader.report(place, message, remedy)))
        }
    }
}

/// What makes a rule say less than it seems to.
fn fault(rule: &RoleRule) -> Option<(String, String)> {
    let knows = |resource: &Resource, verb: &Verb| resource.verbs().contains(verb);
    if let Some(verb) = rule
        .verbs
        .iter()
        .find(|verb| !rule.resources.iter().any(|resource| knows(resource, verb)))
    {
        let others = Resource::ALL.iter().filter(|resource| knows(resource, verb));
        return Some((
            format!("the verb `{verb}` means nothing on any of these"),
            format!("remove the verb, or add one of: {}", listed(others)),
        ));
    }
    if let Some(resource) = rule
        .resources
        .iter()
        .find(|resource| !rule.verbs.iter().any(|verb| knows(resource, verb)))
    {
        return Some((
            format!("`{resource}` knows none of the verbs"),
            format!("remove it, or add one of: {}", listed(resource.verbs())),
        ));
    }
    let nameless = rule.resources.iter().find(|resource| !resource.has_names())?;
    (!rule.scope.is_everything()).then(|| {
        (
            format!("`{nameless}` has no names and no labels, so nothing of it is within the rule's scope"),
            format!("state `{nameless}` in a rule without `names` and `labels`"),
        )
    })
}

fn scope(reader: &mut Reader<'_>, fields: &mut super::reader::Fields<'_>) -> Got<Scope> {
    let names = fields.optional(reader, "names", |reader, node| {
        let names = reader.set(node, |reader, node| {
            reader.parse(node, "write a name, or NAME/* for everything below it")
        })?;
        if names.is_empty() {
            return Err(reader.report(
                node.place,
                "is empty, and so fits nothing",
                "list names, or remove it",
            ));
        }
        within_limit(
            reader,
            node,
            names.len(),
            "tell them apart by a label, or by what is above them: NAME/*",
        )?;
        Ok(names)
    });
    let labels = fields.optional(reader, "labels", |reader, node| {
        let labels = labels(reader, node)?;
        within_limit(reader, node, labels.0.len(), "state fewer")?;
        Ok(labels)
    });
    Ok(Scope {
        names: names?.unwrap_or_default(),
        labels: labels?.unwrap_or_default(),
    })
}

fn within_limit(reader: &mut Reader<'_>, node: &Node, count: usize, remedy: &str) -> Got<()> {
    if count <= MAX_ROLE_WORDS {
        return Ok(());
    }
    Err(reader.report(
        node.place,
        format!("has {count} entries; the limit is {MAX_ROLE_WORDS}"),
        remedy,
    ))
}

/// Reads a list of words that is a set, and not empty.
pub(super) fn words<T: Copy + Ord>(
    reader: &mut Reader<'_>,
    node: &Node,
    all: &[T],
    spelling: impl Fn(T) -> &'static str + Copy,
) -> Got<BTreeSet<T>> {
    let words = reader.set(node, |reader, node| reader.word(node, all, spelling))?;
    if words.is_empty() {
        return Err(reader.report(node.place, "is empty, and so fits nothing", "name at least one"));
    }
    Ok(words)
}

fn listed<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = all.into_iter().map(|word| word.to_string()).collect();
    words.join(", ")
}
