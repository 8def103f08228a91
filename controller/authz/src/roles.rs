//! The roles of a set, compiled.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::model::{
    Effect, Kind, Labels, Name, ObjectKey, PolicyObject, Resource, Role, RoleBinding, RoleRule, RoleSubject,
    Scope, Verb,
};
use verger_policy::roles::{Ask, Because, Decision, GivenRule, Subject, bound};

use crate::engine::{self, Links, Template};
use crate::lower;

/// Cedar refuses a rule of a role, or one with the scope of a binding. No set of objects that [`verger_policy::draft`] made
/// leads here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{binding} cannot be compiled: {why}")]
pub struct CompileError {
    /// The binding.
    pub binding: ObjectKey,
    /// What Cedar says.
    pub why: String,
}

/// The roles and bindings of one set, ready to decide. What somebody may do costs the same however many others are bound.
#[derive(Debug, Default)]
pub struct Roles {
    given: Vec<Given>,
    templates: Vec<Template>,
    by_subject: BTreeMap<RoleSubject, Vec<usize>>,
    bound: bool,
    dangling: Vec<(Name, Name)>,
}

/// A rule as a binding gives it.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) rule: GivenRule,
    /// The binding's.
    pub(crate) scope: Scope,
    /// Where local users have it.
    hosts: Labels,
    template: usize,
}

/// The templates of one compilation, each made once.
#[derive(Default)]
struct Shapes {
    templates: Vec<Template>,
    made: BTreeMap<(RoleRule, Scope), usize>,
    rules: BTreeSet<RoleRule>,
    scopes: BTreeSet<(Effect, Scope)>,
}

impl Shapes {
    fn template(&mut self, rule: &RoleRule, scope: &Scope) -> Result<usize, engine::Fault> {
        let shape = (rule.clone(), scope.clone());
        if let Some(there) = self.made.get(&shape) {
            return Ok(*there);
        }
        self.validate(rule, scope)?;
        let number = self.templates.len();
        self.templates
            .push(engine::template(number, lower::template(rule, scope))?);
        self.made.insert(shape, number);
        Ok(number)
    }

    /// Rules are validated for all they name, scopes of bindings for one resource: all have the same attributes, and a set may
    /// have thousands of bindings with a scope of their own.
    fn validate(&mut self, rule: &RoleRule, scope: &Scope) -> Result<(), engine::Fault> {
        let mut templates = Vec::new();
        if self.rules.insert(rule.clone()) {
            templates.push(lower::template(rule, &Scope::default()));
        }
        if self.scopes.insert((rule.effect, scope.clone())) {
            let any = RoleRule {
                effect: rule.effect,
                verbs: [Verb::Get].into(),
                resources: [Resource::Workload].into(),
                scope: Scope::default(),
            };
            templates.push(lower::template(&any, scope));
        }
        let templates = templates.into_iter().enumerate();
        let templates: Result<Vec<_>, _> = templates
            .map(|(number, json)| engine::template(number, json))
            .collect();
        engine::validate(&templates?)
    }
}

