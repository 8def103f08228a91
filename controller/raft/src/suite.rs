//! openraft's own suite for stores, on ours: the log behind its writer, the rows in sled, snapshots in files.
//!
//! All of it runs. Where it takes for granted what ours do otherwise on purpose, a wrapper stands between, and says what and why:
//! [`Settled`] and [`Obliging`]. What it does not look at (entries with commands, stores that are opened again) is tested beside the
//! stores.
#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::Stream;
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine, Snapshot,
};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};
use tempfile::TempDir;
use verger_controller_store::{
    DurableSnapshot, LogId as StoredId, Reached, SnapshotDir, StoreError, create_log,
};

use crate::codec;
use crate::log_store::LogStore;
use crate::member::{Member, MemberError, Recovered, Stores, recover};
use crate::state_machine::{Builder, Machine, SnapshotData};
use crate::tickets::Tickets;
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig, Vote};

/// A log that has written the hint of what is committed when it says so.
///
/// Ours only queues it, since a lost hint costs a replay and no more: read at once it is not there yet, and the suite takes the log for
/// one that keeps none, and leaves out what it would test.
struct Settled(LogStore);

impl RaftLogStorage<TypeConfig> for Settled {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.save_committed(committed).await?;
        // Cuts nothing off, and waits its turn behind the hint.
        self.0
            .truncate_after(Some(codec::log_id(u64::MAX, u64::MAX)))
            .await?;
        assert_eq!(self.0.read_committed().await?, committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.0.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.0.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.0.purge(upto).await
    }
}

/// A machine that is asked what ours never is.
///
/// To install the file of another member, and to give it back from here: ours is given a file of its own, because what a peer sends is
/// written to one as it comes (`serving`). This one fetches it first.
///
/// And for a snapshot of nothing, by a member that starts with a purged log and has nothing applied: there is no such member, since only
/// what a snapshot covers is purged, and one whose files say so does not open
/// ([`who_has_nothing_of_what_was_purged_does_not_open`]). This one says that there is nothing in it.
struct Obliging(Machine);

/// A file of ours, or none for nothing.
type Given = Option<SnapshotData>;
type Described = openraft::alias::SnapshotOf<TypeConfig, Given>;

fn given(snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>) -> Described {
    let Snapshot { meta, snapshot } = snapshot;
    Snapshot {
        meta,
        snapshot: Some(snapshot),
    }
}

impl RaftStateMachine<TypeConfig> for Obliging {
    type SnapshotData = Given;
    type SnapshotBuilder = ObligingBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.0.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        self.0.apply(entries).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<ObligingBuilder> {
        if self.0.mark.applied.is_none() && force {
            return Some(ObligingBuilder::Nothing);
        }
        let ours = self.0.try_create_snapshot_builder(force).await?;
        Some(ObligingBuilder::Ours(ours))
    }

    async fn get_snapshot_builder(&mut self) -> ObligingBuilder {
        ObligingBuilder::Ours(self.0.get_snapshot_builder().await)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Given) -> io::Result<()> {
        let theirs = snapshot.expect("the suite installs what was applied");
        let own = fetched(&self.0.snapshots, &theirs).map_err(io::Error::other)?;
        self.0.install_snapshot(meta, own).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Described>> {
        Ok(self.0.get_current_snapshot().await?.map(given))
    }
}

enum ObligingBuilder {
    Ours(Builder),
    Nothing,
}

impl RaftSnapshotBuilder<TypeConfig> for ObligingBuilder {
    type SnapshotData = Given;

    async fn build_snapshot(&mut self) -> io::Result<Described> {
        match self {
            Self::Ours(builder) => builder.build_snapshot().await.map(given),
            Self::Nothing => Ok(Snapshot {
                meta: SnapshotMeta::default(),
                snapshot: None,
            }),
        }
    }
}

/// The same snapshot, in this folder.
fn fetched(dir: &SnapshotDir, snapshot: &DurableSnapshot) -> Result<DurableSnapshot, StoreError> {
    let mut reader = dir.read(snapshot)?;
    let mut writer = dir.begin(snapshot.meta().clone())?;
    while let Some(chunk) = reader.next_chunk()? {
        writer.chunk(&chunk)?;
    }
    writer.finish()
}

fn opened(dir: &Path) -> Result<Recovered, MemberError> {
    recover(Stores::open(dir)?, Arc::new(Tickets::new(1, 1)))
}

/// Makes the files of a new member, each in a folder of its own, and opens them as a member does.
struct NewMember;

impl StoreBuilder<TypeConfig, Settled, Obliging, TempDir> for NewMember {
    async fn build(&self) -> Result<(TempDir, Settled, Obliging), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        // The suite applies what it never gave the log.
        let stores = Stores::open_behind(dir.path(), |_| Reached::everything()).unwrap();
        let Recovered { log, machine, .. } = recover(stores, Arc::new(Tickets::new(1, 1))).unwrap();
        Ok((dir, Settled(log), Obliging(machine)))
    }
}

// In paused time: the suite allows a purge a second to come about, which ours has no need of.
#[tokio::test(start_paused = true)]
async fn the_stores_keep_what_openraft_takes_for_granted() {
    Suite::test_all(NewMember).await.unwrap();
}

#[test]
fn who_has_nothing_of_what_was_purged_does_not_open() {
    for index in [0, 1, 5] {
        let dir = tempfile::tempdir().unwrap();
        let log = create_log(dir.path()).unwrap();
        log.purge_to(StoredId { index, term: 1 }).unwrap();
        drop(log);
        assert!(
            matches!(opened(dir.path()), Err(MemberError::Gap(_))),
            "purged to {index}"
        );
    }
}

#[test]
fn who_lost_the_end_of_its_log_does_not_open_and_who_was_given_a_snapshot_does() {
    use verger_controller_store::{AppliedMark, LogRecord, SledState, StateDb as _, open_log};

    let dir = tempfile::tempdir().unwrap();
    Member::create(dir.path()).unwrap();
    let record = |index| LogRecord {
        index,
        term: 1,
        payload: codec::encode_payload(&openraft::EntryPayload::Blank),
    };
    let log = open_log(dir.path()).unwrap();
    log.append(&[record(0), record(1)]).unwrap();
    drop(log);
    let applied_to = |index| {
        let at = codec::log_id(1, index);
        let mark = codec::Mark {
            applied: Some(at),
            ..codec::Mark::default()
        };
        AppliedMark {
            last: codec::stored_id(&at),
            membership: codec::encode_mark(&mark).into(),
        }
    };
    let apply = |index| {
        let db = SledState::open(dir.path()).unwrap();
        db.apply_batch(&[], &applied_to(index)).unwrap();
        db.flush().unwrap();
    };
    apply(1);
    assert!(opened(dir.path()).is_ok());
    apply(2);
    let lost = opened(dir.path()).err().unwrap();
    assert!(matches!(lost, MemberError::Lost(_)), "{lost}");
    // One that is cut off after it took in the rows of a snapshot, and before its log begins behind them.
    let snapshots = SnapshotDir::open(&dir.path().join("snapshots")).unwrap();
    let AppliedMark { last, membership } = applied_to(2);
    let meta = verger_controller_store::SnapshotMeta { last, membership };
    let mut writer = snapshots.begin(meta).unwrap();
    writer.chunk(b"rows").unwrap();
    writer.finish().unwrap();
    assert!(opened(dir.path()).is_ok());
}
