//! Usage, completions and manual pages.

use crate::program::Program;

#[test]
fn usage_errors_end_with_two() {
    let program = Program::new();
    for args in [
        &["judge"][..],
        &["frobnicate"],
        &["apply"],
        &["list", "--output", "xml"],
        &[],
    ] {
        assert!(!program.run(args).ends(2).err.is_empty());
    }
}

#[test]
fn every_command_shows_help_without_a_cluster() {
    let program = Program::new();
    for args in [
        &["--help"][..],
        &["judge", "--help"],
        &["findings", "watch", "--help"],
        &["--version"],
    ] {
        assert!(!program.run(args).ends(0).out.is_empty());
    }
    assert!(
        program
            .run(&["--help"])
            .out
            .contains("3 nothing violated, but something was not evaluated")
    );
}

#[test]
fn completions_know_the_commands() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = program.run(&["completions", shell]).ends(0).out;
        assert!(script.contains("judge") && script.contains("findings"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let program = Program::new();
    let folder = program.path("man");
    program.run(&["man", folder.to_str().unwrap()]).ends(0);
    for page in [
        "verger",
        "verger-judge",
        "verger-findings",
        "verger-findings-watch",
        "verger-token-create",
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH") && text.contains(".SH NAME"), "{page}");
    }
    let watch = std::fs::read_to_string(folder.join("verger-findings-watch.1")).unwrap();
    assert!(watch.contains("verger findings watch"), "{watch}");
}

#[test]
fn version_needs_no_context_but_names_a_missing_one() {
    let program = Program::new();
    let ran = program.run(&["version", "-o", "json"]).ends(0);
    assert_eq!(ran.json()["client"]["version"], env!("CARGO_PKG_VERSION"));
    let ran = program.run(&["version", "--context", "nowhere.json"]).ends(2);
    assert!(ran.err.contains("nowhere.json"), "{}", ran.err);
}

#[test]
fn rules_kinds_and_fields_are_explained() {
    let program = Program::new();
    let rules = program.run(&["explain", "-o", "json"]).ends(0).json();
    let rules = rules.as_array().unwrap();
    assert!(rules.len() > 20, "{}", rules.len());
    for rule in rules.iter().map(|rule| rule["rule"].as_str().unwrap()) {
        assert!(
            program.run(&["explain", rule]).ends(0).out.contains("Remedy: "),
            "{rule}"
        );
    }
    assert!(
        program
            .run(&["explain", "workload"])
            .ends(0)
            .out
            .contains("noNewPrivileges")
    );
    assert!(
        program
            .run(&["explain", "config.namespaces"])
            .ends(0)
            .out
            .contains("namespaces.pid")
    );
    for spelling in [
        "mounts",
        "Workload.mounts",
        "workload.spec.config.mounts",
        "Workload.config",
    ] {
        assert!(
            program.run(&["explain", spelling]).ends(0).out.contains("mounts"),
            "{spelling}"
        );
    }
    assert!(
        program
            .run(&["explain", "Workload.mount"])
            .ends(2)
            .err
            .contains("`Workload.mounts`")
    );
    assert!(
        program
            .run(&["explain", "nonsense"])
            .ends(2)
            .err
            .contains("nonsense")
    );
}
