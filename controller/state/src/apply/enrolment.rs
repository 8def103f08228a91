//! Join tokens, and the hosts that spend them.

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;

use super::Outcome;
use super::own::controllers;
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Host, Login, State, Token};

impl State {
    /// A token as it is asked for, with the longest life there is at most.
    pub(super) fn new_token(&self, secret_hash: Digest, agent: &AgentId, expires: Timestamp) -> Token {
        let longest = SignedDuration::from_secs(limits::REQUEST_SECONDS);
        let longest = self.clock.now.saturating_add(longest).unwrap_or(Timestamp::MAX);
        Token {
            secret_hash,
            agent: agent.clone(),
            expires: expires.min(longest),
            spent: false,
        }
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

    /// Gives a person a login: no other key serves under that name from then on.
    pub(super) fn create_login(
        &mut self,
        person: &str,
        key: Digest,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if self.logins.len() >= limits::LOGINS && !self.logins.contains_key(person) {
            return Err(Refused::TooManyLogins(limits::LOGINS));
        }
        let login = Login {
            key,
            created: self.clock.now,
        };
        changes.push(rows::login(person, &login));
        self.logins.insert(person.to_owned(), login);
        Ok(Response::LoginCreated)
    }

    /// Takes a host out. It may come back with another token, as a new one.
    pub(super) fn remove_host(&mut self, agent: &AgentId, changes: &mut Vec<RowChange>) -> Outcome {
        if self.hosts.remove(agent).is_none() {
            return Err(Refused::UnknownAgent);
        }
        changes.push(rows::host_gone(agent));
        self.forget_findings_of(agent, changes);
        Ok(Response::HostRemoved)
    }

    pub(super) fn enrol(
        &mut self,
        token_id: &str,
        secret_hash: &Digest,
        agent: &AgentId,
        key: Digest,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let clock = self.clock.now;
        if !self.token_serves(token_id, secret_hash, agent, &key) {
            return Err(Refused::Token);
        }
        let token = self.tokens.get_mut(token_id).ok_or(Refused::Token)?;
        token.spent = true;
        changes.push(rows::token(token_id, token));
        let known = self.hosts.get(agent).filter(|host| host.key == key).cloned();
        // Another key is another agent's life: it numbers its transitions from 1, and what the one before it told is no longer
        // known to hold. It tells all that it finds.
        if known.is_none() {
            self.forget_findings_of(agent, changes);
        }
        let host = known.unwrap_or(Host {
            enrolled: clock,
            key,
            last_sequence: 0,
            not_kept: 0,
        });
        changes.push(rows::host(agent, &host));
        self.hosts.insert(agent.clone(), host);
        Ok(Response::Enrolled)
    }
}
