//! The roles of a set, compiled.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::model::{
    Effect, Name, ObjectKey, PersonName, PolicyObject, Resource, Role, RoleBinding, RoleRule, RoleSubject,
    Scope, Spec, Verb,
};
use verger_policy::roles;

use crate::ask::Ask;
use crate::decision::{Because, Decision, GivenRule};
use crate::engine::{self, Links, Template};
use crate::lower;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The name in the certificate. None: somebody of whom only the groups are known.
    pub person: Option<PersonName>,
    /// The groups that the login names.
    pub groups: BTreeSet<Name>,
}

impl Subject {
    /// A person in no group.
    pub fn person(name: PersonName) -> Self {
        Self {
            person: Some(name),
            groups: BTreeSet::new(),
        }
    }
}

impl From<&RoleSubject> for Subject {
    fn from(subject: &RoleSubject) -> Self {
        match subject {
            RoleSubject::Person(name) => Self::person(name.clone()),
            RoleSubject::Group(name) => Self {
                person: None,
                groups: [name.clone()].into(),
            },
        }
    }
}

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
    template: usize,
}

/// The names that bindings may know somebody by.
fn holders(Subject { person, groups }: &Subject) -> impl Iterator<Item = RoleSubject> {
    let own = person.iter().cloned().map(RoleSubject::Person);
    own.chain(groups.iter().cloned().map(RoleSubject::Group))
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
        let mut stated: BTreeMap<&Name, &Role> = BTreeMap::new();
        for object in objects.clone() {
            if let Spec::Role(role) = &object.spec {
                stated.insert(&object.metadata.name, role);
            }
        }
        let mut compiled = Self::default();
        let mut shapes = Shapes::default();
        for object in objects {
            let Spec::RoleBinding(binding) = &object.spec else {
                continue;
            };
            compiled.bound = true;
            let built_in = roles::find(binding.role.as_str()).map(roles::BuiltinRole::role);
            match built_in.as_ref().or_else(|| stated.get(&binding.role).copied()) {
                Some(role) => compiled
                    .bind(&object.metadata.name, binding, role, &mut shapes)
                    .map_err(|fault| CompileError {
                        binding: object.key(),
                        why: fault.to_string(),
                    })?,
                None => compiled
                    .dangling
                    .push((object.metadata.name.clone(), binding.role.clone())),
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
                template,
            });
            for subject in subjects {
                self.by_subject.entry(subject.clone()).or_default().push(place);
            }
        }
        Ok(())
    }

    /// Whether any role is bound. While none is, every person may do everything.
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
        let mut given: Vec<_> = holders(subject)
            .flat_map(|holder| self.given_to(&holder).collect::<Vec<_>>())
            .map(|given| (&given.rule, &given.scope))
            .collect();
        given.sort_by_key(|(given, _)| (&given.role, *given));
        given.dedup();
        given
    }

    /// What bindings give to a subject by its own name.
    pub(crate) fn given_to(&self, subject: &RoleSubject) -> impl Iterator<Item = &Given> {
        let places = self.by_subject.get(subject);
        places.into_iter().flatten().map(|place| &self.given[*place])
    }

    /// Decides.
    pub fn decide(&self, subject: &Subject, ask: &Ask) -> Decision {
        let denied = |because| Decision {
            allowed: false,
            because: vec![because],
        };
        if ask.check().is_err() {
            return denied(Because::Meaningless);
        }
        if !self.bound {
            return Decision {
                allowed: true,
                because: vec![Because::NothingBound],
            };
        }
        let holders: Vec<RoleSubject> = holders(subject).collect();
        let mut links = Links::default();
        let mut places = Vec::new();
        for holder in &holders {
            for place in self.by_subject.get(holder).into_iter().flatten() {
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
