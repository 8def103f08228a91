//! The roles and bindings of a set as an index by who asks: what an agent's proxy asks at every call.
//!
//! Equal to what controllers decide with Cedar; `cargo xtask prove role-equality` shows it.

mod holdings;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use super::ask::{Ask, Single, Subject};
use super::decision::{Because, Decision, GivenRule};
use super::powers::{Power, Powers};
use super::reach::Reach;
use crate::model::{
    Effect, Labels, LocalUid, Name, PersonName, PolicyObject, Resource, Role, RoleRule, RoleSubject, Verb,
};
use holdings::Holdings;

/// A table that is the same in every run: its hash has no random key. Who chooses the names signs the policy, too.
type Index<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// The roles and bindings of one set, ready to decide.
///
/// A decision takes no memory, and a lookup for the person and one for each group of theirs. After that it costs what their
/// own bindings take: a look at each where they are few, and where they are many at those whose scope states the name, a part
/// of its path, more than a handful of names, or none.
#[derive(Clone, Debug, Default)]
pub struct CompiledRoles {
    people: Index<PersonName, Holdings>,
    groups: Index<Name, Holdings>,
    /// Of users of hosts, by the hosts that they hold it on.
    locals: Index<LocalUid, Vec<(Labels, Holdings)>>,
    bindings: Vec<Binding>,
    roles: Vec<Rules>,
    in_force: bool,
}

/// A binding whose role there is.
#[derive(Clone, Debug)]
struct Binding {
    name: Name,
    role: usize,
    reach: Reach,
}

/// A role.
#[derive(Clone, Debug)]
struct Rules {
    name: Name,
    /// All that its rules allow, and all that they deny, whatever their scopes.
    allows: Powers,
    denies: Powers,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    stated: RoleRule,
    powers: Powers,
    reach: Reach,
}

/// Whether somebody may do something, and what decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling<'a> {
    /// Whether it may be done.
    pub allowed: bool,
    /// What decides. Of several rules one, the same at each time of asking; [`CompiledRoles::explain`] tells them all.
    pub why: Why<'a>,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why<'a> {
    /// The set binds no role: everybody with a login that a person of the cluster gave may do everything.
    NothingBound,
    /// No rule allows it.
    NothingAllows,
    /// The resource does not know the verb, or has no single ones, so no rule could allow it.
    Meaningless,
    /// A rule.
    Rule {
        /// The name of the `RoleBinding` that gives it.
        binding: &'a Name,
        /// The role that states it.
        role: &'a Name,
        /// The rule; its scope is its own, without the binding's.
        rule: &'a RoleRule,
    },
}

impl From<Why<'_>> for Because {
    fn from(why: Why<'_>) -> Self {
        match why {
            Why::NothingBound => Self::NothingBound,
            Why::NothingAllows => Self::NothingAllows,
            Why::Meaningless => Self::Meaningless,
            Why::Rule { binding, role, rule } => Self::Rule(GivenRule {
                binding: binding.clone(),
                role: role.clone(),
                rule: rule.clone(),
            }),
        }
    }
}

/// What is asked for, taken apart.
#[derive(Clone, Copy)]
struct Wish<'a> {
    power: Power,
    single: Option<&'a Single>,
}

impl Rules {
    fn of(name: &Name, role: &Role) -> Self {
        let mut all = Self {
            name: name.clone(),
            allows: Powers::default(),
            denies: Powers::default(),
            rules: Vec::with_capacity(role.rules.len()),
        };
        for rule in &role.rules {
            let powers = Powers::of(rule);
            match rule.effect {
                Effect::Allow => all.allows.add(&powers),
                Effect::Deny => all.denies.add(&powers),
            }
            all.rules.push(Rule {
                powers,
                reach: Reach::of(&rule.scope),
                stated: rule.clone(),
            });
        }
        all
    }

    const fn powers(&self, effect: Effect) -> &Powers {
        match effect {
            Effect::Allow => &self.allows,
            Effect::Deny => &self.denies,
        }
    }

    /// The rules of an effect that reach it.
    fn reaching<'a>(&'a self, effect: Effect, wish: Wish<'_>) -> impl Iterator<Item = &'a RoleRule> {
        let reach = move |rule: &&Rule| {
            rule.stated.effect == effect
                && rule.powers.has(wish.power)
                && rule.reach.covers(effect, wish.single)
        };
        self.rules.iter().filter(reach).map(|rule| &rule.stated)
    }
}

