//! Writes a snapshot, and shortens the log by what it covers, where the log has grown large: openraft counts entries, and one may be of
//! 16 MiB.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::RaftMetrics;
use openraft::rt::WatchReceiver as _;
use tokio::time::sleep;
use verger_controller_state::State;
use verger_controller_store::log_bytes;

use crate::member::{MemberError, Raft};
use crate::runtime::off_thread;
use crate::state_machine::Applied;
use crate::types::{LogId, TypeConfig};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(10);
/// A log may be as large, bytes, and larger where a snapshot is: who writes little writes no large snapshots for it.
const LARGE: u64 = 256 << 20;
/// How long a snapshot may take.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(600);

/// Keeps the log in this folder, whose snapshots are in that one, short.
pub(crate) async fn keep_shortening(raft: Raft, applied: Arc<Applied>, dir: PathBuf, snapshots: PathBuf) {
    // What the log takes where it was just shortened: that does not become less by another snapshot.
    let (mut least, mut is_shortened) = (0, false);
    loop {
        sleep(LOOK).await;
        let Some(size) = Size::of(&dir, &snapshots).await else {
            continue;
        };
        least = match is_shortened {
            true => size.log,
            false => size.log.min(least),
        };
        is_shortened = size.is_large(least + LARGE) && keep_short(&raft, &applied, size).await;
    }
}

/// What is on the disk, bytes.
#[derive(Clone, Copy, Debug)]
struct Size {
    log: u64,
    /// The largest snapshot.
    snapshot: u64,
}

impl Size {
    /// None of a log that does not become smaller.
    async fn of(dir: &Path, snapshots: &Path) -> Option<Self> {
        let (dir, snapshots) = (dir.to_owned(), snapshots.to_owned());
        let looked = off_thread(move || {
            Some(Self {
                log: log_bytes(&dir)?,
                snapshot: largest(&snapshots),
            })
        });
        looked.await.ok()?
    }

    const fn is_large(self, large: u64) -> bool {
        self.log > large && self.log > self.snapshot
    }
}

/// Shortens a log that is large. Says whether it did.
async fn keep_short(raft: &Raft, applied: &Applied, size: Size) -> bool {
    match shorten(raft, applied).await {
        Ok(()) => {
            tracing::info!(
                bytes = size.log,
                "the log was large, and begins behind a snapshot now"
            );
            true
        }
        Err(error) => {
            tracing::warn!(%error, bytes = size.log, "the log is large, and is not shortened yet");
            false
        }
    }
}

/// The largest file in a folder, bytes.
fn largest(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| Some(file.metadata().ok()?.len()));
    sizes.max().unwrap_or(0)
}

/// Writes a snapshot of what is applied, and takes what it covers out of the log as soon as it is durable.
///
/// # Errors
/// When the member stops, or nothing is applied yet.
pub(crate) async fn shorten(raft: &Raft, applied: &Applied) -> Result<(), MemberError> {
    let failed = |error: String| MemberError::Raft(error);
    if raft.metrics().borrow_watched().last_applied.is_none() {
        return Err(failed("nothing is applied yet".to_owned()));
    }
    let applied = applied.read(State::revision);
    let trigger = raft.trigger();
    trigger
        .snapshot()
        .await
        .map_err(|error| failed(error.to_string()))?;
    reached(raft, applied, "a snapshot", |metrics| metrics.snapshot).await?;
    trigger
        .purge_log(applied)
        .await
        .map_err(|error| failed(error.to_string()))?;
    reached(raft, applied, "a shorter log", |metrics| metrics.purged).await
}

/// Waits until something of the member's has come as far.
async fn reached(
    raft: &Raft,
    index: u64,
    what: &str,
    of: fn(&RaftMetrics<TypeConfig>) -> Option<LogId>,
) -> Result<(), MemberError> {
    let wait = raft.wait(Some(SNAPSHOT_WITHIN));
    wait.metrics(|metrics| of(metrics).is_some_and(|id| id.index >= index), what)
        .await
        .map(drop)
        .map_err(|error| MemberError::Raft(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_controller_state::Action;

    use super::*;
    use crate::member::Member;
    use crate::testing::{command, found_by, open};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_log_that_is_large_begins_behind_a_snapshot_and_one_that_is_not_stays() {
        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        let member = open(dir.path()).await.unwrap();
        found_by(&member).await;
        let reason = "r".repeat(500);
        let mut written = 0;
        // More than one chunk: a log gives back whole ones.
        while written < 10 << 20 {
            let refused = command(Action::RevokeLogin {
                person: "nobody".to_owned(),
                reason: reason.clone(),
            });
            let many = (0..200).map(|_| member.propose(&refused));
            for answer in futures::future::join_all(many).await {
                answer.unwrap();
            }
            written += 200 * reason.len();
        }
        let size = async || Size::of(dir.path(), &dir.path().join("snapshots")).await.unwrap();
        let before = size().await;
        assert!(before.is_large(8 << 20) && !before.is_large(LARGE), "{before:?}");
        assert!(keep_short(member.raft(), member.applied(), before).await);
        let standing = member.standing();
        assert!(standing.purged > 0 && standing.purged <= standing.applied);
        // The chunks that it gives back are removed by a thread of the log's.
        let deadline = std::time::Instant::now() + crate::testing::PATIENCE;
        while size().await.is_large(8 << 20) {
            assert!(std::time::Instant::now() < deadline, "{:?}", size().await);
            sleep(Duration::from_millis(10)).await;
        }
        let after = size().await;
        assert!(after.log < before.log && after.snapshot > 0, "{after:?}");
        // It goes on, and what was there is there after a start.
        let audit = member.read(|state| state.audit_head().written);
        member.stop().await;
        let member = open(dir.path()).await.unwrap();
        assert_eq!(member.read(|state| state.audit_head().written), audit);
        member.stop().await;
    }

    #[test]
    fn no_snapshot_is_written_that_is_larger_than_what_it_takes_out() {
        let size = |log, snapshot| Size { log, snapshot };
        assert!(!size(9, 0).is_large(10));
        assert!(size(11, 0).is_large(10));
        assert!(!size(11, 20).is_large(10));
        assert!(size(21, 20).is_large(10));
    }
}
