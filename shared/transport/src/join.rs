//! The join command: everything an agent needs for an authenticated first contact.

use std::fmt;

use zeroize::Zeroizing;

use crate::spiffe_id::is_cluster_id;
use crate::token::{InvalidToken, JoinToken};

/// What the join command says. The first trust root is not taken on a controller's word: it must hash to the cluster id.
#[derive(Clone, Debug)]
pub struct JoinCommand {
    /// Where to enrol: `HOST:PORT`.
    pub enrol_address: String,
    /// Where to connect afterwards: `HOST:PORT`.
    pub address: String,
    /// The cluster id.
    pub cluster_id: String,
    /// The pin of the members' authority.
    pub ca_pin: String,
    /// The agent's id.
    pub agent: String,
    /// The token.
    pub token: JoinToken,
}

/// A part of a join command that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinCommand {
    /// The cluster id.
    #[error("--cluster-id is 64 lower-case hex digits")]
    ClusterId,
    /// The pin.
    #[error("--ca-pin is `sha256:` and 64 lower-case hex digits")]
    Pin,
    /// The token.
    #[error(transparent)]
    Token(#[from] InvalidToken),
}

impl JoinCommand {
    /// Checks the parts of a command line.
    ///
    /// # Errors
    /// Names the flag that is not valid.
    pub fn check(
        enrol_address: &str,
        address: &str,
        cluster_id: &str,
        ca_pin: &str,
        agent: &str,
        token: &str,
    ) -> Result<Self, InvalidJoinCommand> {
        check_cluster(cluster_id, ca_pin)?;
        Ok(Self {
            enrol_address: enrol_address.to_owned(),
            address: address.to_owned(),
            cluster_id: cluster_id.to_owned(),
            ca_pin: ca_pin.to_owned(),
            agent: agent.to_owned(),
            token: token.parse()?,
        })
    }

    /// The command line, secret included: to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{self} --token {}", self.token.reveal().as_str()))
    }
}

// Without the token.
impl fmt::Display for JoinCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            enrol_address,
            address,
            cluster_id,
            ca_pin,
            agent,
            token: _,
        } = self;
        write!(
            f,
            "verger-agent join --agent {agent} --enrol {enrol_address} --controller {address} --cluster-id {cluster_id} --ca-pin {ca_pin}"
        )
    }
}

/// The same for a member of the control plane. Its name and addresses are its configuration's.
#[derive(Clone, Debug)]
pub struct MemberJoin {
    /// Where who joins is served: `HOST:PORT`.
    pub enrol_address: String,
    /// The cluster id.
    pub cluster_id: String,
    /// The pin of the members' authority.
    pub ca_pin: String,
    /// The token.
    pub token: JoinToken,
}

impl MemberJoin {
    /// Checks the parts of a command line.
    ///
    /// # Errors
    /// Names the flag that is not valid.
    pub fn check(
        enrol_address: &str,
        cluster_id: &str,
        ca_pin: &str,
        token: &str,
    ) -> Result<Self, InvalidJoinCommand> {
        check_cluster(cluster_id, ca_pin)?;
        Ok(Self {
            enrol_address: enrol_address.to_owned(),
            cluster_id: cluster_id.to_owned(),
            ca_pin: ca_pin.to_owned(),
            token: token.parse()?,
        })
    }

    /// The command line, secret included: to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "verger-controller join --enrol {} --cluster-id {} --ca-pin {} --token {}",
            self.enrol_address,
            self.cluster_id,
            self.ca_pin,
            self.token.reveal().as_str()
        ))
    }
}

fn check_cluster(cluster_id: &str, ca_pin: &str) -> Result<(), InvalidJoinCommand> {
    if !is_cluster_id(cluster_id) {
        return Err(InvalidJoinCommand::ClusterId);
    }
    if !ca_pin.strip_prefix("sha256:").is_some_and(is_cluster_id) {
        return Err(InvalidJoinCommand::Pin);
    }
    Ok(())
}
