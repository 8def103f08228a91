//! One member: its stores, its Raft, its state.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::ReadPolicy;
use openraft::{BasicNode, SnapshotPolicy};
use tokio::sync::watch;
use verger_controller_state::{Command, Rebuild, Response, State, Tree};
use verger_controller_store::{LogDb, LogWriter, RedbLog, SledState, SnapshotDir, StateDb, StoreError};

use crate::codec::{self, Mark};
use crate::log_store::LogStore;
use crate::network::NoPeers;
use crate::proposer::Proposer;
use crate::snapshot;
use crate::state_machine::{Applied, Machine};
use crate::types::{StoredMembership, TypeConfig};

type Raft = openraft::Raft<TypeConfig, Machine>;

/// Entries between snapshots. A snapshot is the whole state, so not too often; the log is replayed at start, so not too seldom.
const SNAPSHOT_EVERY: u64 = 20_000;
/// Entries kept behind a snapshot.
const KEEP_BEHIND: u64 = 1_000;
/// How long a read waits to be current. A leader that lost its quorum has nobody to tell it so, and callers can ask again.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How to open a member.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// Its number in the cluster.
    pub id: u64,
    /// Where its files are.
    pub dir: PathBuf,
    /// The address peers would call.
    pub address: String,
}

/// Why a member cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// There is a log already.
    #[error("{0:?} already holds a member; it is founded once. To start over, remove the folder by hand")]
    AlreadyThere(PathBuf),
    /// There is none.
    #[error("{0:?} holds no member: run `verger-controller init` first")]
    NotThere(PathBuf),
    /// The files cannot be used.
    #[error("the member's files cannot be used")]
    Store(#[from] StoreError),
    /// The rows do not make a state.
    #[error("the applied state cannot be rebuilt")]
    State(#[source] verger_controller_state::DamagedRow),
    /// A stored record cannot be read.
    #[error("a stored record cannot be read")]
    Record(#[source] std::io::Error),
    /// The log begins after the state ends.
    #[error(
        "{0:?}: the log begins after the applied state ends, and no snapshot covers the gap; restore the cluster from a backup"
    )]
    Gap(PathBuf),
    /// Raft did not start.
    #[error("the consensus module did not start: {0}")]
    Raft(String),
}

/// Why a command was not applied, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The member stops, or has stopped; whether the command was applied is not known.
    #[error("the member is stopping")]
    Stopped,
    /// This member does not lead.
    #[error("this member does not lead the cluster at the moment; try again")]
    NotLeader,
    /// The stores failed.
    #[error("the member cannot write: {0}")]
    Failed(String),
}

impl ProposeError {
    pub(crate) fn from_raft(
        error: &openraft::error::RaftError<TypeConfig, openraft::error::ClientWriteError<TypeConfig>>,
    ) -> Self {
        if error.forward_to_leader().is_some() {
            Self::NotLeader
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// Why a read cannot be current.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a current read is not possible at the moment: {0}")]
pub struct ReadError(String);

/// Why rows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rows of the applied state cannot be read: {0}")]
pub struct RowsError(String);

/// One member of the cluster.
pub struct Member {
    raft: Raft,
    proposer: Proposer,
    packing: tokio::task::JoinHandle<()>,
    applied: Arc<Applied>,
    db: Arc<dyn StateDb>,
}

impl Member {
    /// Makes the files of a new cluster's first member.
    ///
    /// # Errors
    /// When there is one already, or the files cannot be made.
    pub fn create(dir: &Path) -> Result<(), MemberError> {
        if RedbLog::exists(dir) {
            return Err(MemberError::AlreadyThere(dir.to_owned()));
        }
        drop(RedbLog::create(dir)?);
        Ok(())
    }

    /// Opens the files, recovers the state and starts Raft. A fresh log is initialised with this member as the only voter.
    ///
    /// # Errors
    /// When the files are not there, damaged, or do not fit together: never starts empty in place of damage.
    pub async fn open(config: MemberConfig) -> Result<Self, MemberError> {
        let MemberConfig { id, dir, address } = config;
        if !RedbLog::exists(&dir) {
            return Err(MemberError::NotThere(dir));
        }
        let recovered = tokio::task::spawn_blocking(move || recover(&dir))
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))??;
        let Recovered { log, machine } = recovered;
        let (applied, db) = (Arc::clone(&machine.applied), Arc::clone(&machine.db));
        let raft = Raft::new(id, Arc::new(raft_config()?), NoPeers, log, machine)
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))?;
        let initialised = raft
            .is_initialized()
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))?;
        if !initialised {
            let members: std::collections::BTreeMap<u64, BasicNode> = [(id, BasicNode::new(address))].into();
            raft.initialize(members)
                .await
                .map_err(|error| MemberError::Raft(error.to_string()))?;
        }
        let (proposer, packing) = Proposer::start(raft.clone());
        Ok(Self {
            raft,
            proposer,
            packing,
            applied,
            db,
        })
    }

    /// Waits until this member leads, so that it can take commands.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn wait_until_leading(&self, limit: Duration) -> Result<(), MemberError> {
        let id = *self.raft.node_id();
        self.raft
            .wait(Some(limit))
            .metrics(|metrics| metrics.current_leader == Some(id), "leading")
            .await
            .map(drop)
            .map_err(|error| MemberError::Raft(error.to_string()))
    }

    /// Whether this member leads now.
    pub fn is_leading(&self) -> bool {
        self.raft.is_leader()
    }

    /// Proposes a command and waits for its answer. It is then durable on a quorum and applied here.
    ///
    /// # Errors
    /// When it was not applied, or that is not known. Cancelling does not take a command back.
    pub async fn propose(&self, command: &Command) -> Result<Response, ProposeError> {
        self.proposer.propose(command.encode()).await
    }

    /// Waits until everything that was acknowledged anywhere before this call is applied here (read index).
    ///
    /// # Errors
    /// When a quorum does not confirm the leader, or that is not known within 5 s.
    pub async fn catch_up(&self) -> Result<(), ReadError> {
        within(READ_WITHIN, self.raft.ensure_linearizable(ReadPolicy::ReadIndex)).await
    }

    /// Looks at the state as it is applied here now. Keep it short: writers wait.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.applied.read(look)
    }

    /// Reads the values of rows of one tree by their keys, in the order asked; `None` for one that is not there. What is in the
    /// state and in no published revision yet may be missing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rows(&self, tree: Tree, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Bytes>>, RowsError> {
        let db = Arc::clone(&self.db);
        let read = move || keys.iter().map(|key| db.get(tree.name(), key)).collect();
        let values: Result<_, StoreError> = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| RowsError(error.to_string()))?;
        values.map_err(|error| {
            tracing::error!(%error, tree = tree.name(), "rows cannot be read");
            RowsError(error.to_string())
        })
    }

    /// The revision applied last, and each later one.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.applied.revision.subscribe()
    }

    /// Stops: no further command is taken, what is applied is made durable.
    pub async fn stop(self) {
        let Self {
            raft,
            proposer,
            packing,
            applied: _,
            db,
        } = self;
        drop(proposer);
        if let Err(error) = raft.shutdown().await {
            tracing::error!(%error, "the consensus module did not stop cleanly");
        }
        packing.abort();
        let flushed = tokio::task::spawn_blocking(move || db.flush()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the applied state was not flushed; it will be rebuilt from the log");
        }
    }
}

