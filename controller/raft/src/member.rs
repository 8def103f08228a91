//! One member: its stores, its Raft, its state.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::SnapshotPolicy;
use openraft::raft::ReadPolicy;
use openraft::rt::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use verger_controller_state::{Command, Rebuild, Response, State, Tree};
use verger_controller_store::{LogDb, LogWriter, RedbLog, SledState, SnapshotDir, StateDb, StoreError};

use crate::chain::Noted;
use crate::codec::{self, Mark};
use crate::equality;
use crate::leading::{self, Leads};
use crate::log_store::LogStore;
use crate::network::Network;
use crate::peers::{PeerError, Peers};
use crate::proposer::{Carrier, Proposer};
use crate::runtime::off_thread;
use crate::snapshot;
use crate::state_machine::{Applied, Machine};
use crate::tickets::Tickets;
use crate::types::{Node, TypeConfig};

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;

/// Entries between snapshots. A snapshot is the whole state, so not too often; the log is replayed at start, so not too seldom.
const SNAPSHOT_EVERY: u64 = 20_000;
/// Entries kept behind a snapshot.
const KEEP_BEHIND: u64 = 1_000;
/// How long a snapshot that was asked for may take.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(600);
/// How long a read waits to be current. A leader that lost its quorum has nobody to tell it so, and callers can ask again.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How to open a member.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// Its number in the cluster.
    pub id: u64,
    /// What all are told of it where it founds its cluster.
    pub node: Node,
    /// Whether it is its cluster's first, which founds it where its log is fresh. Others wait until a leader calls them.
    pub is_first: bool,
    /// A number that no other run of it has had.
    pub start: u64,
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
    /// It came to another state than the others, and was stopped for that.
    #[error(
        "what this member had applied is not what the others have, and it does not start any more ({0:?} says where); remove it from the cluster (`verger cluster remove`), remove its data folder, and join again under another name"
    )]
    Diverged(PathBuf),
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
    /// Nobody leads whom this member can reach; nothing was written.
    #[error("nobody leads the cluster at the moment, as far as this member can tell; try again")]
    NotLeader,
    /// The leader was lost, or no answer came: whether the command is applied is not known. What has a request id can be sent again.
    #[error("whether it was done is not known: {0}; send the same request again")]
    Unknown(String),
    /// The stores failed.
    #[error("the member cannot write: {0}")]
    Failed(String),
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
    peers: Arc<dyn Peers>,
    snapshots: Arc<SnapshotDir>,
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

    /// Opens the files, recovers the state and starts Raft.
    ///
    /// # Errors
    /// When the files are not there, damaged, or do not fit together: never starts empty in place of damage. And where the member was found
    /// to be another than the others.
    pub async fn open(
        config: MemberConfig,
        dir: PathBuf,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, MemberError> {
        if !RedbLog::exists(&dir) {
            return Err(MemberError::NotThere(dir));
        }
        if let Some(marker) = equality::marker(&dir) {
            return Err(MemberError::Diverged(marker));
        }
        let stores = off_thread(move || Stores::open(&dir))
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))??;
        Self::open_on(config, stores, peers).await
    }

    /// The same on stores that are open.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_on(
        config: MemberConfig,
        stores: Stores,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, MemberError> {
        let MemberConfig {
            id,
            node,
            is_first,
            start,
        } = config;
        let tickets = Arc::new(Tickets::new(id, start));
        let of = Arc::clone(&tickets);
        let recovered = off_thread(move || recover(stores, of))
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))??;
        let Recovered { log, machine } = recovered;
        let (applied, db) = (Arc::clone(&machine.applied), Arc::clone(&machine.db));
        let snapshots = Arc::clone(&machine.snapshots);
        let network = Network {
            peers: Arc::clone(&peers),
            snapshots: Arc::clone(&snapshots),
        };
        let raft = Raft::new(id, Arc::new(raft_config()?), network, log, machine)
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))?;
        let initialised = raft
            .is_initialized()
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))?;
        if is_first && !initialised {
            let members: std::collections::BTreeMap<u64, Node> = [(id, node)].into();
            raft.initialize(members)
                .await
                .map_err(|error| MemberError::Raft(error.to_string()))?;
        }
        let is_alone = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().voter_ids().eq([id])
        };
        if initialised && is_alone {
            // Nobody else can lead: nothing is waited for.
            raft.trigger()
                .elect(false)
                .await
                .map_err(|error| MemberError::Raft(error.to_string()))?;
        }
        let (proposer, packing) = Proposer::start(Carrier {
            raft: raft.clone(),
            peers: Arc::clone(&peers),
            applied: Arc::clone(&applied),
            tickets,
        });
        Ok(Self {
            raft,
            proposer,
            packing,
            applied,
            db,
            peers,
            snapshots,
        })
    }

    pub(crate) const fn raft(&self) -> &Raft {
        &self.raft
    }

    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }

    pub(crate) fn peers(&self) -> &Arc<dyn Peers> {
        &self.peers
    }

    pub(crate) const fn snapshots(&self) -> &Arc<SnapshotDir> {
        &self.snapshots
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

    /// Waits until everything that was acknowledged anywhere before this call is applied here (read index, §6.4 of Ongaro's
    /// dissertation).
    ///
    /// # Errors
    /// When no leader confirms that it leads within 5 s, or this member does not catch up by then.
    pub async fn catch_up(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + READ_WITHIN;
        let mut why = "nobody leads the cluster at the moment".to_owned();
        loop {
            let leads = leading::now(&self.raft);
            let asked = async {
                let left = deadline.saturating_duration_since(Instant::now());
                match &leads {
                    None => Err((true, why.clone())),
                    Some(Leads::Here(_)) => timeout(left, self.confirmed_index())
                        .await
                        .unwrap_or_else(|_| Err((false, "a quorum did not confirm the leader".to_owned()))),
                    Some(Leads::There(_, _, node)) => {
                        let peer = self.peers.peer(&node.name, &node.address);
                        index_of(peer.read_index(left).await)
                    }
                }
            };
            let confirmed = tokio::select! {
                biased;
                confirmed = asked => confirmed,
                // Who was asked may never answer.
                true = leading::changes(&self.raft, leads.as_ref(), deadline) => continue,
            };
            match confirmed {
                Ok(index) => return self.reach(index, deadline).await,
                Err((false, why)) => return Err(not_current(why)),
                Err((true, last)) => why = last,
            }
            // Whoever was asked does not lead: somebody else may, soon.
            if !leading::changes(&self.raft, leads.as_ref(), deadline).await {
                return Err(not_current(why));
            }
        }
    }

    /// Up to where a read is current, of this member as the leader; or why not, and whether it is because it does not lead.
    pub(crate) async fn confirmed_index(&self) -> Result<u64, (bool, String)> {
        match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _applied)) => Ok(read.index()),
            Err(error) => Err((error.forward_to_leader().is_some(), error.to_string())),
        }
    }

    /// Waits until this is applied here.
    async fn reach(&self, index: u64, deadline: Instant) -> Result<(), ReadError> {
        let mut revisions = self.applied.revision.receiver();
        let reached = timeout_at(deadline, revisions.until(|applied| *applied >= index)).await;
        match reached {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ReadError("the member stops".to_owned())),
            Err(_) => Err(not_current(format!("this member has not applied {index} yet"))),
        }
    }

    /// Writes a snapshot, and takes what it covers out of the log as soon as it is durable.
    ///
    /// # Errors
    /// When the member stops, or nothing is applied yet.
    pub async fn snapshot_and_purge(&self) -> Result<(), MemberError> {
        let failed = |error: String| MemberError::Raft(error);
        if self.raft.metrics().borrow_watched().last_applied.is_none() {
            return Err(failed("nothing is applied yet".to_owned()));
        }
        let applied = self.applied.read(State::revision);
        let trigger = self.raft.trigger();
        trigger
            .snapshot()
            .await
            .map_err(|error| failed(error.to_string()))?;
        self.raft
            .wait(Some(SNAPSHOT_WITHIN))
            .metrics(
                |metrics| metrics.snapshot.is_some_and(|id| id.index >= applied),
                "a snapshot",
            )
            .await
            .map_err(|error| failed(error.to_string()))?;
        trigger
            .purge_log(applied)
            .await
            .map_err(|error| failed(error.to_string()))
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
        let values: Result<_, StoreError> = off_thread(read)
            .await
            .map_err(|error| RowsError(error.to_string()))?;
        values.map_err(|error| {
            tracing::error!(%error, tree = tree.name(), "rows cannot be read");
            RowsError(error.to_string())
        })
    }

    /// The revision applied last, and each later one.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.applied.revision.watched()
    }

    /// Lets everything be as it is: nothing is made durable, and nobody is told. What a crash would do, for simulations of one.
    pub fn abandon(&self) {
        self.packing.abort();
        let raft = self.raft.clone();
        // It has nothing to say any more, however it ends.
        tokio::spawn(async move { drop(raft.shutdown().await) });
    }

    /// Stops: no further command is taken, what is applied is made durable.
    pub async fn stop(self) {
        let Self {
            raft,
            proposer,
            packing,
            applied: _,
            db,
            peers: _,
            snapshots: _,
        } = self;
        drop(proposer);
        if let Err(error) = raft.shutdown().await {
            tracing::error!(%error, "the consensus module did not stop cleanly");
        }
        packing.abort();
        let flushed = off_thread(move || db.flush()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the applied state was not flushed; it will be rebuilt from the log");
        }
    }
}

