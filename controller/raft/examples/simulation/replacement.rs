//! A member goes for good, and a new one, with another name and nothing on its disk, comes in its place.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};
use verger_controller_raft::{Change, ChangeError};

use crate::world::{Cluster, node};

/// How long a change of members may take.
const CHANGE: Duration = Duration::from_secs(3);
/// How long who was removed still runs, and is asked, milliseconds.
const LINGERS: std::ops::Range<u64> = 0..2_000;
const LOOK: Duration = Duration::from_millis(100);

/// Who is being replaced. What was begun and is not known to be done is gone on with.
#[derive(Debug, Default)]
pub(crate) struct Replacement {
    /// Who was to go.
    leaving: Option<u64>,
    /// Who came, and is none of the members yet.
    coming: Option<u64>,
}

/// What came of a change.
#[derive(PartialEq, Eq)]
enum Outcome {
    Made,
    Refused,
    /// It may have been made, or may be made yet.
    Unknown,
}

async fn make(cluster: &Cluster, change: Change, lots: &mut StdRng) -> Outcome {
    let Some((_, member)) = cluster.running.some(lots) else {
        return Outcome::Refused;
    };
    match timeout(CHANGE, member.change(change, false)).await {
        Ok(Ok(())) => Outcome::Made,
        // It was removed, or added, when that was tried before.
        Ok(Err(ChangeError::NoMember(_) | ChangeError::Already(..))) => Outcome::Made,
        Ok(Err(ChangeError::Refused { reason, .. }))
            if ["NO_SUCH_MEMBER", "ALREADY_SO"].contains(&reason.as_str()) =>
        {
            Outcome::Made
        }
        Ok(Err(ChangeError::Unknown(_) | ChangeError::Failed(_) | ChangeError::Nobody)) | Err(_) => {
            Outcome::Unknown
        }
        Ok(Err(ChangeError::Refused { reason, .. })) if reason == "CHANGE_FAILED" => Outcome::Unknown,
        Ok(Err(_)) => Outcome::Refused,
    }
}

/// Has a member replaced, or goes on with that; says whether it is.
pub(crate) async fn happens(cluster: &mut Cluster, lots: &mut StdRng) -> bool {
    if cluster.replacement.coming.is_none() && !leaves(cluster, lots).await {
        return false;
    }
    comes(cluster, lots).await
}

async fn leaves(cluster: &mut Cluster, lots: &mut StdRng) -> bool {
    let ids = cluster.ids();
    let leaving = cluster.replacement.leaving.take();
    let leaving = leaving.unwrap_or_else(|| ids[lots.random_range(0..ids.len())]);
    match make(cluster, Change::Remove(leaving), lots).await {
        Outcome::Made => {}
        Outcome::Unknown => {
            cluster.replacement.leaving = Some(leaving);
            return false;
        }
        Outcome::Refused => return false,
    }
    // It may not know yet, and is asked as if nothing had happened.
    sleep(Duration::from_millis(lots.random_range(LINGERS))).await;
    cluster.retire(leaving, lots).await;
    let coming = cluster.enlist(lots).await;
    cluster.replacement.coming = Some(coming);
    true
}

async fn comes(cluster: &mut Cluster, lots: &mut StdRng) -> bool {
    let Some(id) = cluster.replacement.coming else {
        return false;
    };
    if make(cluster, Change::Add { id, node: node(id) }, lots).await != Outcome::Made {
        return false;
    }
    cluster.replacement.coming = None;
    // Else it is a learner, which may vote later.
    make(cluster, Change::Promote(id), lots).await == Outcome::Made
}

/// When nothing goes wrong any more: ends what was begun, within a bound. Says what is left.
pub(crate) async fn settled(cluster: &mut Cluster, within: Duration, lots: &mut StdRng) -> Option<String> {
    let deadline = Instant::now() + within;
    while cluster.replacement.leaving.is_some() || cluster.replacement.coming.is_some() {
        if Instant::now() > deadline {
            return Some(format!(
                "a replacement does not come to its end within {within:?}: {:?}",
                cluster.replacement
            ));
        }
        happens(cluster, lots).await;
        sleep(LOOK).await;
    }
    None
}
