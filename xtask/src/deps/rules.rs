//! Judges a dependency graph by a table of rules. Does no I/O.

use std::fmt;

use super::graph::Graph;

/// The rules, as data.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) crates: &'static [CrateRule],
    pub(super) owned: &'static [Owned],
    pub(super) banned: &'static [(&'static str, &'static str)],
}

/// What one workspace crate may name.
#[derive(Debug)]
pub(super) struct CrateRule {
    pub(super) name: &'static str,
    /// Workspace crates it may depend on (normal and build).
    pub(super) uses: &'static [&'static str],
    /// Further workspace crates its tests may use.
    pub(super) tests_use: &'static [&'static str],
    /// Crates that no normal edge may lead to, however far.
    pub(super) never_reaches: &'static [&'static str],
    /// Crates its own manifest may not name, even if something it uses does.
    pub(super) never_names: &'static [&'static str],
    /// A program: nothing may depend on it.
    pub(super) program: bool,
}

/// An external crate that only its owners may name, tests included.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) name: &'static str,
    pub(super) owners: &'static [&'static str],
}

/// A dependency that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Violation {
    pub(super) at: String,
    pub(super) on: String,
    pub(super) why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.at, self.on, self.why)
    }
}

/// Lists everything in `graph` that `rules` forbid, sorted.
pub(super) fn violations(graph: &Graph, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    for name in graph.declared.keys() {
        match rules.crates.iter().find(|rule| rule.name == name) {
            Some(rule) => judge_crate(graph, rules, rule, &mut found),
            None => found.push(Violation {
                at: name.clone(),
                on: "(anything)".into(),
                why: "this crate has no row; give it one in xtask/src/deps/table.rs".into(),
            }),
        }
    }
    judge_ownership(graph, rules, &mut found);
    found.sort();
    found.dedup();
    found
}

fn judge_crate(graph: &Graph, rules: &Rules, rule: &CrateRule, found: &mut Vec<Violation>) {
    let mut report = |on: &str, why: String| {
        found.push(Violation {
            at: rule.name.into(),
            on: on.into(),
            why,
        });
    };
    for dependency in &graph.declared[rule.name] {
        let on = dependency.name.as_str();
        if dependency.in_workspace {
            if rules.crates.iter().any(|other| other.name == on && other.program) {
                report(
                    on,
                    "nothing depends on a program; move what is shared into a library crate".into(),
                );
            }
            let allowed = rule.uses.contains(&on) || (dependency.dev && rule.tests_use.contains(&on));
            if !allowed {
                report(
                    on,
                    format!(
                        "may use only {}; remove it, or argue for the new edge in an ADR",
                        list(rule.uses)
                    ),
                );
            }
        }
        if !dependency.dev && rule.never_names.contains(&on) {
            report(
                on,
                "this crate does no I/O of its own; let a caller carry it out".into(),
            );
        }
    }
    for forbidden in rule.never_reaches {
        if let Some(way) = graph
            .reached
            .get(rule.name)
            .and_then(|reached| reached.get(*forbidden))
        {
            report(
                forbidden,
                format!("must be unreachable, yet {}", way.join(" -> ")),
            );
        }
    }
}

fn judge_ownership(graph: &Graph, rules: &Rules, found: &mut Vec<Violation>) {
    for (name, declared) in &graph.declared {
        for dependency in declared.iter().filter(|dependency| !dependency.in_workspace) {
            for owned in rules.owned.iter().filter(|owned| owned.name == dependency.name) {
                if !owned.owners.contains(&name.as_str()) {
                    found.push(Violation {
                        at: name.clone(),
                        on: dependency.name.clone(),
                        why: format!(
                            "only {} may name it; go through that crate's interface",
                            list(owned.owners)
                        ),
                    });
                }
            }
        }
    }
    for (name, instead) in rules
        .banned
        .iter()
        .filter(|(name, _)| graph.packages.contains(*name))
    {
        let via = graph.reached.iter().find_map(|(_, reached)| reached.get(*name));
        let way = via.map_or_else(
            || "(a build or test dependency)".to_owned(),
            |way| way.join(" -> "),
        );
        found.push(Violation {
            at: way,
            on: (*name).into(),
            why: format!("banned; {instead}"),
        });
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "nothing of this workspace".into()
    } else {
        names.join(", ")
    }
}