/// What a leader said of up to where a read is current.
fn index_of(
    answer: Result<verger_proto::peer::v1::ReadIndexResponse, PeerError>,
) -> Result<u64, (bool, String)> {
    use verger_proto::peer::v1::read_index_response::Outcome;
    match answer.map(|answer| answer.outcome) {
        Ok(Some(Outcome::Index(index))) => Ok(index.index),
        Ok(Some(Outcome::Refused(refused))) => Err((refused.not_leader, refused.reason)),
        Ok(None) => Err((false, "the leader's answer says nothing".to_owned())),
        // It may be on its way out: asking again does no harm.
        Err(error) => Err((true, format!("the leader: {error}"))),
    }
}

fn not_current(why: String) -> ReadError {
    tracing::warn!(why, "a read was not confirmed");
    ReadError(why)
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
        // Who led before it was started again, and goes on as if nothing was, takes reads for current that are not: up to where it had
        // committed it does not know any more (openraft 0.10.0-alpha.37, found by simulation).
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| MemberError::Raft(error.to_string()))
}

pub(crate) struct Recovered {
    pub(crate) log: LogStore,
    pub(crate) machine: Machine,
}

/// Where a member keeps what it has.
pub struct Stores {
    /// The log, and who writes it.
    pub log: LogWriter,
    /// The rows of what is applied.
    pub state: Arc<dyn StateDb>,
    /// Snapshots of these.
    pub snapshots: SnapshotDir,
    /// Where all of it is, for errors.
    pub place: PathBuf,
}