impl CompiledRoles {
    /// Compiles the roles and bindings among objects. A binding of a role that is not there gives nothing, and still puts
    /// roles in force.
    pub fn compile<'a>(objects: impl IntoIterator<Item = &'a PolicyObject> + Clone) -> Self {
        let mut bound = super::bound(objects);
        bound.sort_by_key(|bound| (bound.name, &bound.binding.role));
        let mut compiled = Self {
            in_force: !bound.is_empty(),
            ..Self::default()
        };
        let mut made: BTreeMap<&Name, usize> = BTreeMap::new();
        let mut held: BTreeMap<(&RoleSubject, &Labels), Vec<Held<'_>>> = BTreeMap::new();
        let everywhere = Labels::default();
        for bound in &bound {
            let Some(role) = &bound.role else { continue };
            let role = *made.entry(&bound.binding.role).or_insert_with(|| {
                compiled.roles.push(Rules::of(&bound.binding.role, role));
                compiled.roles.len() - 1
            });
            let place = compiled.bindings.len();
            compiled.bindings.push(Binding {
                name: bound.name.clone(),
                role,
                reach: Reach::of(&bound.binding.scope),
            });
            for subject in &bound.binding.subjects {
                let scope = &bound.binding.scope;
                let hosts = match subject {
                    RoleSubject::Local(_) => &bound.binding.hosts,
                    RoleSubject::Group(_) | RoleSubject::Person(_) => &everywhere,
                };
                let held = held.entry((subject, hosts)).or_default();
                held.push(Held { place, scope });
            }
        }
        for ((subject, hosts), held) in held {
            let holdings = Holdings::of(&held, &compiled);
            match subject {
                RoleSubject::Person(name) => {
                    compiled.people.insert(name.clone(), holdings);
                }
                RoleSubject::Group(name) => {
                    compiled.groups.insert(name.clone(), holdings);
                }
                RoleSubject::Local(uid) => {
                    let local = compiled.locals.entry(*uid).or_default();
                    local.push((hosts.clone(), holdings));
                }
            }
        }
        compiled
    }

    /// Whether any role is bound. While none is, everybody with a login that a person of the cluster gave may do everything.
    pub const fn are_in_force(&self) -> bool {
        self.in_force
    }

    /// Decides, without taking memory. `single` is as in [`Ask`].
    pub fn decide(
        &self,
        subject: &Subject,
        verb: Verb,
        resource: Resource,
        single: Option<&Single>,
    ) -> Ruling<'_> {
        let ruled = |allowed, why| Ruling { allowed, why };
        let Some(power) = Power::of(verb, resource, single) else {
            return ruled(false, Why::Meaningless);
        };
        if !subject.could_have(resource) {
            return ruled(false, Why::NothingAllows);
        }
        // Nobody of the cluster let a host's users in: they have what is bound to them, and nothing before.
        if !self.in_force && subject.local.is_none() {
            return ruled(true, Why::NothingBound);
        }
        let wish = Wish { power, single };
        let mut allowed = None;
        for holdings in self.holdings(subject) {
            if let Some(why) = holdings.find(self, Effect::Deny, wish) {
                return ruled(false, why);
            }
            allowed = allowed.or_else(|| holdings.find(self, Effect::Allow, wish));
        }
        match allowed {
            Some(why) => ruled(true, why),
            None => ruled(false, Why::NothingAllows),
        }
    }

    /// Decides, and tells every rule that does.
    pub fn explain(&self, subject: &Subject, ask: &Ask) -> Decision {
        let Ask {
            verb,
            resource,
            single,
        } = ask;
        let ruling = self.decide(subject, *verb, *resource, single.as_ref());
        let (Why::Rule { .. }, Some(power)) = (ruling.why, Power::of(*verb, *resource, single.as_ref()))
        else {
            return Decision {
                allowed: ruling.allowed,
                because: vec![ruling.why.into()],
            };
        };
        let single = single.as_ref();
        let effect = if ruling.allowed {
            Effect::Allow
        } else {
            Effect::Deny
        };
        let places: BTreeSet<usize> = self.holdings(subject).flat_map(Holdings::all).collect();
        let mut because: Vec<Because> = places
            .into_iter()
            .flat_map(|place| self.reaching(place, effect, Wish { power, single }))
            .map(Because::from)
            .collect();
        because.sort();
        because.dedup();
        Decision {
            allowed: ruling.allowed,
            because,
        }
    }

    /// What bindings give to the person, to each of the groups, and to the user of a host there.
    fn holdings<'a>(&'a self, subject: &Subject) -> impl Iterator<Item = &'a Holdings> {
        let Subject {
            person,
            groups,
            local,
        } = subject;
        let own = person.iter().filter_map(|name| self.people.get(name));
        let local = local.iter().flat_map(|local| {
            let held = self.locals.get(&local.uid).into_iter().flatten();
            held.filter(|(hosts, _)| hosts.select(&local.host))
                .map(|(_, holdings)| holdings)
        });
        own.chain(groups.iter().filter_map(|name| self.groups.get(name)))
            .chain(local)
    }

    /// The rules of an effect that a binding gives and that reach it.
    fn reaching<'a>(&'a self, place: usize, effect: Effect, wish: Wish<'_>) -> impl Iterator<Item = Why<'a>> {
        let Binding { name, reach, .. } = &self.bindings[place];
        let role = self.role_of(place);
        let given = role.powers(effect).has(wish.power) && reach.covers(effect, wish.single);
        let rules = given.then(|| role.reaching(effect, wish)).into_iter().flatten();
        rules.map(|rule| Why::Rule {
            binding: name,
            role: &role.name,
            rule,
        })
    }

    fn role_of(&self, place: usize) -> &Rules {
        &self.roles[self.bindings[place].role]
    }

    /// Whether a binding's role denies anything.
    fn denies(&self, place: usize) -> bool {
        self.role_of(place).denies != Powers::default()
    }
}

/// A binding that somebody is a subject of.
#[derive(Clone, Copy)]
struct Held<'a> {
    place: usize,
    scope: &'a crate::model::Scope,
}
