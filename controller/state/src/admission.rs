//! Whether a host is let in: decided at the door, so that whoever is not costs the log nothing, and again where the token is spent.

use subtle::ConstantTimeEq as _;
use verger_policy::digest::Digest;
use verger_policy::model::{AgentId, printable_within};

use crate::response::Refused;
use crate::state::{Asked, Host, Standing, State, Token};

/// The longest part of a reason that is repeated to who is refused, characters.
const REASON_CHARS: usize = 200;

/// What a host shows.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The token's public half.
    pub token: &'a str,
    /// The hash of its secret half.
    pub secret: &'a Digest,
    /// Who it says it is.
    pub agent: &'a AgentId,
    /// Digest of its public key.
    pub key: &'a Digest,
    /// Digest of its machine's id, where it said.
    pub machine: Option<&'a Digest>,
}

/// What becomes of a host that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is let in.
    Now,
    /// It begins to wait until a person has approved it.
    Asks,
    /// It waits already.
    Waits,
}

impl State {
    /// Whether a host is let in. A token that was spent serves the key it was spent for, as long as that serves, so that an agent
    /// whose answer was lost asks again.
    ///
    /// # Errors
    /// Why it is not. Nobody without a good token learns more than that.
    pub fn admission(&self, presented: &Presented<'_>) -> Result<Admission, Refused> {
        let Presented {
            token,
            secret,
            agent,
            key,
            machine,
        } = *presented;
        let token = self.tokens.get(token).ok_or(Refused::Token)?;
        let holds = bool::from(token.secret_hash.as_bytes().ct_eq(secret.as_bytes()));
        if !holds || token.agent != *agent || token.expires <= self.clock.now {
            return Err(Refused::Token);
        }
        let asked = match &token.asked {
            Some(asked) if asked.key != *key => return Err(Refused::Token),
            Some(Asked {
                refused_by: Some(_), ..
            }) => return Err(Refused::Rejected),
            asked => asked.is_some(),
        };
        let known = |host: &Host| host.serves() && host.key == *key;
        let is_known = self.hosts.get(agent).is_some_and(known);
        if token.spent && !asked && !is_known {
            return Err(Refused::Token);
        }
        self.may_hold(agent, key, machine)?;
        Ok(match (asked, token.approval) {
            _ if is_known => Admission::Now,
            (true, _) => Admission::Waits,
            (false, true) => Admission::Asks,
            (false, false) => Admission::Now,
        })
    }

    /// Whether a key may be that of an agent on a machine.
    pub(crate) fn may_hold(
        &self,
        agent: &AgentId,
        key: &Digest,
        machine: Option<&Digest>,
    ) -> Result<(), Refused> {
        let banned = self
            .hosts
            .iter()
            .filter(|(id, host)| *id == agent || host.key == *key)
            .find_map(|(id, host)| banned(id, host));
        if let Some(banned) = banned {
            return Err(banned);
        }
        match self.hosts.get(agent).filter(|host| host.serves()) {
            Some(host) if host.key != *key => Err(Refused::OtherKey(agent.clone())),
            Some(host) if !host.is_on(machine) => Err(elsewhere(agent, machine)),
            _ => Ok(()),
        }
    }

    /// Whether an agent with this key may what agents may.
    ///
    /// # Errors
    /// Why not. Whoever has not the key of a host learns nothing of it.
    pub fn serves(&self, agent: &AgentId, key: &Digest) -> Result<&Host, Refused> {
        let host = self.hosts.get(agent).filter(|host| host.key == *key);
        let host = host.ok_or(Refused::UnknownAgent)?;
        match &host.standing {
            Standing::Enrolled => Ok(host),
            Standing::Evicted(_) => Err(Refused::Evicted(agent.clone())),
            Standing::Banned(_) => Err(banned(agent, host).unwrap_or(Refused::UnknownAgent)),
        }
    }

    /// Hosts that wait until a person has approved them, in the order of their agents; of each agent there may be several.
    pub fn waiting(&self) -> Vec<(&AgentId, &Asked)> {
        let mut waiting: Vec<_> = self
            .tokens
            .values()
            .filter_map(|token| waits(token, self.clock.now))
            .collect();
        waiting.sort_by_key(|(agent, asked)| (*agent, asked.at, asked.key));
        waiting
    }
}

/// Who waits by a token.
pub(crate) fn waits(token: &Token, now: jiff::Timestamp) -> Option<(&AgentId, &Asked)> {
    let asked = token.asked.as_ref().filter(|asked| asked.refused_by.is_none())?;
    (token.expires > now).then_some((&token.agent, asked))
}

/// The refusal of an agent that is not [on the machine](Host::is_on) it was enrolled on, or does not say so.
pub fn elsewhere(agent: &AgentId, machine: Option<&Digest>) -> Refused {
    match machine {
        Some(_) => Refused::CopiedIdentity(agent.clone()),
        None => Refused::NoMachine(agent.clone()),
    }
}

/// The refusal of a host that is banned.
pub(crate) fn banned(agent: &AgentId, host: &Host) -> Option<Refused> {
    match &host.standing {
        Standing::Banned(verdict) => Some(Refused::Banned {
            agent: agent.clone(),
            reason: printable_within(&verdict.reason, REASON_CHARS),
        }),
        Standing::Enrolled | Standing::Evicted(_) => None,
    }
}
