//! What is dropped, in which order, and how watchers and auditors can tell.

use jiff::{SignedDuration, Timestamp};
use verger_policy::finding::FindingUid;
use verger_policy::model::AgentId;

use crate::audit::{AuditMark, Done};
use crate::command::Command;
use crate::findings::Left;
use crate::limits;
use crate::rows::{self, RowChange};
use crate::state::{Login, LoginKind, State};

impl State {
    fn before(&self, seconds: i64) -> Timestamp {
        self.clock
            .now
            .saturating_sub(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MIN)
    }

    /// Drops what was resolved long ago, some of it: the next command goes on.
    pub(super) fn forget_resolved(&mut self, changes: &mut Vec<RowChange>) {
        let horizon = self.before(limits::RESOLVED_SECONDS);
        for _ in 0..limits::DROPPED_AT_ONCE {
            let Some((uid, agent)) = self.findings.resolved_before(horizon) else {
                return;
            };
            self.forget_row(&uid, &agent, changes);
        }
    }

    /// Drops logins on an identity provider's word that ended long ago, some of them: the next minute goes on. One that was revoked
    /// stays. Until then the name is that person's, and nobody else whom the provider gives it to takes it unnoticed.
    pub(super) fn forget_logins(&mut self, changes: &mut Vec<RowChange>) {
        let horizon = self.before(limits::ENDED_LOGIN_SECONDS);
        let is_over = |login: &Login| match &login.kind {
            LoginKind::Vouched { ends, .. } => login.revoked.is_none() && *ends <= horizon,
            LoginKind::Local | LoginKind::BreakGlass { .. } => false,
        };
        let over = self.logins.iter().filter(|(_, login)| is_over(login));
        let over: Vec<String> = over
            .map(|(name, _)| name.clone())
            .take(limits::DROPPED_AT_ONCE)
            .collect();
        for name in over {
            self.logins.remove(&name);
            changes.push(rows::login_gone(&name));
        }
    }

    /// Drops all that an agent told.
    pub(super) fn forget_findings_of(&mut self, agent: &AgentId, changes: &mut Vec<RowChange>) {
        let all: Vec<FindingUid> = self.findings.of(agent).collect();
        for uid in all {
            self.forget_row(&uid, agent, changes);
        }
    }

    /// Takes a host out of a finding; watchers are told.
    pub(super) fn forget_row(&mut self, uid: &FindingUid, agent: &AgentId, changes: &mut Vec<RowChange>) {
        match self.findings.remove(uid, agent, self.revision) {
            Left::Unchanged => return,
            Left::Others => {
                let head = self.findings.get(uid).map(|left| rows::finding_head(uid, left));
                changes.extend(head);
            }
            Left::Nobody => changes.push(rows::finding_gone(uid, self.revision)),
        }
        changes.push(rows::finding_row_gone(uid, agent));
        let before = self.findings.forgotten;
        while let Some(uid) = self.findings.forget_oldest() {
            changes.push(rows::finding_head_gone(&uid));
        }
        if self.findings.forgotten != before {
            changes.push(rows::horizons(self));
        }
    }

    /// Writes the audit row of a command, and drops rows over the bounds, some of them: the next command goes on. The chain
    /// keeps a digest over what is dropped, and the head its number.
    pub(super) fn write_audit(
        &mut self,
        mark: AuditMark,
        command: &Command,
        done: &Done,
        changes: &mut Vec<RowChange>,
    ) {
        let (row, value) = rows::audit(&mark, command, done, &self.audit.head.head);
        self.audit.append(mark, &value);
        changes.push(row);
        let horizon = self.before(limits::AUDIT_SECONDS);
        for _ in 0..limits::DROPPED_AT_ONCE {
            let Some(dropped) = self.audit.drop_oldest(limits::AUDIT_ROWS, horizon) else {
                break;
            };
            changes.push(rows::audit_gone(&dropped));
        }
        changes.push(rows::audit_head(&self.audit.head));
    }
}
