//! One member: its stores, its Raft, its state.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::SnapshotPolicy;
use openraft::rt::WatchReceiver as _;
use tokio::sync::watch;
use verger_controller_state::{ClusterVersion, Command, DamagedRow, Rebuild, Response, State, Tree};
use verger_controller_store::{
    LogWriter, Reached, SledState, SnapshotDir, Space, StateDb, StoreError, WriteBehind, create_log,
    log_exists, open_log,
};

use crate::chain::Noted;
use crate::codec::{self, Mark};
use crate::equality;
use crate::finishing::keep_finishing;
use crate::inbox::Inbox;
use crate::log_store::LogStore;
use crate::network::{Members, Network};
use crate::peers::Peers;
use crate::proposer::{Carrier, Proposer};
use crate::reading::{self, ReadError, Reader, Reading};
use crate::room::Room;
use crate::runtime::{Background, off_thread};
use crate::saving::Saving;
use crate::shortening::{self, keep_shortening};
use crate::snapshot;
use crate::state_machine::{Applied, Machine};
use crate::tickets::Tickets;
use crate::types::{Node, TypeConfig, Vote};
use crate::versions::Said;

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;

/// Entries between snapshots. A snapshot is the whole state, so not too often; the log is replayed at start, so not too seldom.
const SNAPSHOT_EVERY: u64 = 20_000;
/// Entries kept behind a snapshot.
const KEEP_BEHIND: u64 = 1_000;

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
    #[error(
        "{place:?}: the applied state cannot be rebuilt of its rows; remove the member from the cluster (`verger cluster remove`), remove this folder, and join again under another name"
    )]
    State {
        /// The member's folder.
        place: PathBuf,
        /// What cannot be read.
        #[source]
        source: DamagedRow,
    },
    /// A newer program wrote it.
    #[error(
        "the cluster is at version {found}, and this program knows versions up to {known}: run the program that was here before, or a newer one. A member does not go back to one that is older than its cluster",
        known = ClusterVersion::NEWEST
    )]
    Newer {
        /// The cluster's version.
        found: ClusterVersion,
    },
    /// A log that is made of a snapshot begins by the clock.
    #[error(
        "no log begins as late as this machine's clock says that it is ({0} s since 1970): set the clock, then try again"
    )]
    Clock(u64),
    /// A stored record cannot be read.
    #[error("{place:?}: a stored record cannot be read")]
    Record {
        /// The member's folder.
        place: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// The log begins after the state ends.
    #[error(
        "{0:?}: the log begins after the applied state ends, and no snapshot covers the gap; restore the cluster from a backup"
    )]
    Gap(PathBuf),
    /// The log ends before the state does.
    #[error(
        "{0:?}: the log ends before what was applied of it, and no snapshot covers that: it lost records that it had; remove the member from the cluster (`verger cluster remove`), remove this folder, and join again under another name; of one alone, restore the cluster from a backup"
    )]
    Lost(PathBuf),
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
    /// Nobody leads whom this member can reach, or takes anything; nothing was written.
    #[error(
        "nobody leads the cluster at the moment, or takes anything, as far as this member can tell; try again"
    )]
    NotLeader,
    /// The leader was lost, or no answer came: whether the command is applied is not known. What has a request id can be sent again.
    #[error("whether it was done is not known: {0}; send the same request again")]
    Unknown(String),
    /// The stores failed.
    #[error("the member cannot write: {0}")]
    Failed(String),
}

/// Why rows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rows of the applied state cannot be read: {0}")]
pub struct RowsError(String);

/// One member of the cluster.
pub struct Member {
    raft: Raft,
    proposer: Proposer,
    packing: Background,
    reading: Reading,
    confirming: Background,
    finishing: Background,
    shortening: Background,
    applied: Arc<Applied>,
    db: Arc<dyn StateDb>,
    peers: Arc<dyn Peers>,
    inbox: Inbox,
    said: Said,
    has_followed: AtomicBool,
    saving: Saving,
    room: Arc<Room>,
}

