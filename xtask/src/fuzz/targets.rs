//! Which fuzz targets there are.

use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{Workspace, shown};

/// Tests in a module of this name.
const TARGETS: &str = "test(/(^|::)fuzz::/)";

/// One fuzz target, built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Crate and test.
    pub(super) name: String,
    pub(super) test: String,
    pub(super) program: PathBuf,
    /// Its crate's folder.
    pub(super) folder: PathBuf,
}

/// One of so many parts of the targets: a long run may be spread over machines, or over nights. Written `NUMBER/COUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    number: usize,
    count: usize,
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write NUMBER/COUNT, as 1/8 for the first of eight parts";
        let (number, count) = text.split_once('/').ok_or(WRONG)?;
        let number = number.parse().map_err(|_| WRONG)?;
        let count = count.parse().map_err(|_| WRONG)?;
        (1..=count)
            .contains(&number)
            .then_some(Self { number, count })
            .ok_or(WRONG)
    }
}

impl Part {
    /// Its own targets: all parts together are all of them, and none is in two.
    pub(super) fn of(self, targets: Vec<Target>) -> Vec<Target> {
        let own = targets.into_iter().skip(self.number - 1);
        own.step_by(self.count).collect()
    }
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
    fn every_target_is_in_one_part() {
        let all: Vec<Target> = (0..7)
            .map(|number| Target {
                name: number.to_string(),
                test: String::new(),
                program: PathBuf::new(),
                folder: PathBuf::new(),
            })
            .collect();
        let of = |part: &str| {
            let own = part.parse::<Part>().unwrap().of(all.clone());
            own.into_iter().map(|target| target.name).collect::<Vec<_>>()
        };
        assert_eq!(
            [of("1/3"), of("2/3"), of("3/3")].map(|part| part.join("")),
            ["036", "14", "25"]
        );
        assert_eq!(of("1/1").len(), 7);
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b", "-1/3"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }

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
