//! Who leads, as this member knows.

use std::time::Duration;

use openraft::rt::WatchReceiver as _;
use tokio::time::{Instant, timeout_at};

use crate::member::Raft;
use crate::types::{MemberId, Node};

/// Between two looks where nothing is told.
const LOOK: Duration = Duration::from_millis(50);

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// This member, in this term.
    Here(u64),
    /// A peer.
    There(u64, MemberId, Node),
}

impl Leads {
    /// The term.
    pub(crate) const fn term(&self) -> u64 {
        match self {
            Self::Here(term) | Self::There(term, ..) => *term,
        }
    }
}

/// Who leads now, as far as this member knows.
pub(crate) fn now(raft: &Raft) -> Option<Leads> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let (leader, term) = (metrics.current_leader?, metrics.vote.leader_id().term);
    if leader == metrics.id {
        return raft.is_leader().then_some(Leads::Here(term));
    }
    let node = metrics.membership_config.membership().get_node(&leader)?;
    Some(Leads::There(term, leader, node.clone()))
}

/// Waits until somebody else than `before` leads, and no longer than this. What was told may be so still.
pub(crate) async fn changes(raft: &Raft, before: Option<&Leads>, deadline: Instant) -> bool {
    let mut metrics = raft.server_metrics();
    loop {
        if now(raft).as_ref() != before {
            return true;
        }
        // Whether this member leads may change a moment after its metrics.
        let look = deadline.min(Instant::now() + LOOK);
        match timeout_at(look, metrics.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return false,
            Err(_) if look == deadline => return false,
            Err(_) => {}
        }
    }
}

/// Waits until somebody else than `before` leads, and no longer than that. `false` where the member stops: nothing changes any more, and
/// who asks again would do so without a pause.
pub(crate) async fn changes_or_passes(raft: &Raft, before: Option<&Leads>, until: Instant) -> bool {
    changes(raft, before, until).await || Instant::now() >= until
}
