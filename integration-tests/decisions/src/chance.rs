//! Random sets of roles and bindings, and random requests of them.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::model::{
    Effect, Labels, LocalUid, Metadata, Name, PolicyObject, Resource, Role, RoleBinding, RoleRule,
    RoleSubject, Scope, Spec, Verb,
};
use verger_policy::roles::{Ask, Subject};
use verger_rig::dice::Dice;

const NAMES: &[&str] = &[
    "a", "a/b", "a/b/c", "a-b/c", "ab", "ab/c", "b", "b/c", "c", "c/d/e",
];
const PATTERNS: &[&str] = &[
    "a", "a/*", "a/b", "a/b/*", "a-b/*", "ab", "ab/*", "b", "b/*", "b/c", "c", "c/*", "c/d/*",
];
const BUILT_IN: &[&str] = &["viewer", "operator", "author", "approver", "admin"];

/// What a set is about, and how large it is.
#[derive(Debug)]
pub struct Sort {
    people: u64,
    groups: u64,
    bindings: u64,
    roles: u64,
    /// Part of the names in a scope, so that large sets have many scopes.
    spread: u64,
    verbs: Vec<Verb>,
    resources: Vec<Resource>,
}

/// Something parsed of what is valid by construction.
pub fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is written as it must be"))
}

/// An object of this name.
pub fn object(name: &str, spec: Spec) -> PolicyObject {
    PolicyObject {
        metadata: Metadata {
            name: parsed(name),
            labels: Labels::default(),
            annotations: BTreeMap::new(),
        },
        spec,
    }
}

/// A user of a host.
fn local(number: u64) -> LocalUid {
    parsed(&(1_000 + number).to_string())
}

/// Of a host, or of the hosts that a binding is for.
fn host_labels(dice: &mut Dice) -> Labels {
    let zones: [&[(&str, &str)]; 4] = [&[], &[], &[("zone", "a")], &[("zone", "a"), ("tier", "b")]];
    let picked = dice.pick(&zones).copied().unwrap_or_default();
    let owned = picked
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Labels(owned.collect())
}

fn some<T: Copy + Ord>(dice: &mut Dice, of: &[T], most: u64) -> BTreeSet<T> {
    let count = 1 + dice.below(most);
    (0..count).filter_map(|_| dice.pick(of).copied()).collect()
}

impl Sort {
    /// At most so many bindings, of few people or of some.
    pub fn small(dice: &mut Dice, most: u64) -> Self {
        let bindings = if dice.below(30) == 0 {
            0
        } else {
            1 + dice.below(most)
        };
        Self {
            people: 1 + dice.below(6),
            groups: 1 + dice.below(4),
            bindings,
            roles: 1 + dice.below(6),
            spread: 1,
            ..Self::about(dice)
        }
    }

    /// So many bindings, of as many people as a company has.
    pub fn large(dice: &mut Dice, bindings: u64) -> Self {
        Self {
            people: 1 + bindings / 8,
            groups: 1 + bindings / 64,
            bindings,
            roles: 40,
            spread: 100,
            ..Self::about(dice)
        }
    }

    fn about(dice: &mut Dice) -> Self {
        let mut resources: Vec<Resource> = vec![Resource::Workload];
        resources.extend(some(dice, Resource::ALL, 3));
        let verbs: BTreeSet<Verb> = resources
            .iter()
            .flat_map(|resource| some(dice, resource.verbs(), 3))
            .collect();
        Self {
            people: 0,
            groups: 0,
            bindings: 0,
            roles: 0,
            spread: 0,
            verbs: verbs.into_iter().collect(),
            resources,
        }
    }

    /// The objects. More than drafts let through: verbs that mean nothing, and scopes on what has no names.
    pub fn objects(&self, dice: &mut Dice) -> Vec<PolicyObject> {
        let mut objects = Vec::new();
        for number in 0..self.roles {
            let rules = (0..1 + dice.below(4)).map(|_| self.rule(dice)).collect();
            objects.push(object(&format!("r{number}"), Spec::Role(Role { rules })));
        }
        for number in 0..self.bindings {
            let binding = self.binding(dice);
            objects.push(object(&format!("b{number}"), Spec::RoleBinding(binding)));
        }
        objects
    }

