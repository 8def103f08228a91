//! Join tokens, and the hosts that spend them.

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_policy::finding::Chain;
use verger_policy::model::AgentId;

use super::Outcome;
use super::own::controllers;
use crate::admission::{Admission, Presented, banned};
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Asked, Host, Standing, State, Token};

impl State {
    /// A token as it is asked for, with the longest life there is at most.
    pub(super) fn new_token(
        &self,
        secret_hash: Digest,
        agent: &AgentId,
        expires: Timestamp,
        approval: bool,
    ) -> Token {
        Token {
            secret_hash,
            agent: agent.clone(),
            expires: self.token_end(expires),
            spent: false,
            approval,
            asked: None,
        }
    }

    /// When what is used once ends: after the longest life there is at most.
    pub(super) fn token_end(&self, expires: Timestamp) -> Timestamp {
        let longest = SignedDuration::from_secs(limits::REQUEST_SECONDS);
        let longest = self.clock.now.saturating_add(longest).unwrap_or(Timestamp::MAX);
        expires.min(longest)
    }

    pub(super) fn create_token(&mut self, id: &str, token: Token, changes: &mut Vec<RowChange>) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if token.agent == controllers() {
            return Err(Refused::Token);
        }
        let clock = self.clock.now;
        let over: Vec<String> = self
            .tokens
            .iter()
            .filter(|(_, token)| token.expires <= clock)
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            self.tokens.remove(&id);
            changes.push(rows::token_gone(&id));
        }
        // Somebody else's is not replaced.
        if self.tokens.contains_key(id) {
            return Err(Refused::TokenAlreadyCreated(id.to_owned()));
        }
        if self.tokens.len() >= limits::TOKENS {
            return Err(Refused::TooManyTokens);
        }
        changes.push(rows::token(id, &token));
        self.tokens.insert(id.to_owned(), token);
        Ok(Response::TokenCreated(id.to_owned()))
    }

    /// Takes a host out. It may come back with another token, as a new one; so a ban is lifted first.
    pub(super) fn remove_host(&mut self, agent: &AgentId, changes: &mut Vec<RowChange>) -> Outcome {
        let host = self.hosts.get(agent).ok_or(Refused::UnknownAgent)?;
        if let Some(banned) = banned(agent, host) {
            return Err(banned);
        }
        self.hosts.remove(agent);
        changes.push(rows::host_gone(agent));
        self.forget_findings_of(agent, changes);
        Ok(Response::HostRemoved)
    }

    /// Spends a token, and records the host; or has it wait.
    pub(super) fn enrol(&mut self, presented: &Presented<'_>, changes: &mut Vec<RowChange>) -> Outcome {
        let admission = self.admission(presented)?;
        let Presented {
            token: id,
            agent,
            key,
            machine,
            ..
        } = *presented;
        if admission == Admission::Waits {
            return Ok(Response::AwaitsApproval);
        }
        let waits = admission == Admission::Asks;
        let now = self.clock.now;
        let token = self.tokens.get_mut(id).ok_or(Refused::Token)?;
        token.spent = true;
        token.asked = waits.then(|| Asked {
            key: *key,
            machine: machine.copied(),
            at: now,
            refused_by: None,
        });
        if waits {
            let longest = SignedDuration::from_secs(limits::WAITING_SECONDS);
            token.expires = now.saturating_add(longest).unwrap_or(Timestamp::MAX);
        }
        changes.push(rows::token(id, token));
        if waits {
            return Ok(Response::AwaitsApproval);
        }
        self.admit(agent, *key, machine.copied(), changes);
        Ok(Response::Enrolled)
    }

    /// Records a host that [may be](Self::may_hold) the agent.
    pub(super) fn admit(
        &mut self,
        agent: &AgentId,
        key: Digest,
        machine: Option<Digest>,
        changes: &mut Vec<RowChange>,
    ) {
        let known = self.hosts.get(agent).filter(|host| host.key == key).cloned();
        // Another key is another agent's life: it numbers its transitions from 1, and what the one before it told is no longer
        // known to hold. It tells all that it finds.
        if known.is_none() {
            self.forget_findings_of(agent, changes);
        }
        let host = match known {
            Some(host) => Host {
                machine,
                standing: Standing::Enrolled,
                ..host
            },
            None => Host {
                enrolled: self.clock.now,
                key,
                last_sequence: 0,
                not_kept: 0,
                machine,
                standing: Standing::Enrolled,
                chain: Some(Chain::START.digest),
                head: None,
            },
        };
        let is_back = self.hosts.get(agent).is_some_and(|host| !host.serves());
        changes.push(rows::host(agent, &host));
        self.hosts.insert(agent.clone(), host);
        if is_back {
            self.forget_copy(agent, changes);
        }
    }
}
