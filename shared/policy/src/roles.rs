//! The built-in roles, what rules of roles are in words, and what the roles of a set decide.
//!
//! The name of a built-in role is never the name of a `Role`: who is bound to `viewer` has what this table says.
//!
//! A deny wins over every allow, and what nothing allows is denied. While a set binds no role at all, everybody may do
//! everything whose login a person of the cluster gave, and not an identity provider: somebody has to bind the first. [`CompiledRoles`] decides in the time that the asker's own bindings take;
//! [`plain`] says the same without an index, to hold it against. Controllers decide with Cedar, to the same end.

mod ask;
mod bound;
mod compiled;
mod decision;
pub mod plain;
mod powers;
mod reach;
mod table;

use std::fmt;

pub use ask::{Ask, InvalidAsk, LocalCaller, Single, Subject};
pub use bound::{Bound, bound};
pub use compiled::{CompiledRoles, Ruling, Why};
pub use decision::{Because, Decision, GivenRule};
pub use table::{ALL, BuiltinRole};

use crate::model::{Effect, Resource, Role, RoleRule, Scope, Verb};

/// Finds a built-in role by name.
pub fn find(name: &str) -> Option<&'static BuiltinRole> {
    ALL.iter().find(|role| role.name == name)
}

impl BuiltinRole {
    /// It, as people would have to state it.
    pub fn role(&self) -> Role {
        let rule = |(verbs, resources): &(&[_], &[_])| RoleRule {
            effect: Effect::Allow,
            verbs: verbs.iter().copied().collect(),
            resources: resources.iter().copied().collect(),
            scope: Scope::default(),
        };
        Role {
            rules: self.allows.iter().map(rule).collect(),
        }
    }
}

impl fmt::Display for RoleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            effect,
            verbs,
            resources,
            scope,
        } = self;
        // A row of the audit has no room for all of them.
        match verbs.len() == Verb::ALL.len() {
            true => write!(f, "{effect} every verb")?,
            false => write!(f, "{effect} {}", listed(verbs))?,
        }
        match resources.len() == Resource::ALL.len() {
            true => f.write_str(" on every resource")?,
            false => write!(f, " on {}", listed(resources))?,
        }
        if !scope.is_everything() {
            write!(f, " {scope}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, labels } = self;
        if !names.is_empty() {
            write!(f, "named {}", listed(names))?;
        }
        for (index, (key, value)) in labels.0.iter().enumerate() {
            let before = match (names.is_empty() && index == 0, index) {
                (true, _) => "with ",
                (false, 0) => " with ",
                (false, _) => ", ",
            };
            let label = format!("{key}={value}");
            write!(f, "{before}{}", crate::model::printable_within(&label, 120))?;
        }
        Ok(())
    }
}

fn listed<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = all.into_iter().map(|word| word.to_string()).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Kind, Name};

    fn powers(name: &str) -> BTreeSet<(Resource, Verb)> {
        let rules = find(name).unwrap().role().rules;
        let mut powers = BTreeSet::new();
        for rule in rules {
            for resource in rule.resources {
                let known = resource.verbs().iter().filter(|verb| rule.verbs.contains(verb));
                powers.extend(known.map(|verb| (resource, *verb)));
            }
        }
        powers
    }

    #[test]
    fn names_are_unique_names_and_every_role_says_what_it_is_for() {
        let names: BTreeSet<&str> = ALL.iter().map(|role| role.name).collect();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["admin", "approver", "author", "operator", "viewer"]
        );
        for role in ALL {
            assert!(role.name.parse::<Name>().is_ok());
            assert!(role.says.len() > 20 && !role.says.ends_with('.'), "{}", role.name);
        }
    }

    #[test]
    fn an_admin_may_do_all_there_is_and_everybody_else_what_a_viewer_may() {
        let all = Resource::ALL
            .iter()
            .flat_map(|resource| resource.verbs().iter().map(|verb| (*resource, *verb)));
        assert_eq!(powers("admin"), all.collect());
        for role in ["operator", "author", "approver"] {
            assert!(powers("viewer").is_subset(&powers(role)), "{role}");
        }
    }

    #[test]
    fn no_role_but_admin_both_makes_and_signs_and_none_other_changes_roles() {
        for role in ALL.iter().filter(|role| role.name != "admin") {
            let powers = powers(role.name);
            let has = |verb| powers.iter().any(|(_, found)| *found == verb);
            let makes = has(Verb::Apply) || has(Verb::Propose) || has(Verb::Delete);
            assert!(!(makes && has(Verb::Sign)), "{}", role.name);
            for kind in [Resource::Role, Resource::RoleBinding] {
                for verb in [Verb::Apply, Verb::Propose, Verb::Delete] {
                    assert!(!powers.contains(&(kind, verb)), "{} {verb} {kind}", role.name);
                }
            }
        }
    }

    #[test]
    fn verbs_are_sorted_and_kinds_are_resources() {
        for resource in Resource::ALL {
            assert!(!resource.verbs().is_empty());
            assert!(resource.verbs().is_sorted(), "{resource}");
        }
        for kind in Kind::ALL {
            assert_eq!(Resource::of_kind(*kind).word(), kind.word());
        }
        let mut words: Vec<&str> = Resource::ALL.iter().map(|resource| resource.word()).collect();
        words.dedup();
        assert!(words.is_sorted() && Verb::ALL.iter().map(|verb| verb.word()).is_sorted());
    }

    #[test]
    fn rules_are_told_in_words() {
        let rule = RoleRule {
            effect: Effect::Deny,
            verbs: [Verb::Apply, Verb::Delete].into(),
            resources: [Resource::Workload].into(),
            scope: Scope {
                names: ["payments/*".parse().unwrap(), "web".parse().unwrap()].into(),
                labels: crate::model::Labels(
                    [
                        ("app".to_owned(), "\u{1b}".to_owned()),
                        ("b".to_owned(), "c".to_owned()),
                    ]
                    .into(),
                ),
            },
        };
        let told = rule.to_string();
        assert!(told.starts_with("deny apply, delete on Workload named payments/*, web with app="));
        assert!(told.ends_with(", b=c") && !told.contains('\u{1b}'), "{told}");
        let labels = Scope {
            names: BTreeSet::new(),
            ..rule.scope
        };
        assert!(labels.to_string().starts_with("with app="));
    }
}
