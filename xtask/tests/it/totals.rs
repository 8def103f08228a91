#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const TESTS: &str = r#"
/// Answers.
///
/// ```
/// assert_eq!(probe::answer(), 42);
/// ```
pub fn answer() -> u32 { 42 }

#[cfg(test)]
mod tests {
    #[test] fn it_answers() { assert_eq!(super::answer(), 42); }
    #[test] #[ignore = "takes a week"] fn it_answers_for_a_week() {}
}

#[cfg(test)]
mod with_docker {
    #[test] fn it_needs_a_daemon() { assert!(std::env::var_os("VERGER_TEST_DOCKER_HOST").is_some()); }
}
"#;

/// A workspace of one library, and beside it the empty `xtask` by which a checkout is known.
fn workspace(library: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"probe\", \"xtask\"]\n",
    );
    for (name, text) in [("probe", library), ("xtask", "")] {
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        write(dir.path(), &format!("{name}/Cargo.toml"), &manifest);
        write(dir.path(), &format!("{name}/src/lib.rs"), text);
    }
    write(dir.path(), "probe/src/bin/program.rs", "fn main() {}\n");
    dir
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn xtask(workspace: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .current_dir(workspace)
        .args(arguments)
        .env("CARGO_TARGET_DIR", workspace.join("target"))
        .env_remove("VERGER_TEST_DOCKER_HOST")
        .output()
        .unwrap()
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn totals_count_tests_documentation_tests_and_what_was_left_out() {
    let dir = workspace(TESTS);
    let output = xtask(dir.path(), &["test", "--no-points", "--no-docker"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(last_line(&output), "2 passed, 0 failed, 2 skipped", "{shown}");
    assert!(shown.contains("skipped  tests: 2 (ignored"), "says why: {shown}");
    assert!(output.status.success());
    assert!(
        dir.path().join("target/debug/program").exists(),
        "programs are built before the tests that start them"
    );
}

#[test]
fn a_failing_test_is_counted_and_fails_the_command() {
    let dir = workspace(&TESTS.replace(
        "assert_eq!(super::answer(), 42)",
        "assert_eq!(super::answer(), 41)",
    ));
    let output = xtask(dir.path(), &["test", "--no-points", "--no-docker"]);
    assert_eq!(last_line(&output), "1 passed, 1 failed, 2 skipped");
    assert!(!output.status.success());
}

#[test]
fn outside_a_checkout_the_error_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = xtask(dir.path(), &["prove", "--list"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not inside a checkout"));
}

mod with_docker {
    use super::*;

    #[test]
    fn tests_are_given_a_private_daemon_that_is_gone_afterwards() {
        let report = "println!(\"host={}\", std::env::var(\"VERGER_TEST_DOCKER_HOST\").unwrap());";
        let probe = format!("{{ {report} assert!(std::os::unix::net::UnixStream::connect(
            std::env::var(\"VERGER_TEST_DOCKER_HOST\").unwrap().strip_prefix(\"unix://\").unwrap()).is_ok()); panic!(\"show\") }}");
        let dir = workspace(&TESTS.replace(
            "{ assert!(std::env::var_os(\"VERGER_TEST_DOCKER_HOST\").is_some()); }",
            &probe,
        ));
        let output = xtask(dir.path(), &["test", "--no-points"]);
        let shown = String::from_utf8_lossy(&output.stdout);
        let host = shown
            .lines()
            .find_map(|line| line.trim().strip_prefix("host=unix://"))
            .expect("the test shows it");
        assert!(shown.contains("show"), "the connection was made: {shown}");
        assert!(!Path::new(host).exists(), "the daemon's socket is gone");
        assert_eq!(last_line(&output), "2 passed, 1 failed, 1 skipped");
    }
}
