//! What the stream must tell of the scenario's drift, and whether it does.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The workload that is blessed.
pub(super) const WORKLOAD: &str = "Workload/demo/web";

/// A finding that the drift must raise, as the stream tells it.
#[derive(Debug)]
pub(in crate::up) struct Expected {
    pub(super) rule: &'static str,
    field: &'static str,
    /// What the sealed policy says.
    blessed: &'static str,
    /// What there is: in full, or a part of it where the rest changes from run to run, such as a pid.
    actual: Actual,
}

#[derive(Debug)]
enum Actual {
    Is(&'static str),
    Has(&'static str),
}

impl Expected {
    const fn new(rule: &'static str, field: &'static str, blessed: &'static str, actual: Actual) -> Self {
        Self {
            rule,
            field,
            blessed,
            actual,
        }
    }

    /// Whether this is the finding, by rule and field.
    fn is(&self, finding: &Value) -> bool {
        finding["rule"] == self.rule && finding["field"] == self.field
    }

    /// What the finding says otherwise than it must; nothing where it is right.
    fn faults(&self, finding: &Value) -> Vec<String> {
        let actual = finding["actual"].as_str().unwrap_or_default();
        let actual_fits = match self.actual {
            Actual::Is(text) => actual == text,
            Actual::Has(text) => actual.contains(text),
        };
        [
            ("expected", finding["expected"] == self.blessed),
            ("actual", actual_fits),
            ("decidedBy", finding["decidedBy"] == WORKLOAD),
            ("subject", finding["subject"] == "workload/demo/web"),
            ("result", finding["result"] == "fail"),
        ]
        .into_iter()
        .filter(|(_, fits)| !fits)
        .map(|(name, _)| format!("{} {}: `{name}` is {}", self.rule, self.field, finding[name]))
        .collect()
    }
}

/// The findings the drift must raise.
pub(in crate::up) const EXPECTED: &[Expected] = &[
    Expected::new(
        "config/command",
        "command",
        r#"["/bin/sh","-c","exec sleep 3600"]"#,
        Actual::Is(r#"["/bin/sh","-c","sleep 3600; true"]"#),
    ),
    Expected::new(
        "config/env",
        "env[EXTRA]",
        "not set",
        Actual::Is("set: <redacted>"),
    ),
    Expected::new("config/user", "user.uid", "65534", Actual::Is("0")),
    Expected::new(
        "config/capabilities",
        "capabilities[CAP_NET_ADMIN]",
        "dropped",
        Actual::Is("kept"),
    ),
    Expected::new(
        "config/mounts",
        "mounts[/data]",
        "no mount",
        Actual::Is("bind:/tmp rw"),
    ),
    Expected::new("privilege/is-root", "user", "another uid than 0", Actual::Is("0")),
    Expected::new(
        "privilege/foreign-process",
        "live.processes",
        "only processes of its cgroup",
        Actual::Has("`sleep` (pid "),
    ),
    Expected::new(
        "config/live-mounts",
        "live.mounts[/srv]",
        "no mount",
        Actual::Has("tmpfs / of outside"),
    ),
];

/// The whole lines of a file that is being written.
pub(super) fn lines(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("findings watch printed {line:?}")))
        .collect()
}

/// The last word on a finding.
pub(super) fn last<'a>(findings: &'a [Value], expected: &Expected) -> Option<&'a Value> {
    findings.iter().rev().find(|finding| expected.is(finding))
}

/// What the last word on each expected finding says wrong.
pub(super) fn faults(findings: &[Value]) -> Vec<String> {
    EXPECTED
        .iter()
        .flat_map(|expected| match last(findings, expected) {
            Some(finding) => expected.faults(finding),
            None => vec![format!("{} {}: not told", expected.rule, expected.field)],
        })
        .collect()
}

/// Whether the root finding went through these states, each decided by the object beside it, after it was first opened.
pub(super) fn tells_in_turn(findings: &[Value], states: &[(&str, &str)]) -> bool {
    let mut root = findings
        .iter()
        .filter(|finding| finding["rule"] == "privilege/is-root");
    states.iter().all(|(state, object)| {
        root.any(|finding| finding["state"] == *state && finding["decidedBy"] == *object)
    })
}

#[cfg(test)]
mod tests;
