//! Which hosts are enrolled, and under which key, by the audit: read from the bytes that its chain is over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tonic::{Code, Status};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_seal::{ChainHead, KeptHead, Verified};
use verger_wire::audit::AuditEntry;

use crate::commands::audit::check::{Checked, Doubt, check};
use crate::connect::Session;

/// What the audit says of a host's enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enrolled {
    /// This is its key, and a majority of the members signed the row that says so.
    Under(Digest),
    /// This is its key, by this row, which is behind what the members signed.
    Unsigned(Digest, u64),
    /// The audit is whole, and has none.
    Never,
    /// It cannot be told: the audit may not be read, was dropped in part, or is of before keys were in it.
    Unknown,
}

/// The last row that lets a host in: its key, where the row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Enrolment {
    key: Option<Digest>,
    row: u64,
}

/// What the audit says of hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Enrolments {
    /// Where it ends; none where it could not be read.
    pub(super) head: Option<ChainHead>,
    /// What makes all of it doubtful.
    pub(super) doubts: Vec<String>,
    /// Why hosts may be enrolled of which nothing is known here.
    pub(super) incomplete: Option<String>,
    /// Nothing of it was seen before, or all of that was dropped since.
    unseen: bool,
    /// None of a host that was taken out.
    enrolled: BTreeMap<AgentId, Enrolment>,
    /// By which row.
    removed: BTreeMap<AgentId, u64>,
    /// A majority of the members signed that these rows are its first; none where it signed nothing.
    signed: Option<u64>,
    dropped: u64,
}

impl Enrolments {
    /// Reads the audit, and verifies it against what members signed, and against the head that was kept, if one was.
    ///
    /// # Errors
    /// When it is not whole, or the controller does not answer.
    pub(super) async fn read(session: &Session, kept: Option<ChainHead>) -> anyhow::Result<Self> {
        let mut enrolments = Self::default();
        let checked = check(session, kept, |row| enrolments.take(row.number, &row.entry)).await;
        let Checked {
            verified,
            signed,
            by_members,
            last: _,
        } = match checked {
            Ok(checked) => checked,
            Err(error) if may_not(&error) => {
                return Ok(Self {
                    incomplete: Some("you may not read the audit".to_owned()),
                    unseen: true,
                    ..Self::default()
                });
            }
            Err(error) => return Err(error),
        };
        let signed = signed.map(|signed| (signed.head.count, signed.at));
        enrolments.end(&verified, signed, by_members, Timestamp::now());
        Ok(enrolments)
    }

    /// Takes in what came of the check: how many rows members signed, and when.
    fn end(
        &mut self,
        verified: &Verified,
        signed: Option<(u64, Timestamp)>,
        by_members: KeptHead,
        now: Timestamp,
    ) {
        let Verified {
            head, dropped, kept, ..
        } = *verified;
        self.head = Some(head);
        self.dropped = dropped;
        self.signed = signed
            .map(|(rows, _)| rows)
            .filter(|_| by_members == KeptHead::Met);
        match Doubt::of(signed.map(|(_, at)| at), by_members, now) {
            Some(Doubt::Unsigned) => self.doubts.push(
                "no majority of the members has signed where the audit stands: the trust root names none (`verger trust rotate \
                 --add-member`), or they do not run. Which hosts are enrolled is this controller's word"
                    .to_owned(),
            ),
            Some(Doubt::Dropped) => self.doubts.push(
                "all of the audit that a majority of the members signed was dropped since: which hosts are enrolled is this \
                 controller's word"
                    .to_owned(),
            ),
            Some(Doubt::Old(at)) => self.doubts.push(format!(
                "a majority of the members signed at {at} last where the audit stands, and members sign every minute: a host that was \
                 enrolled since may be hidden, or they do not run"
            )),
            None => {}
        }
        self.unseen = kept != KeptHead::Met;
        if kept == KeptHead::Dropped {
            self.incomplete = Some(format!(
                "every row of the audit that you saw before was dropped since: who was enrolled in its first {dropped} rows is not known"
            ));
        } else if dropped > 0 && kept == KeptHead::None {
            self.incomplete = Some(format!(
                "the first {dropped} rows of the audit are gone, and you saw none of it before: who was enrolled in them is not known. \
                 The next run holds it against what you see of it"
            ));
        }
    }

    fn take(&mut self, row: u64, entry: &AuditEntry) {
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
            "enrol" | "approve-host" => {
                self.removed.remove(&agent);
                let known = self.enrolled.get(&agent);
                // Let in again with the key it has: the first row is what vouches for it.
                if known.is_none_or(|known| known.key != key || key.is_none()) {
                    self.enrolled.insert(agent, Enrolment { key, row });
                }
            }
            "remove-host" => {
                self.enrolled.remove(&agent);
                self.removed.insert(agent, row);
            }
            _ => {}
        }
    }

    /// What it says of a host.
    pub(super) fn of(&self, agent: &AgentId) -> Enrolled {
        match self.enrolled.get(agent) {
            Some(Enrolment { key: Some(key), row }) if self.is_signed(*row) => Enrolled::Under(*key),
            Some(Enrolment { key: Some(key), row }) => Enrolled::Unsigned(*key, *row),
            Some(Enrolment { key: None, .. }) => Enrolled::Unknown,
            None if self.head.is_some() && self.dropped == 0 => Enrolled::Never,
            None => Enrolled::Unknown,
        }
    }

    /// The hosts that are enrolled, and by which row.
    pub(super) fn enrolled(&self) -> impl Iterator<Item = (&AgentId, u64)> {
        self.enrolled
            .iter()
            .map(|(agent, enrolment)| (agent, enrolment.row))
    }

    /// The hosts that were taken out, and by which row.
    pub(super) fn removed(&self) -> impl Iterator<Item = (&AgentId, u64)> {
        self.removed.iter().map(|(agent, row)| (agent, *row))
    }

    /// Whether a majority of the members signed that this row is there.
    pub(super) fn is_signed(&self, row: u64) -> bool {
        self.signed.is_some_and(|signed| row <= signed)
    }

    /// Whether a majority of the members signed anything of it.
    pub(super) const fn has_signature(&self) -> bool {
        self.signed.is_some()
    }

    /// Whether a row that takes a host out, which was seen before, would be here.
    pub(super) const fn would_show_removal(&self) -> bool {
        self.head.is_some() && (self.dropped == 0 || !self.unseen)
    }
}

fn may_not(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<Status>();
    status.is_some_and(|status| status.code() == Code::PermissionDenied)
}

#[cfg(test)]
mod tests;
