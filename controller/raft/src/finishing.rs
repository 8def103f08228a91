//! A change of who votes is two entries (joint consensus, §4.3 of Ongaro's dissertation): from the first on both quorums are asked, from the
//! second on the new one alone. Who made the first may be lost before the second. Then whoever leads makes it: no cluster asks two quorums for
//! longer. Who leads then may be the one that is to vote no more; it has another lead first.

use std::time::Duration;

use openraft::ChangeMembers;
use openraft::raft::Precondition;
use openraft::rt::WatchReceiver as _;
use tokio::time::{Instant, sleep};

use crate::member::Raft;
use crate::membership;
use crate::types::{LogId, MemberId};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Whoever made the first entry makes the second right after it, and within this.
const LEFT_FOR: Duration = Duration::from_secs(2);

/// Looks for changes that nobody goes on with, and does.
pub(crate) async fn keep_finishing(raft: Raft) {
    let mut left: Option<(LogId, Instant)> = None;
    loop {
        sleep(LOOK).await;
        let Some((at, left_so)) = left_so(&raft) else {
            left = None;
            continue;
        };
        let since = match left {
            Some((same, since)) if same == at => since,
            _ => Instant::now(),
        };
        left = Some((at, since));
        if since.elapsed() < LEFT_FOR {
            continue;
        }
        let done = match left_so {
            Left::First => finish(&raft, at).await,
            Left::LedByLearner(next) => {
                let asked = raft.trigger().transfer_leader(next).await;
                asked.map_err(|error| error.to_string())
            }
        };
        match done {
            Ok(()) => tracing::info!(
                index = at.index,
                "a change of members is gone on with that was left"
            ),
            Err(error) => tracing::warn!(
                index = at.index,
                error,
                "a change of members that was left is not gone on with yet, and that is tried again"
            ),
        }
    }
}

/// Makes the second entry of the change that this is the first of, and of no other.
async fn finish(raft: &Raft, first: LogId) -> Result<(), String> {
    // What is to be is in the first already.
    let nothing_else = ChangeMembers::AddVoterIds([].into());
    let still = Precondition::LastMembershipLogId {
        last_membership_log_id: Some(first),
    };
    let finished = raft.change_membership_if(nothing_else, true, [still]).await;
    finished.map(drop).map_err(|error| error.to_string())
}

/// How a change was left.
enum Left {
    /// Of its two entries there is the first alone.
    First,
    /// Who leads votes no more by it, and somebody else could lead.
    LedByLearner(MemberId),
}

/// What a committed change has left to be done by whoever leads, which is this member, and by which entry.
fn left_so(raft: &Raft) -> Option<(LogId, Left)> {
    if !raft.is_leader() {
        return None;
    }
    let at = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let at = *metrics.membership_config.log_id();
        at.filter(|at| Some(at) <= metrics.last_applied.as_ref())?
    };
    let standing = membership::standing(raft);
    if !standing.next_voters.contains(&standing.id) {
        return Some((at, Left::LedByLearner(standing.successor(|_| true)?)));
    }
    // Else what is left of the voters would decide nothing, which both quorums together may.
    let is_first = standing.is_changing && standing.quorum(&standing.next_voters).is_ok();
    is_first.then_some((at, Left::First))
}
