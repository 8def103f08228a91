//! `Host`: the sealed labels of an agent's host.

use serde::Serialize;

use super::{AgentId, Labels};

/// The `spec` of a `Host`. Selectors see only these labels: a controller that could relabel a host could shed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostObject {
    /// The agent whose host it is.
    pub agent: AgentId,
    /// The labels selectors see.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}
