//! `cargo xtask check`: everything that can be said about the sources without running the product.

use anyhow::{Result, bail};

use crate::packages::{self, FOR_CHECKS};
use crate::report::{Outcome, Report};
use crate::workspace::{Workspace, run};
use crate::{deny, deps, protos, tidy, units};

/// A step's name, what it holds the sources against, and the work.
type Step = (&'static str, fn(&Workspace) -> Result<Outcome>);

const STEPS: &[Step] = &[
    ("fmt", |ws| {
        passed(run(&mut ws.cargo(["fmt", "--all", "--", "--check"])))
    }),
    ("lock-file", |ws| passed(lock_file_is_current(ws))),
    ("check-deps", |ws| passed(deps::check(ws.root()))),
    ("tidy", |ws| passed(tidy::check(ws.root()))),
    ("protos", |ws| passed(protos::check(ws))),
    ("units", |ws| passed(units::check(&ws.root().join("deploy")))),
    ("clippy", |ws| passed(clippy(ws))),
    ("docs", |ws| passed(docs(ws))),
    ("deny", |ws| passed(deny::check(ws))),
    ("advisories", deny::check_advisories),
];

/// Runs all steps, or the one called `only`.
pub(crate) fn check(workspace: &Workspace, only: Option<&str>) -> Result<()> {
    let steps: Vec<_> = STEPS
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .collect();
    if steps.is_empty() {
        let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!(
            "--only {:?}: there is no such check; there are {}",
            only.unwrap_or_default(),
            names.join(", ")
        );
    }
    packages::install(&[FOR_CHECKS])?;
    let mut report = Report::default();
    for (name, work) in steps {
        report.step(name, &format!("cargo xtask check --only {name}"), || {
            work(workspace)
        });
    }
    report.finish()
}

/// Formats, and applies what clippy can fix itself.
pub(crate) fn fix(workspace: &Workspace) -> Result<()> {
    run(&mut workspace.cargo([
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
    ]))?;
    run(&mut workspace.cargo(["fmt", "--all"]))
}

fn passed(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

fn lock_file_is_current(workspace: &Workspace) -> Result<()> {
    let mut metadata = workspace.cargo(["metadata", "--locked", "--format-version", "1"]);
    run(metadata.stdout(std::process::Stdio::null()))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let arguments = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    run(&mut workspace.cargo(arguments))
}

fn docs(workspace: &Workspace) -> Result<()> {
    run(workspace
        .cargo(["doc", "--locked", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unknown_step_is_refused_with_the_known_ones() {
        let error = check(&Workspace::find().unwrap(), Some("fnt"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("fnt") && error.contains("clippy"), "{error}");
    }
}
