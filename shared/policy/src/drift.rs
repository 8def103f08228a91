//! Judgements: what each rule says of an instance, and so the drift between compiled and facts.

use std::borrow::Cow;

use serde::Serialize;

use crate::facts::InstanceId;
use crate::model::{Control, Mode, Name, ObjectKey, RuleId, Severity};
use crate::digest::Digest;

/// What a check found. Only `Pass` counts as passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// It does not hold, and an exception lifts it.
    Excepted,
    /// Proved not to apply.
    NotApplicable,
    /// Could not be judged, for the reason given.
    NotEvaluated,
    /// Judging it failed.
    Error,
}

/// One rule's word on one field of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The control.
    pub control: Control,
    /// The rule, such as `config/mounts` or `privilege/is-root`.
    pub rule: RuleId,
    /// The field of the `config` block, or of the live view, it is about (`mounts[/data].access`).
    pub field: Cow<'static, str>,
    /// What was found.
    pub result: Outcome,
    /// What the policy wants; absent on a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What there is; absent on a pass. Values of environment variables are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// A sentence for a person: why, or the remedy.
    pub reason: Cow<'static, str>,
    /// How bad a failure is.
    pub severity: Severity,
    /// The object that decided: a workload, guardrail or exception.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<ObjectKey>,
}

/// Which workload an instance is held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Claim {
    /// One workload.
    Workload {
        /// Which.
        name: Name,
        /// Whether by digest (entitled to exceptions and permissions) or by hints alone (only obliged).
        entitled: bool,
    },
    /// Several claims: held to the requirements of all.
    Ambiguous(Vec<Name>),
    /// Of no workload.
    Unknown,
}

/// Everything said of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// Whose.
    pub instance: InstanceId,
    /// Its name, a hint.
    pub name: String,
    /// Its image config digest, if it is known.
    pub image: Option<Digest>,
    /// What it is held to.
    pub claim: Claim,
    /// The mode wished per control: the strictest of workload and guardrails.
    pub wanted: Vec<(Control, Mode)>,
    /// Every check, sorted by control, rule, field.
    pub checks: Vec<Check>,
}
