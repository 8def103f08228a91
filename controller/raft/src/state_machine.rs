//! openraft's state machine port over the pure state, its rows on disk and its snapshot files.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use openraft::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use verger_controller_state::{RowChange, State};
use verger_controller_store::{AppliedMark, DurableSnapshot, RowOp, SnapshotDir, StateDb, StoreError};

use crate::chain::Noted;
use crate::codec::{self, Mark};
use crate::member::{self, MemberError};
use crate::room::Room;
use crate::runtime::{off_thread, watch};
use crate::serving::described;
use crate::snapshot;
use crate::tickets::Tickets;
use crate::types::{Batch, Committed, LogId, Replies, SnapshotMeta, StoredMembership, TypeConfig};

/// Between two attempts to write a snapshot where there is no space.
const UNTIL_SPACE: Duration = Duration::from_secs(1);

/// A snapshot is a file of this member.
pub(crate) type SnapshotData = DurableSnapshot;

/// What readers share with the applying task.
pub(crate) struct Applied {
    pub(crate) state: RwLock<State>,
    /// The log index applied last, for watchers.
    pub(crate) revision: watch::Sender<u64>,
    /// The term of the log id applied last. Whoever waited for what was applied by then is answered.
    pub(crate) term: watch::Sender<u64>,
    /// Where the chain over it was, for other members.
    pub(crate) noted: Mutex<Noted>,
    /// Snapshots that began to take the rows' place, and those that did: odd in between.
    pub(crate) replacements: AtomicU64,
}

