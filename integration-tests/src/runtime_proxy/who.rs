//! Whose exec a process is of that something is found of.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Front;
use super::front::{RUNNER, WORKLOAD, told};

/// Has several start a process as root in a container that runs as somebody else, and looks at what is found of each.
///
/// # Errors
/// When one is not told as it should be.
pub fn started(front: &Front) -> Result<()> {
    let runner = format!("local/{RUNNER}");
    // Unprotected: nobody knows who it was.
    let past = found(front, "somebody past the proxy at", || {
        front.say(&["exec", "--detach", "--user", "0", &front.web, "sleep", "600"])
    })?;
    let own = found(front, &format!("{runner} at"), || {
        through(front, &["sleep", "600"])
    })?;
    ensure!(
        past["uid"] == own["uid"],
        "one fault, whoever started it: {past} {own}"
    );
    // What its parent left behind.
    let left = found(front, &format!("{runner} at"), || {
        through(front, &["sh", "-c", "sleep 600 > /dev/null 2>&1 &"])
    })?;
    ensure!(left["uid"] == own["uid"], "{left}");

    let shown = front
        .scene
        .say(&["findings", "show", own["uid"].as_str().context("it has a uid")?])?;
    ensure!(
        shown.contains(&format!("The process was started by {runner} at")),
        "{shown}"
    );
    let log = fs::read_to_string(front.scene.agent.log())?;
    let launched = |by: &str| {
        let mut lines = log.lines().filter(|line| line.contains("an exec is launched"));
        lines.any(|line| line.contains(by))
    };
    ensure!(launched(&runner), "the agent's log does not say who: {log}");
    Ok(())
}

fn through(front: &Front, words: &[&str]) -> Result<String> {
    let mut command = front.cli(RUNNER);
    command
        .args(["exec", "--detach", "--user", "0", &front.web])
        .args(words);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", told(&output));
    Ok(String::new())
}

/// Starts a process as root, waits for the finding that says so and by whom, and ends it.
fn found(front: &Front, by: &str, start: impl FnOnce() -> Result<String>) -> Result<Value> {
    let is_it = |finding: &Value| {
        finding["rule"] == "privilege/is-root" && finding["subject"] == format!("workload/{WORKLOAD}")
    };
    front.scene.wait_for("nothing to run as root", || {
        Ok((!front.scene.open_findings()?.iter().any(is_it)).then_some(()))
    })?;
    start()?;
    let finding = front
        .scene
        .wait_for(&format!("a finding that says: started by {by}"), || {
            let says = |finding: &Value| {
                let reason = finding["reason"].as_str().unwrap_or_default();
                is_it(finding) && reason.contains(&format!("The process was started by {by} 20"))
            };
            Ok(front.scene.open_findings()?.into_iter().find(says))
        })?;
    front.say(&["restart", "--time", "0", &front.web])?;
    Ok(finding)
}
