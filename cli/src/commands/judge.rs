//! `judge`: a container configuration against policy files, offline, with the core the agents use.

#[cfg(test)]
mod fuzz;
mod subject;

use jiff::Timestamp;
use serde_json::{Value, json};
use verger_policy::compile::compile;
use verger_policy::drift::{Check, Claim, Judgement, Outcome, judge_recorded};
use verger_policy::lint::lint;
use verger_policy::model::printable;
use verger_policy::set::PolicySet;

use crate::args::{Format, JudgeArgs};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{Column, Sheet, document, emit, note, print};

const COLUMNS: &[Column] = &[
    Column::new("RESULT"),
    Column::new("SEVERITY"),
    Column::new("RULE"),
    Column::new("FIELD"),
    Column::new("EXPECTED"),
    Column::new("ACTUAL"),
    Column::wide("DECIDED BY"),
    Column::wide("REASON"),
];

pub(super) fn judge(args: JudgeArgs, format: Format) -> anyhow::Result<Exit> {
    let at = match &args.at {
        None => Timestamp::now(),
        Some(text) => text.parse().map_err(|_| {
            Failure::input(format!(
                "--at `{text}` is not an instant: write it as 2026-01-31T12:00:00Z (RFC 3339)"
            ))
        })?,
    };
    let host = subject::labels("--host-label", &args.host_labels)?;
    let mut objects = files::objects(&args.policy, None)?;
    for odd in lint_of(&objects, at)? {
        note(&odd);
    }
    let mut instance = subject::instance(&args)?;
    if let Some(name) = &args.workload {
        subject::hold(&mut objects, &mut instance, name)?;
    }
    let compiled = compile(&objects, &host, 0);
    if let Some(name) = &args.workload
        && !compiled
            .workloads()
            .iter()
            .any(|workload| workload.key.name.as_str() == name)
    {
        return Err(Failure::input(format!(
            "--workload: `{name}` does not run on a host with these labels; give those it selects with --host-label"
        ))
        .into());
    }
    let judgement = judge_recorded(&compiled, &instance, at);
    report(&judgement, format)?;
    Ok(exit(&judgement))
}

/// Oddities of the policy that need no cluster to be seen.
fn lint_of(objects: &[verger_policy::model::PolicyObject], at: Timestamp) -> anyhow::Result<Vec<String>> {
    let set = PolicySet::empty()
        .change(objects.iter().cloned(), [])
        .map_err(|error| Failure::input(format!("the policy does not fit together: {error}")))?;
    // The hosts of a cluster are not among the files of most pipelines: that none is selected says nothing here.
    let told =
        |lint: &verger_policy::lint::Lint| !matches!(lint.oddity, verger_policy::lint::Oddity::SelectsNoHost);
    Ok(lint(&set, at)
        .into_iter()
        .filter(told)
        .map(|lint| format!("warning: {lint}"))
        .collect())
}

fn exit(judgement: &Judgement) -> Exit {
    let any = |wanted: &[Outcome]| {
        judgement
            .checks
            .iter()
            .any(|check| wanted.contains(&check.result))
    };
    if any(&[Outcome::Fail]) {
        Exit::Violation
    } else if any(&[Outcome::NotEvaluated, Outcome::Error]) {
        Exit::NotEvaluated
    } else {
        Exit::Clean
    }
}

fn report(judgement: &Judgement, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Table | Format::Wide => {
            let sheet = sheet(judgement);
            print(&sheet, format)?;
            emit(&summary(judgement))
        }
        Format::Name => print(&sheet(judgement), format),
        Format::Json | Format::Jsonl | Format::Yaml => emit(&document(&to_json(judgement), format)?),
    }
}

/// What is not passed, and may matter.
fn sheet(judgement: &Judgement) -> Sheet {
    let mut sheet = Sheet::list(COLUMNS, "every check passed, or does not apply");
    for check in &judgement.checks {
        if matches!(check.result, Outcome::Pass | Outcome::NotApplicable) {
            continue;
        }
        let or = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
        let cells = vec![
            word(check.result).to_owned(),
            check.severity.to_string(),
            check.rule.to_string(),
            check.field.to_string(),
            or(check.expected.as_ref()),
            or(check.actual.as_ref()),
            check
                .decided_by
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            check.reason.to_string(),
        ];
        sheet.push(format!("{} {}", check.rule, check.field), cells, json!(null));
    }
    sheet
}

fn summary(judgement: &Judgement) -> String {
    let count = |outcome| {
        judgement
            .checks
            .iter()
            .filter(|check| check.result == outcome)
            .count()
    };
    let held = match &judgement.claim {
        Claim::Workload { name, entitled: true } => format!("{name}"),
        Claim::Workload {
            name,
            entitled: false,
        } => format!("{name} (by hints; its image is not listed)"),
        Claim::Ambiguous(names) => {
            format!(
                "several workloads: {}",
                names
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        Claim::Unknown => "no workload".to_owned(),
    };
    let mut text = format!(
        "{}: held to {held}; {} pass, {} fail, {} excepted, {} not evaluated, {} errors, {} not applicable\n",
        printable(&judgement.name),
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Excepted),
        count(Outcome::NotEvaluated),
        count(Outcome::Error),
        count(Outcome::NotApplicable),
    );
    for name in &judgement.unneeded_exceptions {
        text.push_str(&format!("Exception/{name} lifts nothing here\n"));
    }
    text
}

/// The document of cli/schemas/judgement.schema.json.
fn to_json(judgement: &Judgement) -> Value {
    let (claim, workload, candidates) = match &judgement.claim {
        Claim::Workload { name, entitled: true } => ("entitled", Some(name), vec![name]),
        Claim::Workload {
            name,
            entitled: false,
        } => ("obliged", Some(name), vec![name]),
        Claim::Ambiguous(names) => ("ambiguous", None, names.iter().collect()),
        Claim::Unknown => ("unknown", None, Vec::new()),
    };
    let checks: Vec<Value> = judgement.checks.iter().map(check).collect();
    json!({
        "workload": workload,
        "claim": claim,
        "candidates": candidates,
        "image": judgement.image.map(|image| image.to_string()),
        "checks": checks,
        "unneededExceptions": judgement.unneeded_exceptions,
    })
}

fn check(check: &Check) -> Value {
    let Check {
        control,
        rule,
        field,
        result,
        expected,
        actual,
        reason,
        severity,
        decided_by,
    } = check;
    json!({
        "control": control,
        "rule": rule,
        "field": field,
        "result": word(*result),
        "expected": expected,
        "actual": actual,
        "reason": reason,
        "severity": severity,
        "decidedBy": decided_by,
    })
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Excepted => "excepted",
        Outcome::NotApplicable => "notApplicable",
        Outcome::NotEvaluated => "notEvaluated",
        Outcome::Error => "error",
    }
}