/// What a read comes to that may take so long.
async fn within<T, E: std::fmt::Display>(
    limit: Duration,
    read: impl Future<Output = Result<T, E>>,
) -> Result<(), ReadError> {
    match tokio::time::timeout(limit, read).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(ReadError(error.to_string())),
        Err(_) => {
            tracing::warn!(?limit, "a read was not confirmed in time");
            Err(ReadError(format!("it was not confirmed within {limit:?}")))
        }
    }
}

fn raft_config() -> Result<openraft::Config, MemberError> {
    openraft::Config {
        cluster_name: "verger".to_owned(),
        election_timeout_min: 300,
        election_timeout_max: 600,
        heartbeat_interval: 100,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: KEEP_BEHIND,
        enable_pre_vote: Some(true),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| MemberError::Raft(error.to_string()))
}

pub(crate) struct Recovered {
    pub(crate) log: LogStore,
    pub(crate) machine: Machine,
}

pub(crate) fn recover(dir: &Path) -> Result<Recovered, MemberError> {
    let log: Arc<dyn LogDb> = Arc::new(RedbLog::open(dir)?);
    log.check()?;
    let snapshots = SnapshotDir::open(&dir.join("snapshots"))?;
    let db = open_state(dir)?;
    let applied = db.applied()?.map_or(0, |mark| mark.last.index);
    let latest = snapshots.latest()?;
    let begins = log.last_purged()?.map_or(0, |id| id.index);
    // Rows may stand earlier than the log begins after a crash: the snapshot covers what was purged.
    if applied < begins {
        let snapshot = latest
            .filter(|snapshot| snapshot.meta().last.index >= begins)
            .ok_or_else(|| MemberError::Gap(dir.to_owned()))?;
        tracing::info!(
            index = snapshot.meta().last.index,
            "rebuilding the applied state from a snapshot"
        );
        snapshot::restore(&*db, &snapshots, &snapshot)?;
    }
    let mark = match db.applied()? {
        Some(mark) => codec::decode_mark(&mark.membership).map_err(MemberError::Record)?,
        None => Mark {
            applied: None,
            membership: StoredMembership::default(),
        },
    };
    let revision = mark.applied.map_or(0, |id| id.index);
    // One by one: there may be a million of them.
    let mut rebuild = Rebuild::at(revision);
    let mut damaged = None;
    db.visit_all(&mut |row| {
        if let (Some(tree), None) = (Tree::of_name(&row.tree), &damaged) {
            damaged = rebuild.take(tree, &row.key, &row.value).err();
        }
        Ok(())
    })?;
    let state = damaged
        .map_or_else(|| rebuild.finish(), Err)
        .map_err(MemberError::State)?;
    let applied = Arc::new(Applied {
        state: RwLock::new(state),
        revision: watch::Sender::new(revision),
    });
    Ok(Recovered {
        log: LogStore(Arc::new(LogWriter::start(log)?)),
        machine: Machine {
            applied,
            db,
            snapshots: Arc::new(snapshots),
            mark,
        },
    })
}

// Rows are rebuildable: damaged ones are thrown away, and snapshot and log make them again.
fn open_state(dir: &Path) -> Result<Arc<dyn StateDb>, MemberError> {
    match SledState::open(dir) {
        Ok(db) => Ok(Arc::new(db)),
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "rebuilding the applied state from snapshot and log");
            SledState::discard(dir)?;
            Ok(Arc::new(SledState::open(dir)?))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_that_nobody_confirms_ends_with_an_error_and_one_that_is_confirmed_does_not() {
        let error = within(READ_WITHIN, pending::<Result<(), ReadError>>()).await;
        assert!(
            error
                .unwrap_err()
                .to_string()
                .ends_with("not confirmed within 5s")
        );
        within(READ_WITHIN, ready(Ok::<_, ReadError>(7))).await.unwrap();
        let refused = Err::<(), _>(ReadError("no quorum".to_owned()));
        let error = within(READ_WITHIN, ready(refused)).await.unwrap_err();
        assert!(error.to_string().ends_with("no quorum"));
    }
}
