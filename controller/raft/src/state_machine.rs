//! openraft's state machine port over the pure state, its rows on disk and its snapshot files.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt as _};
use openraft::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use verger_controller_state::{RowChange, State};
use verger_controller_store::{AppliedMark, DurableSnapshot, RowOp, SnapshotDir, StateDb};

use crate::codec::{self, Mark};
use crate::member::{self, MemberError};
use crate::runtime::{off_thread, watch};
use crate::serving::described;
use crate::snapshot;
use crate::tickets::Tickets;
use crate::types::{Batch, Committed, LogId, Replies, SnapshotMeta, StoredMembership, TypeConfig};

/// A snapshot is a file of this member.
pub(crate) type SnapshotData = DurableSnapshot;

/// What readers share with the applying task.
pub(crate) struct Applied {
    pub(crate) state: RwLock<State>,
    /// The log index applied last, for watchers.
    pub(crate) revision: watch::Sender<u64>,
    /// The term of the log id applied last. Whoever waited for what was applied by then is answered.
    pub(crate) term: watch::Sender<u64>,
}

impl Applied {
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Applies committed entries.
pub(crate) struct Machine {
    pub(crate) applied: Arc<Applied>,
    pub(crate) db: Arc<dyn StateDb>,
    pub(crate) snapshots: Arc<SnapshotDir>,
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
            let replies = self.apply_batch(index, batch, &mut ops);
            answers.extend(origin.map(|origin| (origin, replies)));
            responders.extend(responder);
        }
        let Some(mark) = stored_mark(&self.mark) else {
            return Ok(());
        };
        let index = mark.last.index;
        self.db.apply_batch(&ops, &mark).map_err(io_error)?;
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
        }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let (db, dir) = (Arc::clone(&self.db), Arc::clone(&self.snapshots));
        // Large, both on disk and in memory: not on a thread that others wait for.
        let installed = off_thread(move || -> Result<_, MemberError> {
            snapshot::restore(&*db, &dir, &snapshot)?;
            dir.prune()?;
            member::rebuilt(&*db)
        });
        let (mark, state) = installed.await?.map_err(io_error)?;
        let revision = state.revision();
        self.mark = mark;
        // What somebody waits for may be in it, and its answer is not.
        self.tickets.forget();
        *self.applied.state.write().unwrap_or_else(PoisonError::into_inner) = state;
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
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>> {
        let (db, dir) = (Arc::clone(&self.db), Arc::clone(&self.snapshots));
        let written = off_thread(move || snapshot::write(&*db, &dir)).await?;
        let snapshot = written
            .map_err(io_error)?
            .ok_or_else(|| io::Error::other("nothing is applied yet"))?;
        described(snapshot)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use openraft::Membership;

    use super::*;
    use crate::member::{Member, MemberConfig, Stores, recover};
    use crate::peers::NoPeers;
    use crate::types::{Entry, Node};

    fn tickets() -> Arc<Tickets> {
        Arc::new(Tickets::new(1, 1))
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
        let mut machine = recover(Stores::open(dir.path()).unwrap(), tickets())
            .unwrap()
            .machine;
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
        for (index, payload) in (1..).zip(kinds) {
            let mut machine = recover(Stores::open(dir.path()).unwrap(), tickets())
                .unwrap()
                .machine;
            let entries = vec![Ok((entry(index, payload), None))];
            machine.apply(futures::stream::iter(entries)).await.unwrap();
            let before = machine.applied.read(State::clone);
            assert_eq!(
                (before.revision(), *machine.applied.revision.watched().borrow()),
                (index, index)
            );
            machine.db.flush().unwrap();
            drop(machine);
            let after = recover(Stores::open(dir.path()).unwrap(), tickets())
                .unwrap()
                .machine
                .applied
                .read(State::clone);
            assert_eq!(after, before);
        }
    }
}