    fn rule(&self, dice: &mut Dice) -> RoleRule {
        let verbs = some(dice, &self.verbs, 3);
        let resources = some(dice, &self.resources, 3);
        // Most denies are narrow: else nothing would be left to allow.
        let deny = dice.below(5) == 0;
        let scope = if deny || dice.below(2) == 0 {
            self.scope(dice)
        } else {
            Scope::default()
        };
        RoleRule {
            effect: if deny { Effect::Deny } else { Effect::Allow },
            verbs,
            resources,
            scope,
        }
    }

    fn binding(&self, dice: &mut Dice) -> RoleBinding {
        let role = match dice.below(20) {
            0 => "nobody-stated-it".to_owned(),
            1..=3 => dice.pick(BUILT_IN).copied().unwrap_or_default().to_owned(),
            _ => format!("r{}", dice.below(self.roles)),
        };
        let subjects = (0..1 + dice.below(2)).map(|_| self.holder(dice)).collect();
        RoleBinding {
            role: parsed(&role),
            subjects,
            scope: if dice.below(3) == 0 {
                Scope::default()
            } else {
                self.scope(dice)
            },
            hosts: host_labels(dice),
        }
    }

    fn holder(&self, dice: &mut Dice) -> RoleSubject {
        if dice.below(4) == 0 {
            RoleSubject::Local(local(dice.below(self.people)))
        } else if dice.below(3) == 0 {
            RoleSubject::Group(group(dice.below(self.groups)))
        } else {
            RoleSubject::Person(parsed(&format!("p{}", dice.below(self.people))))
        }
    }

    fn scope(&self, dice: &mut Dice) -> Scope {
        // Now and then more names than the compiled form looks up.
        let most = if dice.below(10) == 0 { 12 } else { 3 };
        let names = match dice.below(4) {
            0 => BTreeSet::new(),
            _ => (0..1 + dice.below(most))
                .map(|_| self.under_root(dice, PATTERNS))
                .map(|pattern| parsed(&pattern))
                .collect(),
        };
        let labels = if dice.below(2) == 0 {
            labels(dice)
        } else {
            Labels::default()
        };
        Scope { names, labels }
    }

    /// A name or pattern, below one of as many roots as the set has.
    fn under_root(&self, dice: &mut Dice, of: &[&str]) -> String {
        let text = dice.pick(of).copied().unwrap_or_default();
        match dice.below(self.spread) {
            0 => text.to_owned(),
            root => format!("n{root}/{text}"),
        }
    }

    /// Somebody: mostly of those whom bindings may name, in as many groups as people are.
    pub fn subject(&self, dice: &mut Dice) -> Subject {
        if dice.below(4) == 0 {
            return Subject::local(local(dice.below(self.people + 1)), host_labels(dice));
        }
        let person = match dice.below(20) {
            0 => None,
            1 => Some(parsed("a-stranger")),
            _ => Some(parsed(&format!("p{}", dice.below(self.people)))),
        };
        let groups = (0..dice.below(3)).map(|_| group(dice.below(self.groups + 1)));
        Subject {
            person,
            groups: groups.collect(),
            local: None,
        }
    }

    /// A request: mostly of what the set is about, and now and then one that means nothing.
    pub fn ask(&self, dice: &mut Dice) -> Ask {
        let resource = match dice.below(10) {
            0 => dice.pick(Resource::ALL),
            _ => dice.pick(&self.resources),
        };
        let resource = resource.copied().unwrap_or(Resource::Workload);
        let of_it: Vec<Verb> = self
            .verbs
            .iter()
            .copied()
            .filter(|verb| resource.verbs().contains(verb))
            .collect();
        let verb = match dice.below(20) {
            0 => dice.pick(Verb::ALL),
            1 => dice.pick(resource.verbs()),
            _ => dice.pick(&of_it),
        };
        let verb = verb.copied().unwrap_or(Verb::Get);
        let all = if resource.has_names() {
            dice.below(4) == 0
        } else {
            dice.below(20) > 0
        };
        if all {
            return Ask::all(verb, resource);
        }
        let name = (dice.below(20) > 0).then(|| parsed(&self.under_root(dice, NAMES)));
        Ask::one(verb, resource, name, labels(dice))
    }
}

fn group(number: u64) -> Name {
    parsed(&format!("g{number}"))
}

fn labels(dice: &mut Dice) -> Labels {
    let some = (0..dice.below(4)).filter_map(|_| {
        let key = dice.pick(&["k", "l"])?;
        let value = dice.pick(&["v", "v", "w"])?;
        Some(((*key).to_owned(), (*value).to_owned()))
    });
    Labels(some.collect())
}
