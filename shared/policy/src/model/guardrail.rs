//! `Guardrail`: what holds for every instance a selector matches, whatever its workload.

use std::collections::BTreeSet;

use serde::Serialize;

use super::control::words;
use super::{Labels, Mode, RuleId};

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
    /// The least mode for what it selects. Absent: monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What to do about instances of no workload, whatever the mode. Absent: report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownInstances>,
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
