//! Which fuzz targets there are.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{Workspace, shown};

/// Tests in a module of this name.
const TARGETS: &str = "test(/(^|::)fuzz::/)";

/// One fuzz target, built.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Crate and test.
    pub(super) name: String,
    pub(super) test: String,
    pub(super) program: PathBuf,
    /// Its crate's folder.
    pub(super) folder: PathBuf,
}

/// Builds the tests, and lists the targets among them.
pub(super) fn list(workspace: &Workspace, packages: &[String]) -> Result<Vec<Target>> {
    let mut command = workspace.cargo([
        "nextest",
        "list",
        "--message-format",
        "json",
        "--filterset",
        TARGETS,
    ]);
    if packages.is_empty() {
        command.arg("--workspace");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    // What it builds is told on standard error.
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{} ended with {}", shown(&command), output.status);
    }
    read(&serde_json::from_slice(&output.stdout).context("reading the list of tests")?)
}

/// Reads nextest's list (<https://nexte.st/docs/machine-readable/list/>).
fn read(listed: &Value) -> Result<Vec<Target>> {
    let suites = listed["rust-suites"].as_object().context("the list has suites")?;
    let text = |value: &Value, what: &str| -> Result<String> {
        let text = value
            .as_str()
            .with_context(|| format!("a suite has its {what}"))?;
        Ok(text.to_owned())
    };
    let mut targets = Vec::new();
    for suite in suites.values() {
        let Some(tests) = suite["testcases"].as_object() else {
            continue;
        };
        for (test, _) in tests
            .iter()
            .filter(|(_, test)| test["filter-match"]["status"] == "matches" && test["ignored"] == false)
        {
            targets.push(Target {
                name: format!("{} {test}", text(&suite["package-name"], "package")?),
                test: test.clone(),
                program: text(&suite["binary-path"], "program")?.into(),
                folder: text(&suite["cwd"], "folder")?.into(),
            });
        }
    }
    targets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(targets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tests_that_match_are_targets_and_nothing_else() {
        let listed = serde_json::json!({ "rust-suites": {
            "verger-seal": {
                "package-name": "verger-seal", "binary-path": "/t/seal", "cwd": "/w/seal",
                "testcases": {
                    "fuzz::b": { "ignored": false, "filter-match": { "status": "matches" } },
                    "fuzz::a": { "ignored": false, "filter-match": { "status": "matches" } },
                    "fuzz::slow": { "ignored": true, "filter-match": { "status": "matches" } },
                    "tests::c": { "ignored": false, "filter-match": { "status": "mismatch" } },
                },
            },
            "empty": {},
        }});
        let found = read(&listed).unwrap();
        let names: Vec<&str> = found.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["verger-seal fuzz::a", "verger-seal fuzz::b"]);
        assert!(read(&serde_json::json!({})).is_err());
    }
}
