//! Tests of the crate through its public face, as one binary.

#![allow(clippy::unwrap_used)]

mod checks;
mod claims;
mod decisions;
mod draft;
mod exceptions;
mod fields;
mod frozen;
mod fuzz;
mod guardrails;
mod hostile;
mod hostile_facts;
mod judging;
mod lint;
mod live;
mod missing;
mod objects;
mod privilege;
mod properties;
mod real;
mod role_decisions;
mod roles;
mod round_trip;
mod set;

#[test]
fn every_file_of_this_folder_is_compiled() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = include_str!("main.rs");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or("main");
        let line = format!("mod {module};");
        assert!(
            module == "main" || main.lines().any(|found| found == line),
            "{name} has no `{line}`"
        );
    }
}
