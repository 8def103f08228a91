//! Under which key each host is enrolled, by the audit: read from the bytes that its chain is over.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tonic::{Code, Status};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_seal::{ChainCheck, ChainHead, KeptHead};
use verger_wire::audit::AuditEntry;

use crate::commands::audit;
use crate::connect::Session;

/// What the audit says of a host's enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enrolled {
    /// This is its key.
    Under(Digest),
    /// The audit is whole, and has none.
    Never,
    /// It cannot be told: the audit may not be read, was dropped in part, or is of before keys were in it.
    Unknown,
}

/// What the audit says of hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Enrolments {
    /// Where it ends; none where it could not be read.
    pub(super) head: Option<ChainHead>,
    /// Why it could not be read, or not be compared.
    pub(super) unread: Option<String>,
    /// None of a host that was taken out, and of one whose row has no key.
    keys: BTreeMap<AgentId, Option<Digest>>,
    removed: BTreeMap<AgentId, bool>,
    dropped: u64,
}

impl Enrolments {
    /// Reads the audit, and verifies it against the head that was kept, if one was.
    ///
    /// # Errors
    /// When it is not whole, or the controller does not answer.
    pub(super) async fn read(session: &Session, kept: Option<ChainHead>) -> anyhow::Result<Self> {
        let mut enrolments = Self::default();
        let mut check = ChainCheck::begin(kept);
        let walked = audit::walk(session, |row| {
            check.take(row.link()).context(NOT_WHOLE)?;
            enrolments.take(&row.entry);
            Ok(())
        });
        let audit::Head { head, dropped, .. } = match walked.await {
            Ok(ended) => ended,
            Err(error) if may_not(&error) => {
                return Ok(Self {
                    unread: Some("you may not read the audit".to_owned()),
                    ..Self::default()
                });
            }
            Err(error) => return Err(error),
        };
        let verified = check.finish(head, dropped).context(NOT_WHOLE)?;
        enrolments.head = Some(verified.head);
        enrolments.dropped = verified.dropped;
        if verified.kept == KeptHead::Dropped {
            enrolments.unread =
                Some("every row of the audit that you saw before was dropped since".to_owned());
        }
        Ok(enrolments)
    }

    fn take(&mut self, entry: &AuditEntry) {
        if entry.outcome != "ok" {
            return;
        }
        let Some(detail) = entry.detail.strip_prefix("agent ") else {
            return;
        };
        // `agent web-1, key sha256:…`; what may follow is nothing to this.
        let (agent, rest) = detail.split_once(", ").unwrap_or((detail, ""));
        let key = rest
            .strip_prefix("key ")
            .and_then(|key| key.split(',').next())
            .and_then(|key| key.parse().ok());
        let Ok(agent) = agent.parse::<AgentId>() else {
            return;
        };
        match entry.action.as_str() {
            "enrol" => {
                self.removed.remove(&agent);
                self.keys.insert(agent, key);
            }
            "remove-host" => {
                self.keys.remove(&agent);
                self.removed.insert(agent, true);
            }
            _ => {}
        }
    }

    /// What it says of a host.
    pub(super) fn of(&self, agent: &AgentId) -> Enrolled {
        match self.keys.get(agent) {
            Some(Some(key)) => Enrolled::Under(*key),
            Some(None) => Enrolled::Unknown,
            None if self.head.is_some() && self.dropped == 0 => Enrolled::Never,
            None => Enrolled::Unknown,
        }
    }

    /// Whether a host was taken out.
    pub(super) fn is_removed(&self, agent: &AgentId) -> bool {
        self.removed.contains_key(agent)
    }
}

const NOT_WHOLE: &str = "the cluster's audit is not whole";

fn may_not(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<Status>();
    status.is_some_and(|status| status.code() == Code::PermissionDenied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(action: &str, outcome: &str, detail: &str) -> AuditEntry {
        AuditEntry {
            at: jiff::Timestamp::UNIX_EPOCH,
            actor: "nobody".to_owned(),
            action: action.to_owned(),
            outcome: outcome.to_owned(),
            request_id: String::new(),
            detail: detail.to_owned(),
            from: String::new(),
            before: None,
            after: None,
            policies: Vec::new(),
            attempts: 0,
            previous: None,
        }
    }

    #[test]
    fn the_last_enrolment_that_was_carried_out_counts() {
        let mut enrolments = Enrolments {
            head: Some(ChainHead::START),
            ..Enrolments::default()
        };
        let agent: AgentId = "web-1".parse().unwrap();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let of = |enrolments: &Enrolments| enrolments.of(&agent);
        assert_eq!(of(&enrolments), Enrolled::Never);
        for (action, outcome, detail, wanted) in [
            ("create-token", "ok", "agent web-1".to_owned(), Enrolled::Never),
            (
                "enrol",
                "TOKEN_REFUSED",
                format!("agent web-1, key {two}"),
                Enrolled::Never,
            ),
            (
                "enrol",
                "ok",
                format!("agent web-1, key {one}"),
                Enrolled::Under(one),
            ),
            (
                "enrol",
                "ok",
                format!("agent web-2, key {two}"),
                Enrolled::Under(one),
            ),
            (
                "enrol",
                "ok",
                format!("agent web-1, key {two}"),
                Enrolled::Under(two),
            ),
            (
                "enrol",
                "ok",
                format!("agent web-1, key {one}, and more"),
                Enrolled::Under(one),
            ),
            // As versions wrote it that kept no keys.
            ("enrol", "ok", "agent web-1".to_owned(), Enrolled::Unknown),
            ("remove-host", "ok", "agent web-1".to_owned(), Enrolled::Never),
        ] {
            enrolments.take(&entry(action, outcome, &detail));
            assert_eq!(of(&enrolments), wanted, "{action} {detail}");
        }
        assert!(enrolments.is_removed(&agent));
        // Of what was dropped nothing can be told.
        enrolments.dropped = 1;
        assert_eq!(of(&enrolments), Enrolled::Unknown);
    }
}
