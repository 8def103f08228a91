//! `Guardrail`: what holds for every instance a selector matches, whatever its workload.

use std::collections::BTreeSet;

use serde::Serialize;

use super::control::words;
use super::{Control, Labels, Mode, Name, RuleId, Severity};

/// The `spec` of a `Guardrail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Guardrail {
    /// Which instances it holds for.
    #[serde(skip_serializing_if = "Selector::is_everything")]
    pub select: Selector,
    /// A built-in profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Further rules, by id, of the built-in typed ones.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub rules: BTreeSet<GuardrailRule>,
    /// Further conditions, in CEL: a set keyed by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<GuardrailCheck>,
    /// The least mode for what it selects. Absent: monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What to do about instances of no workload, whatever the mode. Absent: report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownInstances>,
}

/// A condition of a guardrail's own, which must hold of every instance that it selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardrailCheck {
    /// Its name in the guardrail: a DNS label. Findings and exceptions name it as [`GuardrailCheck::rule`].
    pub id: String,
    /// What must hold ([`crate::expression`]).
    pub expression: String,
    /// What a violation means, in a sentence for a person.
    pub message: String,
    /// What it protects, and so whose mode it goes by. Absent: config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// How bad a violation is. Absent: medium.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What to do about one, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The most checks of one guardrail.
pub const MAX_CHECKS: usize = 64;

/// What the rules of guardrails' own checks begin with.
pub const CHECK_RULES: &str = "guardrail/";

impl GuardrailCheck {
    /// The rule it is in a guardrail of this name: `guardrail/NAME/ID`. None where that is no rule's id, as it is too long.
    pub fn rule(&self, guardrail: &Name) -> Option<RuleId> {
        format!("{CHECK_RULES}{guardrail}/{}", self.id).parse().ok()
    }
}

/// Which instances a guardrail holds for. No label of a container can take it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selector {
    /// Sealed host labels. Empty: all hosts.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub hosts: Labels,
    /// Labels of the workload object the instance belongs to. Empty: all, unknown instances too.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub workloads: Labels,
}

impl Selector {
    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.hosts.is_empty() && self.workloads.is_empty()
    }
}

words! {
    /// The public Pod Security Standards, in our terms.
    Profile {
        /// Stops known ways to the host.
        Baseline = "baseline",
        /// Hardened.
        Restricted = "restricted",
    }
}

words! {
    /// What a guardrail says of instances of no workload.
    UnknownInstances {
        /// A finding.
        Report = "report",
        /// A finding, and refused at the gate.
        Refuse = "refuse",
    }
}

/// A built-in typed rule, by its id.
pub type GuardrailRule = RuleId;