impl Roles {
    /// Compiles the roles and bindings among objects.
    ///
    /// # Errors
    /// When Cedar refuses one; see [`CompileError`].
    pub fn compile<'a>(
        objects: impl IntoIterator<Item = &'a PolicyObject> + Clone,
    ) -> Result<Self, CompileError> {
        let mut compiled = Self::default();
        let mut shapes = Shapes::default();
        for given in bound(objects) {
            compiled.bound = true;
            match &given.role {
                Some(role) => compiled
                    .bind(given.name, given.binding, role, &mut shapes)
                    .map_err(|fault| CompileError {
                        binding: ObjectKey {
                            kind: Kind::RoleBinding,
                            name: given.name.clone(),
                        },
                        why: fault.to_string(),
                    })?,
                None => compiled
                    .dangling
                    .push((given.name.clone(), given.binding.role.clone())),
            }
        }
        compiled.templates = shapes.templates;
        Ok(compiled)
    }

    fn bind(
        &mut self,
        name: &Name,
        binding: &RoleBinding,
        role: &Role,
        shapes: &mut Shapes,
    ) -> Result<(), engine::Fault> {
        let RoleBinding {
            role: role_name,
            subjects,
            scope,
            hosts,
        } = binding;
        for rule in &role.rules {
            let template = shapes.template(rule, scope)?;
            let place = self.given.len();
            self.given.push(Given {
                rule: GivenRule {
                    binding: name.clone(),
                    role: role_name.clone(),
                    rule: rule.clone(),
                },
                scope: scope.clone(),
                hosts: hosts.clone(),
                template,
            });
            for subject in subjects {
                self.by_subject.entry(subject.clone()).or_default().push(place);
            }
        }
        Ok(())
    }

    /// Whether any role is bound. While none is, whoever has a login that a person of the cluster gave may do everything.
    pub const fn are_in_force(&self) -> bool {
        self.bound
    }

    /// Bindings, and the roles they name, that are neither built in nor in the set.
    pub fn dangling(&self) -> &[(Name, Name)] {
        &self.dangling
    }

    /// Everybody a binding names.
    pub fn subjects(&self) -> impl Iterator<Item = &RoleSubject> {
        self.by_subject.keys()
    }

    /// Every rule that bindings give to somebody, with the binding's scope, by role and binding.
    pub fn given(&self, subject: &Subject) -> Vec<(&GivenRule, &Scope)> {
        let mut given: Vec<_> = subject
            .holders()
            .flat_map(|holder| self.given_here(subject, &holder).collect::<Vec<_>>())
            .map(|given| (&given.rule, &given.scope))
            .collect();
        given.sort_by_key(|(given, _)| (&given.role, *given));
        given.dedup();
        given
    }

    /// What bindings give to a subject by one of its names, where it is.
    fn given_here<'a>(&'a self, subject: &Subject, holder: &RoleSubject) -> impl Iterator<Item = &'a Given> {
        let host = match (holder, &subject.local) {
            (RoleSubject::Local(_), Some(local)) => Some(local.host.clone()),
            _ => None,
        };
        let here = move |given: &&Given| host.as_ref().is_none_or(|host| given.hosts.select(host));
        self.given_to(holder).filter(here)
    }

    /// What bindings give to a subject by its own name.
    pub(crate) fn given_to(&self, subject: &RoleSubject) -> impl Iterator<Item = &Given> {
        let places = self.by_subject.get(subject);
        places.into_iter().flatten().map(|place| &self.given[*place])
    }

    /// Decides of somebody whose login nobody of the cluster gave, but an identity provider: as [`decide`](Self::decide), and while
    /// no role is bound nothing is allowed. Whoever has an account there has no say before anybody was given one here.
    pub fn decide_once_bound(&self, subject: &Subject, ask: &Ask) -> Decision {
        if self.bound || subject.local.is_some() || ask.check().is_err() {
            return self.decide(subject, ask);
        }
        Decision {
            allowed: false,
            because: vec![Because::NothingBoundYet],
        }
    }

    /// Decides of somebody whose login was given by a person of the cluster, who may do everything while no role is bound.
    pub fn decide(&self, subject: &Subject, ask: &Ask) -> Decision {
        let denied = |because| Decision {
            allowed: false,
            because: vec![because],
        };
        if ask.check().is_err() {
            return denied(Because::Meaningless);
        }
        if !subject.could_have(ask.resource) {
            return denied(Because::NothingAllows);
        }
        // Nobody of the cluster let a host's users in: they have what is bound to them, and nothing before.
        if !self.bound && subject.local.is_none() {
            return Decision {
                allowed: true,
                because: vec![Because::NothingBound],
            };
        }
        let holders: Vec<RoleSubject> = subject.holders().collect();
        let mut links = Links::default();
        let mut places = Vec::new();
        for holder in &holders {
            for place in self.by_subject.get(holder).into_iter().flatten() {
                let host = subject.local.as_ref().map(|local| &local.host);
                let is_local = matches!(holder, RoleSubject::Local(_));
                if is_local && !host.is_some_and(|host| self.given[*place].hosts.select(host)) {
                    continue;
                }
                let template = &self.templates[self.given[*place].template];
                // Cedar takes every link of a template that it has validated; if it did not, nothing would be allowed.
                if links.link(places.len(), template, holder).is_err() {
                    return denied(Because::Unevaluated(self.given[*place].rule.clone()));
                }
                places.push(*place);
            }
        }
        let Ok(verdict) = links.decide(subject, ask) else {
            return denied(Because::Meaningless);
        };
        let rule = |link: usize| self.given[places[link]].rule.clone();
        let by = verdict.by.into_iter().map(|link| Because::Rule(rule(link)));
        let failed = verdict
            .failed
            .into_iter()
            .map(|link| Because::Unevaluated(rule(link)));
        let mut because: Vec<Because> = by.chain(failed).collect();
        because.sort();
        because.dedup();
        if because.is_empty() {
            because.push(Because::NothingAllows);
        }
        Decision {
            allowed: verdict.allowed,
            because,
        }
    }

    /// Of everybody a binding names, who may do it: people as such, without their groups, and groups as such.
    pub fn who_can<'a>(&'a self, ask: &'a Ask) -> impl Iterator<Item = (&'a RoleSubject, Decision)> {
        let decided = self
            .subjects()
            .map(|subject| (subject, self.decide(&subject.into(), ask)));
        decided.filter(|(_, decision)| decision.allowed)
    }
}
