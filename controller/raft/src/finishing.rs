//! A change of who votes is two entries (joint consensus, §4.3 of Ongaro's dissertation): from the first on both quorums are asked, from the
//! second on the new one alone. Who made the first may be lost before the second. Then whoever leads makes it: no cluster asks two quorums for longer.

use std::time::Duration;

use openraft::ChangeMembers;
use openraft::rt::WatchReceiver as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::member::Raft;
use crate::types::LogId;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Whoever made the first entry makes the second right after it, and within this.
const LEFT_FOR: Duration = Duration::from_secs(2);

/// Looks for changes that nobody goes on with, until it is dropped.
pub(crate) struct Finishing(JoinHandle<()>);

impl Finishing {
    pub(crate) fn start(raft: Raft) -> Self {
        Self(tokio::spawn(keep_finishing(raft)))
    }

    pub(crate) fn end(&self) {
        self.0.abort();
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        self.end();
    }
}

async fn keep_finishing(raft: Raft) {
    let mut left: Option<(LogId, Instant)> = None;
    loop {
        sleep(LOOK).await;
        let Some(first) = first_of_two(&raft) else {
            left = None;
            continue;
        };
        let since = match left {
            Some((same, since)) if same == first => since,
            _ => Instant::now(),
        };
        left = Some((first, since));
        if since.elapsed() < LEFT_FOR {
            continue;
        }
        // What is to be is in the first already.
        let nothing_else = ChangeMembers::AddVoterIds([].into());
        match raft.change_membership(nothing_else, true).await {
            Ok(_) => tracing::info!(
                index = first.index,
                "a change of members is finished that nobody went on with"
            ),
            Err(error) => tracing::warn!(
                index = first.index,
                %error,
                "a change of members is not finished yet, and is tried again"
            ),
        }
    }
}

/// The first entry of a change whose second there is not, once it is committed; to whoever leads.
fn first_of_two(raft: &Raft) -> Option<LogId> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = &metrics.membership_config;
    let is_first = membership.membership().get_joint_config().len() > 1;
    let first = membership.log_id().filter(|_| is_first && raft.is_leader())?;
    (Some(&first) <= metrics.last_applied.as_ref()).then_some(first)
}
