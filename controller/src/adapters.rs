//! The ports of the API, over Raft, the authorities and the system. Newtypes, in one place.

mod membership;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use verger_controller_api::ports::{
    Ambient, AuditRows, Below, Holder, IssueError, Issued, Issuer, NotSaved, Replicated, SNAPSHOT_PIECE,
    SnapshotStream, Snapshots, Unavailable,
};
use verger_controller_raft::{Member, ProposeError, SaveError};
use verger_controller_state::{Command, Response, State, Tree};
use verger_policy::digest::Digest;
use verger_transport::{Authority, AuthorityError, Label, Peer, Purpose, SpiffeId};

use crate::login::time_left;

pub(crate) use membership::RaftMembership;

/// How long an agent's certificate is good; it renews at half of it.
pub(crate) const AGENT_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// The replicated state, over Raft.
pub(crate) struct RaftState(pub(crate) Arc<Member>);

#[async_trait]
impl Replicated for RaftState {
    async fn propose(&self, command: Command) -> Result<Response, Unavailable> {
        self.0.propose(&command).await.map_err(|error| match &error {
            ProposeError::Stopped | ProposeError::NotLeader | ProposeError::Unknown(_) => {
                Unavailable::Elsewhere(error.to_string())
            }
            ProposeError::Failed(_) => Unavailable::Failed(error.to_string()),
        })
    }

    async fn catch_up(&self) -> Result<(), Unavailable> {
        self.0
            .catch_up()
            .await
            .map_err(|error| Unavailable::Elsewhere(error.to_string()))
    }

    fn show(&self, look: &mut dyn FnMut(&State)) {
        self.0.read(look);
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.0.revisions()
    }

    fn is_leading(&self) -> bool {
        self.0.is_leading()
    }
}

#[async_trait]
impl AuditRows for RaftState {
    async fn values(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Bytes>>, Unavailable> {
        let values = self.0.rows(Tree::Audit, keys).await;
        values.map_err(|error| Unavailable::Failed(error.to_string()))
    }
}

/// Pieces of a snapshot that are read ahead.
const AHEAD: usize = 4;

#[async_trait]
impl Snapshots for RaftState {
    async fn save(&self) -> Result<SnapshotStream, NotSaved> {
        let mut saved = self.0.save().await.map_err(|error| match error {
            SaveError::Busy => NotSaved::Busy(error.to_string()),
            SaveError::Stale(_) => Unavailable::Elsewhere(error.to_string()).into(),
            SaveError::Store(_) | SaveError::Io(_) => {
                tracing::error!(%error, "a snapshot is not saved");
                Unavailable::Failed(error.to_string()).into()
            }
        })?;
        let size = saved.size();
        let (ready, pieces) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            loop {
                let piece = match saved.read(SNAPSHOT_PIECE).await {
                    Ok((_, piece)) if piece.is_empty() => return,
                    Ok((back, piece)) => {
                        saved = back;
                        Ok(Bytes::from(piece))
                    }
                    Err(error) => {
                        let what = format!("the snapshot's file cannot be read: {error}");
                        let _ = ready.send(Err(Unavailable::Failed(what))).await;
                        return;
                    }
                };
                if ready.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(SnapshotStream { size, pieces })
    }
}

/// The authorities of agents and people.
pub(crate) struct Authorities {
    pub(crate) cluster: String,
    pub(crate) agents: Authority,
    pub(crate) people: Authority,
    pub(crate) members: Vec<u8>,
    /// Where the roots are, if they are here.
    pub(crate) pki: PathBuf,
    /// How long a local login's certificate is good.
    pub(crate) person_lifetime: Duration,
}

fn issue_error(error: AuthorityError) -> IssueError {
    match error {
        AuthorityError::Request(what) => IssueError::Request(what),
        other => IssueError::Authority(other.to_string()),
    }
}

impl Issuer for Authorities {
    fn key_of(&self, csr: &[u8]) -> Result<Digest, IssueError> {
        Authority::key_digest(csr)
            .map(Digest::from_bytes)
            .map_err(issue_error)
    }

    fn issue(&self, csr: &[u8], holder: &Holder) -> Result<Issued, IssueError> {
        let (authority, peer, lifetime) = match holder {
            Holder::Agent(agent) => {
                let name = agent
                    .as_str()
                    .parse()
                    .map_err(|error| IssueError::Request(format!("agent id: {error}")))?;
                (&self.agents, Peer::Agent(name), AGENT_LIFETIME)
            }
            Holder::Person(name) => (&self.people, Peer::Person(name.clone()), self.person_lifetime),
            Holder::PersonUntil(name, end) => {
                let left = time_left(*end).map_err(|error| IssueError::Request(error.to_string()))?;
                (&self.people, Peer::Person(name.clone()), left)
            }
        };
        let id = SpiffeId {
            cluster: self.cluster.clone(),
            peer,
        };
        // Clients of an agent's runtime know it by its name as that of a host.
        let hosts = match holder {
            Holder::Agent(agent) => vec![agent.to_string()],
            Holder::Person(_) | Holder::PersonUntil(..) => Vec::new(),
        };
        let issued = authority.issue(csr, &id, lifetime, &hosts).map_err(issue_error)?;
        let not_after = jiff::Timestamp::from_second(issued.not_after)
            .map_err(|error| IssueError::Authority(error.to_string()))?;
        Ok(Issued {
            chain: issued.chain,
            not_after,
        })
    }

    fn below(&self, csrs: &[Vec<u8>; 3], member: &Label) -> Result<Below, IssueError> {
        let id = SpiffeId {
            cluster: self.cluster.clone(),
            peer: Peer::Controller(member.clone()),
        };
        let (mut own, mut roots) = (<[Vec<u8>; 3]>::default(), <[Vec<u8>; 3]>::default());
        for (place, purpose) in Purpose::ALL.into_iter().enumerate() {
            // Read when it is needed, and not kept in memory.
            let root = Authority::load_root(&self.pki, purpose).map_err(|error| match error {
                AuthorityError::NoRoot(_) => IssueError::NoRoots(format!(
                    "{error}; join by the member that founded the cluster, or bring them here (`verger-controller roots import`)"
                )),
                AuthorityError::NoneBelow => IssueError::NoRoots(error.to_string()),
                other => issue_error(other),
            })?;
            own[place] = root.below(&csrs[place], purpose, &id).map_err(issue_error)?;
            roots[place] = root.certificate().to_vec();
        }
        Ok(Below { own, roots })
    }

    fn member_cas(&self) -> Vec<Vec<u8>> {
        vec![self.members.clone()]
    }

    fn agent_cas(&self) -> Vec<Vec<u8>> {
        vec![self.agents.certificate().to_vec()]
    }

    fn people_cas(&self) -> Vec<Vec<u8>> {
        vec![self.people.certificate().to_vec()]
    }
}

/// The system's clock and randomness.
pub(crate) struct SystemAmbient;

impl Ambient for SystemAmbient {
    fn random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("Linux gives randomness once it is up");
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

#[cfg(test)]
mod tests;