impl Applied {
    pub(crate) fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number while the rows are those of the state, another one once a snapshot took their place; none in between.
    pub(crate) fn rows_are_of(&self) -> Option<u64> {
        let number = self.replacements.load(Ordering::Acquire);
        number.is_multiple_of(2).then_some(number)
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Applies committed entries.
pub(crate) struct Machine {
    pub(crate) applied: Arc<Applied>,
    pub(crate) db: Arc<dyn StateDb>,
    pub(crate) snapshots: Arc<SnapshotDir>,
    /// What is left of the disk.
    pub(crate) room: Arc<Room>,
    /// Where all of it is, for errors.
    pub(crate) place: PathBuf,
    pub(crate) mark: Mark,
    /// Who waits here for what is applied.
    pub(crate) tickets: Arc<Tickets>,
}

fn io_error(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

fn row_op(change: RowChange) -> RowOp {
    let RowChange { tree, key, value } = change;
    RowOp {
        tree: tree.name().to_owned(),
        key: key.into(),
        value: value.map(Into::into),
    }
}

fn stored_mark(mark: &Mark) -> Option<AppliedMark> {
    let applied = mark.applied.as_ref()?;
    Some(AppliedMark {
        last: codec::stored_id(applied),
        membership: codec::encode_mark(mark).into(),
    })
}

impl Machine {
    fn apply_batch(&self, index: u64, batch: Batch, ops: &mut Vec<RowOp>) -> Replies {
        let mut state = self.applied.state.write().unwrap_or_else(PoisonError::into_inner);
        state.pass(index);
        let mut replies = Vec::with_capacity(batch.commands.len());
        for (ordinal, command) in (0..).zip(batch.commands) {
            let (reply, changes) = state.apply(index, ordinal, command);
            ops.extend(changes.into_iter().map(row_op));
            replies.push(reply);
        }
        replies
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.mark.applied, self.mark.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + openraft::OptionalSend,
    {
        let mut ops = Vec::new();
        let (mut answers, mut responders) = (Vec::new(), Vec::new());
        let mut checkpoints = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.mark.applied = Some(entry.log_id);
            let index = entry.log_id.index;
            let batch = match entry.payload {
                EntryPayload::Blank => Batch::default(),
                EntryPayload::Membership(membership) => {
                    self.mark.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Batch::default()
                }
                EntryPayload::Normal(batch) => batch,
            };
            let origin = batch.origin;
            let before = ops.len();
            let replies = self.apply_batch(index, batch, &mut ops);
            let found = self.applied.read(State::version);
            if !found.is_known() {
                // What else it holds may mean what nobody here knows: not a row of it is written.
                return Err(io_error(MemberError::Newer { found }));
            }
            checkpoints.extend(self.mark.chain.add(index, &ops[before..]));
            answers.extend(origin.map(|origin| (origin, replies)));
            responders.extend(responder);
        }
        let Some(mark) = stored_mark(&self.mark) else {
            return Ok(());
        };
        let index = mark.last.index;
        self.db.apply_batch(&ops, &mark).map_err(io_error)?;
        self.applied.noted().go_on(&self.mark.chain, index, checkpoints);
        // After the rows, and before the answers: who is answered finds the revision published.
        self.applied.revision.replace(index);
        for (origin, replies) in answers {
            self.tickets.answer(&origin, replies);
        }
        // After them: who is not answered when a later term's entries are applied never will be.
        self.applied.term.replace(mark.last.term);
        for responder in responders {
            responder.send(Committed);
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        // A builder that fails stops the member: of nothing there is none, unless it is needed.
        if self.mark.applied.is_none() && !force {
            return None;
        }
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            db: Arc::clone(&self.db),
            snapshots: Arc::clone(&self.snapshots),
            room: Arc::clone(&self.room),
        }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let (db, dir, place) = (
            Arc::clone(&self.db),
            Arc::clone(&self.snapshots),
            self.place.clone(),
        );
        self.applied.replacements.fetch_add(1, Ordering::AcqRel);
        // Large, both on disk and in memory: not on a thread that others wait for.
        let installed = off_thread(move || -> Result<_, MemberError> {
            let snapshot = dir.take_in(snapshot)?;
            snapshot::restore(&*db, &dir, &snapshot)?;
            dir.prune()?;
            member::rebuilt(&*db, &place)
        });
        let (mark, state) = installed.await?.map_err(io_error)?;
        let revision = state.revision();
        self.mark = mark;
        // What somebody waits for may be in it, and its answer is not.
        self.tickets.forget();
        *self.applied.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.applied.replacements.fetch_add(1, Ordering::AcqRel);
        // What it was before is not what it is: nobody is to compare it.
        *self.applied.noted() = Noted::begin(&self.mark);
        self.applied.revision.replace(revision);
        if let Some(applied) = &self.mark.applied {
            self.applied.term.replace(codec::stored_id(applied).term);
        }
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>>> {
        let Some(snapshot) = self.snapshots.latest().map_err(io_error)? else {
            return Ok(None);
        };
        described(snapshot).map(Some)
    }
}

/// Writes snapshot files, in the background.
pub(crate) struct Builder {
    db: Arc<dyn StateDb>,
    snapshots: Arc<SnapshotDir>,
    room: Arc<Room>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>> {
        // So much was free, and was not enough.
        let mut lacked = 0;
        loop {
            let free = self.room.free();
            if free <= lacked {
                tokio::time::sleep(UNTIL_SPACE).await;
                continue;
            }
            let (db, dir, room) = (
                Arc::clone(&self.db),
                Arc::clone(&self.snapshots),
                Arc::clone(&self.room),
            );
            match off_thread(move || snapshot::write(&*db, &dir, &room)).await? {
                // A builder that fails stops the member, and there is time: the log holds what a snapshot would.
                Err(error @ StoreError::Full { .. }) => {
                    tracing::warn!(%error, "a snapshot is written once there is more space");
                    lacked = free;
                    tokio::time::sleep(UNTIL_SPACE).await;
                }
                written => {
                    let snapshot = written.map_err(io_error)?;
                    let snapshot = snapshot.ok_or_else(|| io::Error::other("nothing is applied yet"))?;
                    return described(snapshot);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use openraft::Membership;
    use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};

    use super::*;
    use crate::member::{Member, MemberConfig, Recovered, Stores, recover};
    use crate::peers::NoPeers;
    use crate::types::{Entry, Node};

    fn tickets() -> Arc<Tickets> {
        Arc::new(Tickets::new(1, 1))
    }

    fn opened(dir: &std::path::Path) -> Recovered {
        recover(Stores::open(dir).unwrap(), tickets()).unwrap()
    }

    /// Has entries logged, and then applied.
    async fn take(Recovered { log, machine, .. }: &mut Recovered, entries: Vec<Entry>) {
        let before = entries[0].log_id.index.checked_sub(1);
        let last = log.get_log_state().await.unwrap().last_log_id;
        if let Some(before) = before.filter(|_| last.map(|id| id.index) != before) {
            // What came before is in a snapshot.
            log.purge(codec::log_id(1, before)).await.unwrap();
        }
        log.blocking_append(entries.clone()).await.unwrap();
        let entries = entries.into_iter().map(|entry| Ok((entry, None)));
        machine.apply(futures::stream::iter(entries)).await.unwrap();
    }

    fn entry(index: u64, payload: EntryPayload<Batch, u64, Node>) -> Entry {
        Entry {
            log_id: codec::log_id(1, index),
            payload,
        }
    }

    #[tokio::test]
    async fn who_has_applied_nothing_makes_no_snapshot_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        let mut machine = opened(dir.path()).machine;
        assert!(machine.try_create_snapshot_builder(false).await.is_none());
        drop(machine);
        let config = MemberConfig {
            id: 1,
            node: Node::default(),
            is_first: false,
            start: 1,
        };
        let member = Member::open(config, dir.path().to_owned(), Arc::new(NoPeers))
            .await
            .unwrap();
        let refused = member.snapshot_and_purge().await.unwrap_err();
        assert!(
            refused.to_string().ends_with("nothing is applied yet"),
            "{refused}"
        );
        assert!(!member.raft().is_initialized().await.unwrap());
        member.stop().await;
    }

    #[tokio::test]
    async fn while_a_snapshot_takes_their_place_rows_are_not_said_to_be_missing() {
        use verger_controller_state::Tree;

        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        let member = crate::testing::open(dir.path()).await.unwrap();
        crate::testing::found_by(&member).await;
        let asked = || member.rows(Tree::Logins, vec![b"nobody".to_vec()]);
        assert_eq!(asked().await.unwrap(), [None]);
        let replacements = &member.applied().replacements;
        // It begins, and ends.
        replacements.fetch_add(1, Ordering::AcqRel);
        let refused = asked().await.unwrap_err();
        assert!(
            refused.to_string().contains("a snapshot takes their place"),
            "{refused}"
        );
        replacements.fetch_add(1, Ordering::AcqRel);
        assert_eq!(asked().await.unwrap(), [None]);
        member.stop().await;
    }

    #[tokio::test]
    async fn a_restarted_member_is_at_the_revision_it_was_whatever_the_last_entries_hold() {
        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        let membership = Membership::new(
            vec![[1].into()],
            std::collections::BTreeMap::from([(1, Node::default())]),
        );
        let kinds = [
            EntryPayload::Membership(membership.unwrap()),
            EntryPayload::Normal(Batch {
                commands: vec![Bytes::from_static(b"no command")],
                origin: None,
            }),
            EntryPayload::Blank,
            EntryPayload::Normal(Batch::default()),
        ];
        for (index, payload) in (0..).zip(kinds) {
            let mut member = opened(dir.path());
            take(&mut member, vec![entry(index, payload)]).await;
            let applied = &member.machine.applied;
            let before = applied.read(State::clone);
            assert_eq!(
                (before.revision(), *applied.revision.watched().borrow()),
                (index, index)
            );
            member.machine.db.flush().unwrap();
            drop(member);
            let after = opened(dir.path()).machine.applied.read(State::clone);
            assert_eq!(after, before);
        }
    }

    /// A member that has nothing yet, in a folder.
    fn fresh(dir: &std::path::Path) -> Recovered {
        Member::create(dir).unwrap();
        opened(dir)
    }

    /// What a log of this length holds at an index: every seventh entry gives somebody a login.
    fn logged(index: u64) -> Entry {
        let payload = match index % 7 {
            1 => EntryPayload::Normal(Batch {
                commands: vec![command(index)],
                origin: None,
            }),
            _ => EntryPayload::Blank,
        };
        entry(index, payload)
    }

    fn command(index: u64) -> Bytes {
        let action = match index {
            1 => crate::testing::found(),
            _ => verger_controller_state::Action::CreateLogin {
                person: format!("person-{}", index % 5),
                key: verger_policy::digest::Digest::of(&index.to_le_bytes()),
            },
        };
        crate::testing::command(action).encode()
    }

    /// Applies the log from there to there, so many entries at once.
    async fn follow(member: &mut Recovered, entries: std::ops::Range<u64>, at_once: usize) {
        let entries: Vec<u64> = entries.collect();
        for some in entries.chunks(at_once) {
            take(member, some.iter().copied().map(logged).collect()).await;
        }
    }

    #[tokio::test]
    async fn the_chain_is_one_however_entries_come_and_whoever_was_started_again_or_given_a_snapshot() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [mut one, mut other, mut late] = [0, 1, 2].map(|at: usize| fresh(dirs[at].path()));
        follow(&mut one, 0..1_500, 1_500).await;
        follow(&mut other, 0..777, 13).await;
        other.machine.db.flush().unwrap();
        drop(other);
        let mut other = opened(dirs[1].path());
        follow(&mut other, 777..1_500, 100).await;
        // Nobody has it before it is asked for, and it is the same then.
        let file = snapshot::write(&*one.machine.db, &late.machine.snapshots, &one.machine.room)
            .unwrap()
            .unwrap();
        late.machine
            .install_snapshot(&SnapshotMeta::default(), file)
            .await
            .unwrap();
        assert_eq!(
            late.machine.applied.rows_are_of(),
            Some(2),
            "they were replaced once"
        );
        let now = one.machine.applied.noted().now().unwrap();
        assert_eq!((now.index, now.from), (1_499, 0));
        for member in [&mut one, &mut other, &mut late] {
            assert_eq!(member.machine.applied.noted().now(), Some(now));
            follow(member, 1_500..2_500, 250).await;
        }
        let [of_one, of_other, of_late] =
            [&one, &other, &late].map(|member| member.machine.applied.noted().kept());
        assert_eq!(
            of_one.iter().map(|at| at.index).collect::<Vec<_>>(),
            [1_000, 2_000]
        );
        assert_eq!(of_one, of_other);
        // What was before its snapshot it does not tell.
        assert_eq!(of_late, of_one[1..]);
    }

    #[tokio::test]
    async fn who_decides_otherwise_has_another_chain_from_then_on() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [mut one, mut other] = [0, 1].map(|at: usize| fresh(dirs[at].path()));
        for member in [&mut one, &mut other] {
            follow(member, 0..1_200, 100).await;
        }
        // As where the rules were changed at one member: it makes of one command what the others do not.
        let changed = entry(
            1_200,
            EntryPayload::Normal(Batch {
                commands: vec![command(1_206)],
                origin: None,
            }),
        );
        take(&mut other, vec![changed]).await;
        follow(&mut one, 1_200..1_201, 1).await;
        for member in [&mut one, &mut other] {
            follow(member, 1_201..2_001, 100).await;
        }
        let [of_one, of_other] = [&one, &other].map(|member| member.machine.applied.noted().kept());
        assert_eq!(of_one[0], of_other[0]);
        assert!(of_one[1].is_beside(&of_other[1]) && of_one[1] != of_other[1]);
    }
}
