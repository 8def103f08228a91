//! What people decide of hosts and logins.

use verger_policy::digest::Digest;
use verger_policy::model::AgentId;

use super::Outcome;
use crate::admission::{banned, waits};
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Login, LoginKind, Standing, State, Verdict};

impl State {
    pub(super) fn verdict(&self, by: &str, reason: &str) -> Verdict {
        Verdict {
            by: by.to_owned(),
            at: self.clock.now,
            reason: reason.to_owned(),
        }
    }

    /// Lets in a host that waits, or refuses it.
    pub(super) fn decide_host(
        &mut self,
        agent: &AgentId,
        key: &Digest,
        approved: bool,
        by: &str,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let now = self.clock.now;
        let found = self.tokens.iter().find_map(|(id, token)| {
            let (of, asked) = waits(token, now)?;
            (of == agent && asked.key == *key).then(|| (id.clone(), asked.machine))
        });
        let (id, machine) = found.ok_or(Refused::NotWaiting)?;
        if approved {
            self.may_hold(agent, key, machine.as_ref())?;
        }
        let token = self.tokens.get_mut(&id).ok_or(Refused::NotWaiting)?;
        if approved {
            token.asked = None;
        } else if let Some(asked) = &mut token.asked {
            asked.refused_by = Some(by.to_owned());
        }
        changes.push(rows::token(&id, token));
        if approved {
            self.admit(agent, *key, machine, changes);
        }
        Ok(Response::Decided)
    }

    /// Takes a host's certificate out of use. What it told stays, and it may come back by another token.
    pub(super) fn evict_host(
        &mut self,
        agent: &AgentId,
        verdict: Verdict,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let host = self.hosts.get(agent).ok_or(Refused::UnknownAgent)?;
        // It would let a banned host back in.
        if let Some(banned) = banned(agent, host) {
            return Err(banned);
        }
        self.stand(agent, Standing::Evicted(verdict), changes)
    }

    /// Evicts a host, and keeps its id and its key out.
    pub(super) fn ban_host(
        &mut self,
        agent: &AgentId,
        verdict: Verdict,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        self.stand(agent, Standing::Banned(verdict), changes)
    }

    /// Lifts a ban: the host is evicted from then on.
    pub(super) fn unban_host(
        &mut self,
        agent: &AgentId,
        verdict: Verdict,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let host = self.hosts.get(agent).ok_or(Refused::UnknownAgent)?;
        if banned(agent, host).is_none() {
            return Err(Refused::NotBanned(agent.clone()));
        }
        self.stand(agent, Standing::Evicted(verdict), changes)
    }

    fn stand(&mut self, agent: &AgentId, standing: Standing, changes: &mut Vec<RowChange>) -> Outcome {
        let host = self.hosts.get_mut(agent).ok_or(Refused::UnknownAgent)?;
        host.standing = standing;
        changes.push(rows::host(agent, host));
        self.expect_silence(agent, changes);
        Ok(Response::Decided)
    }

    /// Takes a person's login out of use: no key serves under that name until another login is given.
    pub(super) fn revoke_login(
        &mut self,
        person: &str,
        verdict: Verdict,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if self.logins.len() >= limits::LOGINS && !self.logins.contains_key(person) {
            return Err(Refused::TooManyLogins(limits::LOGINS));
        }
        // A name that nobody has yet can be kept from being given.
        let before = self.logins.get(person).cloned();
        let login = Login {
            revoked: Some(verdict),
            ..before.unwrap_or(Login {
                key: Digest::from_bytes([0; 32]),
                created: self.clock.now,
                revoked: None,
                kind: LoginKind::Local,
            })
        };
        changes.push(rows::login(person, &login));
        self.logins.insert(person.to_owned(), login);
        Ok(Response::Decided)
    }

    /// Lets a person log in again whose login was revoked. The row stays, with a key that nobody has: what served before the
    /// revocation does not serve after it.
    pub(super) fn restore_login(&mut self, person: &str, changes: &mut Vec<RowChange>) -> Outcome {
        let login = self
            .logins
            .get_mut(person)
            .filter(|login| login.revoked.is_some());
        let login = login.ok_or_else(|| Refused::NotRevoked(person.to_owned()))?;
        login.revoked = None;
        login.key = Digest::from_bytes([0; 32]);
        changes.push(rows::login(person, login));
        Ok(Response::Decided)
    }
}