impl Stores {
    /// Those in this folder.
    ///
    /// # Errors
    /// When one is damaged. The rows are thrown away then, and made again of snapshot and log.
    pub fn open(dir: &Path) -> Result<Self, MemberError> {
        let log: Arc<dyn LogDb> = Arc::new(RedbLog::open(dir)?);
        log.check()?;
        Ok(Self {
            log: LogWriter::start(log)?,
            state: open_state(dir)?,
            snapshots: SnapshotDir::open(&dir.join("snapshots"))?,
            place: dir.to_owned(),
        })
    }
}

pub(crate) fn recover(stores: Stores, tickets: Arc<Tickets>) -> Result<Recovered, MemberError> {
    let Stores {
        log,
        state: db,
        snapshots,
        place,
    } = stores;
    let applied = db.applied()?.map(|mark| mark.last.index);
    let begins = log.last_purged().map(|id| id.index);
    let latest = snapshot::newest(&snapshots, applied < begins)?;
    // Rows may stand earlier than the log begins after a crash: the snapshot covers what was purged. No rows at all are earlier than
    // index 0, which is a log's first.
    if applied < begins {
        let snapshot = latest
            .filter(|snapshot| Some(snapshot.meta().last.index) >= begins)
            .ok_or(MemberError::Gap(place))?;
        tracing::info!(
            index = snapshot.meta().last.index,
            "rebuilding the applied state from a snapshot"
        );
        snapshot::restore(&*db, &snapshots, &snapshot)?;
    }
    let (mark, state) = rebuilt(&*db)?;
    let revision = state.revision();
    let term = mark.applied.as_ref().map_or(0, |id| codec::stored_id(id).term);
    let applied = Arc::new(Applied {
        state: RwLock::new(state),
        revision: crate::runtime::watch::Sender::new(revision),
        term: crate::runtime::watch::Sender::new(term),
        noted: Mutex::new(Noted::begin(&mark)),
    });
    Ok(Recovered {
        log: LogStore(Arc::new(log)),
        machine: Machine {
            applied,
            db,
            snapshots: Arc::new(snapshots),
            mark,
            tickets,
        },
    })
}

/// The state that the rows make, and where it stands.
pub(crate) fn rebuilt(db: &dyn StateDb) -> Result<(Mark, State), MemberError> {
    let mark = match db.applied()? {
        Some(mark) => codec::decode_mark(&mark.membership).map_err(MemberError::Record)?,
        None => Mark::default(),
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
    Ok((mark, state))
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
