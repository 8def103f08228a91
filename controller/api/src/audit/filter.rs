//! Which rows are asked for.

use jiff::Timestamp;
use tonic::Status;
use verger_proto::cluster::v1 as pb;
use verger_wire::audit::AuditEntry;
use verger_wire::instant;

use crate::status::invalid;

/// A filter. Times are of the replicated clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    actor: String,
    action: String,
    outcome: String,
    /// From then on.
    pub(super) since: Option<Timestamp>,
    /// Before then.
    pub(super) until: Option<Timestamp>,
}

impl Filter {
    pub(super) fn parse(filter: Option<pb::AuditFilter>) -> Result<Self, Status> {
        let pb::AuditFilter {
            actor,
            action,
            outcome,
            since,
            until,
        } = filter.unwrap_or_default();
        let at = |field: &str, at: Option<_>| at.map(|at| instant(field, at)).transpose().map_err(invalid);
        Ok(Self {
            actor,
            action,
            outcome,
            since: at("filter.since", since)?,
            until: at("filter.until", until)?,
        })
    }

    /// Whether a row of the right time is let through.
    pub(super) fn lets(&self, entry: &AuditEntry) -> bool {
        let lets = |wanted: &str, word: &str| wanted.is_empty() || wanted == word;
        lets(&self.actor, &entry.actor)
            && lets(&self.action, &entry.action)
            && lets(&self.outcome, &entry.outcome)
    }
}