impl Member {
    /// Makes the files of a new cluster's first member.
    ///
    /// # Errors
    /// When there is one already, or the files cannot be made.
    pub fn create(dir: &Path) -> Result<(), MemberError> {
        if log_exists(dir) {
            return Err(MemberError::AlreadyThere(dir.to_owned()));
        }
        drop(create_log(dir)?);
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
        if !log_exists(&dir) {
            return Err(MemberError::NotThere(dir));
        }
        if let Some(marker) = equality::marker(&dir) {
            return Err(MemberError::Diverged(marker));
        }
        Saving::clear(&dir);
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
        let (saving, place) = (Saving::of(&stores.place), stores.place.clone());
        let tickets = Arc::new(Tickets::new(id, start));
        let of = Arc::clone(&tickets);
        let recovered = off_thread(move || recover(stores, of))
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))??;
        let Recovered {
            log,
            machine,
            is_overtaken,
        } = recovered;
        if is_overtaken {
            log.drop_tail()
                .await
                .map_err(|error| MemberError::Raft(error.to_string()))?;
        }
        let (applied, db) = (Arc::clone(&machine.applied), Arc::clone(&machine.db));
        let room = Arc::clone(&machine.room);
        let snapshots = Arc::clone(&machine.snapshots);
        let members = Members::default();
        let network = Network {
            peers: Arc::clone(&peers),
            members: Arc::clone(&members),
            snapshots: Arc::clone(&snapshots),
        };
        let raft = Raft::new(id, Arc::new(raft_config()?), network, log, machine)
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))?;
        members.get_or_init(|| raft.server_metrics());
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
            room: Arc::clone(&room),
        });
        let (reading, confirming) = Reading::start(Reader {
            raft: raft.clone(),
            peers: Arc::clone(&peers),
            applied: Arc::clone(&applied),
        });
        Ok(Self {
            finishing: Background::start(keep_finishing(raft.clone())),
            shortening: Background::start(keep_shortening(
                raft.clone(),
                Arc::clone(&applied),
                place,
                snapshots.path().to_owned(),
            )),
            raft,
            proposer,
            packing,
            reading,
            confirming,
            applied,
            db,
            peers,
            inbox: Inbox::new(snapshots, Arc::clone(&room)),
            said: Said::default(),
            has_followed: AtomicBool::new(false),
            saving,
            room,
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

    pub(crate) const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(crate) const fn saving(&self) -> &Saving {
        &self.saving
    }

    pub(crate) const fn db(&self) -> &Arc<dyn StateDb> {
        &self.db
    }

    pub(crate) const fn said(&self) -> &Said {
        &self.said
    }

    pub(crate) const fn inbox(&self) -> &Inbox {
        &self.inbox
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

    /// Whether another member has led this one since it was started.
    pub fn has_followed(&self) -> bool {
        self.has_followed.load(Ordering::Acquire)
    }

    /// Notes that a member says it leads by this vote, unless one is known here that is later.
    pub(crate) fn is_led_by(&self, vote: &Vote) {
        if self.latest_vote().partial_cmp(vote) != Some(std::cmp::Ordering::Greater) {
            self.has_followed.store(true, Ordering::Release);
        }
    }

    /// The latest vote that is known here.
    pub(crate) fn latest_vote(&self) -> Vote {
        self.raft.metrics().borrow_watched().vote
    }

    /// Proposes a command and waits for its answer. It is then durable on a quorum and applied here.
    ///
    /// # Errors
    /// When it was not applied, or that is not known. Cancelling takes a command back only while it waits for those before it.
    pub async fn propose(&self, command: &Command) -> Result<Response, ProposeError> {
        self.proposer.propose(command.encode()).await
    }

    /// Waits until everything that was acknowledged anywhere before this call is applied here (read index, §6.4 of Ongaro's
    /// dissertation). Who asks while others do is answered with them.
    ///
    /// # Errors
    /// When no leader confirms that it leads within 5 s, or this member does not catch up by then.
    pub async fn catch_up(&self) -> Result<(), ReadError> {
        self.reading.current().await
    }

    /// Up to where a read is current, of this member as the leader; or why not, and whether it is because it does not lead.
    pub(crate) async fn confirmed_index(&self) -> Result<u64, (bool, String)> {
        reading::confirmed_index(&self.raft).await
    }

    /// Writes a snapshot, and takes what it covers out of the log as soon as it is durable.
    ///
    /// # Errors
    /// When the member stops, or nothing is applied yet.
    pub async fn snapshot_and_purge(&self) -> Result<(), MemberError> {
        shortening::shorten(&self.raft, &self.applied).await
    }

    /// Looks at the state as it is applied here now. Keep it short: writers wait.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.applied.read(look)
    }

    /// Reads the values of rows of one tree by their keys, in the order asked; `None` for one that is not there. What is in the
    /// state and in no published revision yet may be missing.
    ///
    /// # Errors
    /// When the store cannot be read, and while a snapshot takes the place of what is there.
    pub async fn rows(&self, tree: Tree, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Bytes>>, RowsError> {
        let replaced = || RowsError("a snapshot takes their place at the moment".to_owned());
        let before = self.applied.rows_are_of().ok_or_else(replaced)?;
        let db = Arc::clone(&self.db);
        let read = move || keys.iter().map(|key| db.get(tree.name(), key)).collect();
        let values: Result<_, StoreError> = off_thread(read)
            .await
            .map_err(|error| RowsError(error.to_string()))?;
        let values = values.map_err(|error| {
            tracing::error!(%error, tree = tree.name(), "rows cannot be read");
            RowsError(error.to_string())
        })?;
        // Some may be of before, some of after, and some of neither.
        match self.applied.rows_are_of() == Some(before) {
            true => Ok(values),
            false => Err(replaced()),
        }
    }

    /// The revision applied last, and each later one.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.applied.revision.watched()
    }

    /// Lets everything be as it is: nothing is made durable, and nobody is told. What a crash would do, for simulations of one.
    pub fn abandon(&self) {
        for task in [&self.packing, &self.confirming, &self.finishing, &self.shortening] {
            task.end();
        }
        let raft = self.raft.clone();
        // It has nothing to say any more, however it ends.
        tokio::spawn(async move { drop(raft.shutdown().await) });
    }

    /// Makes what is applied by now durable: a member that is started again has less of its log to apply.
    pub async fn flush(&self) {
        flushed(Arc::clone(&self.db)).await;
    }

    /// Stops: no further command is taken, what is applied is made durable.
    pub async fn stop(self) {
        let Self {
            raft,
            proposer,
            packing,
            reading: _,
            confirming,
            finishing,
            shortening,
            applied: _,
            db,
            peers: _,
            inbox: _,
            said: _,
            has_followed: _,
            saving: _,
            room: _,
        } = self;
        drop(proposer);
        drop((finishing, shortening));
        if let Err(error) = raft.shutdown().await {
            tracing::error!(%error, "the consensus module did not stop cleanly");
        }
        drop((packing, confirming));
        flushed(db).await;
    }
}

async fn flushed(db: Arc<dyn StateDb>) {
    if let Ok(Err(error)) = off_thread(move || db.flush()).await {
        tracing::warn!(%error, "the applied state was not flushed; it will be rebuilt from the log");
    }
}

fn raft_config() -> Result<openraft::Config, MemberError> {
    openraft::Config {
        cluster_name: "verger".to_owned(),
        // A lost leader is missed after the longest of them, and followed after one drawn between them: 0.6 to 0.9 s, and as much again
        // where two stood at once, which is within 2 s then.
        election_timeout_min: 150,
        election_timeout_max: 450,
        heartbeat_interval: 75,
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
    /// The newest snapshot goes on behind the end of the log.
    pub(crate) is_overtaken: bool,
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
    /// What is left there.
    pub space: Space,
}

impl Stores {
    /// Those in this folder.
    ///
    /// # Errors
    /// When one is damaged. The rows are thrown away then, and made again of snapshot and log.
    pub fn open(dir: &Path) -> Result<Self, MemberError> {
        Self::open_behind(dir, LogWriter::reached)
    }

    /// Those in this folder, of which the rows wait for what is reached.
    pub(crate) fn open_behind(
        dir: &Path,
        reached: impl FnOnce(&LogWriter) -> Arc<Reached>,
    ) -> Result<Self, MemberError> {
        // First: what it kept back may be what the others need to open.
        let space = Space::watch(dir)?;
        let log = open_log(dir)?;
        log.check()?;
        let log = LogWriter::start(log)?;
        Ok(Self {
            space,
            state: open_state(dir, reached(&log))?,
            log,
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
        space,
    } = stores;
    let applied = db.applied()?.map(|mark| mark.last.index);
    let begins = log.last_purged().map(|id| id.index);
    // Rows are never durable before the records that they are made of, but for those of a snapshot: cut off after it was taken in, the log
    // does not begin behind it yet.
    let is_ahead = applied > log.last().max(log.last_purged()).map(|id| id.index);
    let latest = snapshot::newest(&snapshots, applied < begins || is_ahead)?;
    let covered = latest.as_ref().map(|snapshot| snapshot.meta().last.index);
    // Rows may stand earlier than the log begins after a crash: the snapshot covers what was purged. No rows at all are earlier than
    // index 0, which is a log's first.
    if applied < begins {
        let snapshot = latest
            .filter(|snapshot| Some(snapshot.meta().last.index) >= begins)
            .ok_or_else(|| MemberError::Gap(place.clone()))?;
        tracing::info!(
            index = snapshot.meta().last.index,
            "rebuilding the applied state from a snapshot"
        );
        snapshot::restore(&*db, &snapshots, &snapshot)?;
    }
    // A snapshot goes on behind the end of the log where it was taken in, and the member ended before the log began there: what the log
    // holds is of before it. A part that a leader wrote of whom nobody else heard is, too, whatever its term.
    let is_overtaken = covered > log.last().max(log.last_purged()).map(|id| id.index);
    let (mark, state) = rebuilt(&*db, &place)?;
    if is_ahead && covered < applied {
        return Err(MemberError::Lost(place));
    }
    let revision = state.revision();
    let term = mark.applied.as_ref().map_or(0, |id| codec::stored_id(id).term);
    let applied = Arc::new(Applied {
        state: RwLock::new(state),
        revision: crate::runtime::watch::Sender::new(revision),
        term: crate::runtime::watch::Sender::new(term),
        noted: Mutex::new(Noted::begin(&mark)),
        replacements: AtomicU64::default(),
    });
    Ok(Recovered {
        log: LogStore(Arc::new(log)),
        is_overtaken,
        machine: Machine {
            applied,
            db,
            snapshots: Arc::new(snapshots),
            room: Arc::new(Room::of(space)),
            place,
            mark,
            tickets,
        },
    })
}

/// Refuses rows that a newer program wrote, before any of them is read.
fn is_known(db: &dyn StateDb, place: &Path) -> Result<(), MemberError> {
    let (tree, key) = ClusterVersion::ROW;
    let Some(row) = db.get(tree.name(), key)? else {
        return Ok(());
    };
    match ClusterVersion::of_row(&row) {
        Some(found) if found.is_known() => Ok(()),
        Some(found) => Err(MemberError::Newer { found }),
        None => Err(MemberError::State {
            place: place.to_owned(),
            source: DamagedRow {
                tree,
                what: "the cluster's version cannot be read".to_owned(),
            },
        }),
    }
}

/// The state that the rows make, and where it stands.
pub(crate) fn rebuilt(db: &dyn StateDb, place: &Path) -> Result<(Mark, State), MemberError> {
    let mark = match db.applied()? {
        Some(mark) => codec::decode_mark(&mark.membership).map_err(|source| MemberError::Record {
            place: place.to_owned(),
            source,
        })?,
        None => Mark::default(),
    };
    is_known(db, place)?;
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
        .map_err(|source| MemberError::State {
            place: place.to_owned(),
            source,
        })?;
    Ok((mark, state))
}

// Rows are rebuildable: damaged ones are thrown away, and snapshot and log make them again.
fn open_state(dir: &Path, log: Arc<Reached>) -> Result<Arc<dyn StateDb>, MemberError> {
    let db = match SledState::open(dir) {
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "rebuilding the applied state from snapshot and log");
            SledState::discard(dir)?;
            SledState::open(dir)?
        }
        opened => opened?,
    };
    Ok(Arc::new(WriteBehind::start(Arc::new(db), log)?))
}
