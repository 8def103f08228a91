//! People's logins.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;

use super::Outcome;
use crate::limits;
use crate::logins::{BREAK_GLASS, break_glass_name, is_break_glass};
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Login, LoginKind, State, Vouched};

impl State {
    /// Whether a login on this word was given already, to this key. Decided again when it is asked for; asked before that, it costs
    /// the log nothing.
    ///
    /// # Errors
    /// When the word gives no login.
    pub fn takes_word(
        &self,
        person: &str,
        key: &Digest,
        word: &Vouched,
        replaces: bool,
    ) -> Result<bool, Refused> {
        if is_break_glass(person) {
            return Err(Refused::LoginName);
        }
        let Some(held) = self.logins.get(person) else {
            return Ok(false);
        };
        // Whoever may give logins decides when it is over, and not the one it was taken from.
        if held.revoked.is_some() {
            return Err(Refused::LoginRevoked(person.to_owned()));
        }
        match &held.kind {
            LoginKind::Vouched { word: before, .. }
                if before.issuer == word.issuer && before.subject == word.subject =>
            {
                match before.issued.cmp(&word.issued) {
                    Ordering::Less => Ok(false),
                    Ordering::Equal if held.key == *key => Ok(true),
                    Ordering::Equal | Ordering::Greater => Err(Refused::LoginStale),
                }
            }
            _ if !replaces => Err(Refused::LoginTaken(person.to_owned())),
            // Providers tell whole seconds.
            _ if word.issued.as_second() < held.created.as_second() => Err(Refused::LoginStale),
            _ => Ok(false),
        }
    }

    /// Gives a person a login: no other key serves under that name from then on.
    pub(super) fn create_login(
        &mut self,
        person: &str,
        key: Digest,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        if is_break_glass(person) {
            return Err(Refused::LoginName);
        }
        self.put_login(person, key, LoginKind::Local, changes)
    }

    /// Gives a person a login on an identity provider's word, which serves once: a later login takes a later word. The same word
    /// with the same key is answered again, for who lost the answer.
    pub(super) fn log_in(
        &mut self,
        person: &str,
        key: Digest,
        word: &Vouched,
        ends: Timestamp,
        replaces: bool,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        if self.takes_word(person, &key, word, replaces)? {
            return Ok(Response::LoginCreated);
        }
        let ends = self.within(ends, limits::VOUCHED_SECONDS)?;
        let kind = LoginKind::Vouched {
            word: word.clone(),
            ends,
        };
        self.put_login(person, key, kind, changes)
    }

    /// Gives a person every power through the API for a while, and says so until it is over.
    pub(super) fn break_glass(
        &mut self,
        person: &str,
        reason: &str,
        key: Digest,
        ends: Timestamp,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        if is_break_glass(person) {
            return Err(Refused::LoginName);
        }
        let ends = self.within(ends, limits::BREAK_GLASS_SECONDS)?;
        let kind = LoginKind::BreakGlass {
            reason: reason.to_owned(),
            ends,
        };
        let done = self.put_login(&break_glass_name(person), key, kind, changes)?;
        self.tell_break_glass(person, Some((ends, reason)), changes);
        Ok(done)
    }

    /// Ends a break-glass login before its time.
    pub(super) fn end_break_glass_of(&mut self, person: &str, changes: &mut Vec<RowChange>) -> Outcome {
        let name = break_glass_name(person);
        if self.logins.remove(&name).is_none() {
            return Err(Refused::NoBreakGlass(person.to_owned()));
        }
        changes.push(rows::login_gone(&name));
        self.tell_break_glass(person, None, changes);
        Ok(Response::BreakGlassEnded)
    }

    /// Ends the break-glass logins whose time is over.
    pub(super) fn end_break_glass(&mut self, changes: &mut Vec<RowChange>) {
        let now = self.clock.now;
        let over: Vec<String> = self
            .logins
            .range(BREAK_GLASS.to_owned()..)
            .take_while(|(name, _)| is_break_glass(name))
            .filter(|(_, login)| login.ends().is_some_and(|ends| ends <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.logins.remove(&name);
            changes.push(rows::login_gone(&name));
            let person = name.strip_prefix(BREAK_GLASS).unwrap_or(&name);
            self.tell_break_glass(person, None, changes);
        }
    }

    /// When a login ends that is to end then and to live so long at most.
    fn within(&self, ends: Timestamp, seconds: i64) -> Result<Timestamp, Refused> {
        let longest = self.clock.now.saturating_add(SignedDuration::from_secs(seconds));
        let ends = ends.min(longest.unwrap_or(Timestamp::MAX));
        if ends <= self.clock.now {
            return Err(Refused::LoginOver);
        }
        Ok(ends)
    }

    fn put_login(
        &mut self,
        name: &str,
        key: Digest,
        kind: LoginKind,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        // Who stands before a cluster in need is not turned away for others' names.
        let counts = !is_break_glass(name) && !self.logins.contains_key(name);
        if counts && self.logins.len() >= limits::LOGINS {
            return Err(Refused::TooManyLogins(limits::LOGINS));
        }
        let login = Login {
            key,
            created: self.clock.now,
            revoked: None,
            kind,
        };
        changes.push(rows::login(name, &login));
        self.logins.insert(name.to_owned(), login);
        Ok(Response::LoginCreated)
    }
}
