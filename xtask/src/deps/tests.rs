#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::Path;

use super::graph::Graph;
use super::rules::{CrateRule, Owned, Rules, Violation, violations};

const LIBRARY: CrateRule = CrateRule {
    name: "",
    uses: &[],
    tests_use: &[],
    never_reaches: &[],
    never_names: &[],
    program: false,
};

const RULES: Rules = Rules {
    crates: &[
        CrateRule {
            name: "core",
            never_reaches: &["engine"],
            never_names: &["engine"],
            ..LIBRARY
        },
        CrateRule {
            name: "store",
            uses: &["core"],
            ..LIBRARY
        },
        CrateRule {
            name: "api",
            uses: &["core"],
            tests_use: &["store"],
            never_reaches: &["engine"],
            ..LIBRARY
        },
        CrateRule {
            name: "app",
            uses: &["api", "store", "core"],
            program: true,
            ..LIBRARY
        },
    ],
    owned: &[Owned {
        name: "engine",
        owners: &["store"],
    }],
    banned: &[("stale", "use core")],
};

/// Writes a workspace of path crates: `(name, [(table, dependency)])`. `engine` and `stale` lie outside, like crates of
/// a registry. Real `cargo metadata` reads it.
fn judged(crates: &[(&str, &[(&str, &str)])]) -> Vec<Violation> {
    let dir = tempfile::tempdir().unwrap();
    let outside = ["engine", "stale"];
    let members: Vec<_> = crates
        .iter()
        .map(|(name, _)| format!("{:?}", format!("ws/{name}")))
        .collect();
    write(
        &dir.path().join("Cargo.toml"),
        &format!(
            "[workspace]\nresolver = \"3\"\nmembers = [{}]\nexclude = [\"outside\"]\n",
            members.join(", ")
        ),
    );
    for name in outside {
        package(&dir.path().join("outside").join(name), name, &[]);
    }
    for (name, dependencies) in crates {
        let lines: Vec<_> = dependencies
            .iter()
            .map(|(table, on)| {
                let root = if outside.contains(on) {
                    "../../outside"
                } else {
                    ".."
                };
                format!("[{table}.{on}]\npath = \"{root}/{on}\"\n")
            })
            .collect();
        package(&dir.path().join("ws").join(name), name, &lines);
    }
    violations(&Graph::read(dir.path()).unwrap(), &RULES)
}

fn package(at: &Path, name: &str, dependencies: &[String]) {
    write(
        &at.join("Cargo.toml"),
        &format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{}",
            dependencies.join("")
        ),
    );
    write(&at.join("src/lib.rs"), "");
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn edges(found: &[Violation]) -> Vec<(&str, &str)> {
    found
        .iter()
        .map(|violation| (violation.at.as_str(), violation.on.as_str()))
        .collect()
}

#[test]
fn allowed_edges_pass() {
    let found = judged(&[
        ("core", &[]),
        ("store", &[("dependencies", "core"), ("dependencies", "engine")]),
        ("api", &[("dependencies", "core"), ("dev-dependencies", "store")]),
        ("app", &[("dependencies", "api"), ("dependencies", "store")]),
    ]);
    assert_eq!(found, []);
}

#[test]
fn a_forbidden_edge_fails() {
    let found = judged(&[
        ("core", &[]),
        ("store", &[("dependencies", "core"), ("dependencies", "engine")]),
        ("api", &[("dependencies", "store")]),
    ]);
    assert_eq!(edges(&found), [("api", "engine"), ("api", "store")]);
    let way = &found[0].why;
    assert!(way.contains("api -> store -> engine"), "names the way: {way}");
}

#[test]
fn a_build_dependency_and_an_optional_one_count_like_a_normal_one() {
    let found = judged(&[("core", &[("build-dependencies", "store")]), ("store", &[])]);
    assert_eq!(edges(&found), [("core", "store")]);
    let found = judged(&[
        ("core", &[]),
        ("store", &[]),
        ("api", &[("target.'cfg(windows)'.dependencies", "store")]),
    ]);
    assert_eq!(edges(&found), [("api", "store")]);
}

#[test]
fn a_crate_named_by_another_than_its_owner_fails_even_in_tests() {
    let found = judged(&[("core", &[("dev-dependencies", "engine")])]);
    assert_eq!(edges(&found), [("core", "engine")]);
}

#[test]
fn depending_on_a_program_fails() {
    let found = judged(&[
        ("core", &[]),
        ("store", &[]),
        ("api", &[("dev-dependencies", "app")]),
        ("app", &[]),
    ]);
    assert!(
        found.iter().any(|violation| violation.why.contains("program")),
        "{found:?}"
    );
}

#[test]
fn a_banned_crate_fails_with_what_to_use_instead() {
    let found = judged(&[("core", &[]), ("store", &[("dependencies", "stale")])]);
    assert_eq!(edges(&found), [("store -> stale", "stale")]);
    assert!(found[0].why.contains("use core"));
}

#[test]
fn a_crate_without_a_row_fails() {
    let found = judged(&[("newcomer", &[])]);
    assert_eq!(edges(&found), [("newcomer", "(anything)")]);
}

#[test]
fn the_table_names_every_crate_once_and_only_known_ones() {
    let rows = super::table::RULES.crates;
    for (at, row) in rows.iter().enumerate() {
        assert!(
            rows[..at].iter().all(|other| other.name != row.name),
            "two rows for {}",
            row.name
        );
        for used in row.uses.iter().chain(row.tests_use) {
            assert!(
                rows.iter().any(|other| other.name == *used),
                "{} uses {used}, which has no row",
                row.name
            );
        }
    }
}
