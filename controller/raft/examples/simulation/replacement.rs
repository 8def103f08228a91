//! A member goes for good, and a new one, with another name and nothing on its disk, comes in its place.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};
use verger_controller_raft::Change;

use crate::world::{Cluster, node};

/// How long a change of members may take.
const CHANGE: Duration = Duration::from_secs(3);
/// How long who was removed still runs, and is asked, milliseconds.
const LINGERS: std::ops::Range<u64> = 0..2_000;
const LOOK: Duration = Duration::from_millis(100);

/// Who is being replaced. What was begun and is not known to be done is gone on with.
#[derive(Debug, Default)]
pub(crate) struct Replacement {
    /// Who was to go, and was asked to before.
    leaving: Option<u64>,
    /// Who came, and is none of the members yet; and whether it was asked for before.
    coming: Option<(u64, bool)>,
}

/// What came of a change.
#[derive(PartialEq, Eq)]
enum Outcome {
    Made,
    Refused,
    /// There is nobody of that number to remove, or there is one already.
    IsSo,
    /// It may have been made, or may be made yet.
    Unknown,
}

async fn make(cluster: &Cluster, change: Change, lots: &mut StdRng) -> Outcome {
    let Some((_, member)) = cluster.running.some(lots) else {
        return Outcome::Unknown;
    };
    let outcome = timeout(CHANGE, member.change(change, false)).await;
    let Ok(Err(error)) = outcome else {
        return match outcome {
            Ok(_) => Outcome::Made,
            Err(_) => Outcome::Unknown,
        };
    };
    match error.reason() {
        "NO_SUCH_MEMBER" | "ALREADY_SO" => Outcome::IsSo,
        "UNKNOWN_OUTCOME" | "CHANGE_FAILED" | "NO_LEADER" => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}

/// Whether somebody is a member, by what is decided; none where nobody can say.
async fn is_member(cluster: &Cluster, id: u64, lots: &mut StdRng) -> Option<bool> {
    let (_, member) = cluster.running.some(lots)?;
    timeout(CHANGE, member.catch_up()).await.ok()?.ok()?;
    let standing = member.standing();
    // Who was asked may know of what comes to nothing.
    (standing.since <= standing.applied).then(|| standing.members.iter().any(|member| member.id == id))
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
    let asked_before = cluster.replacement.leaving;
    let leaving = asked_before.unwrap_or_else(|| ids[lots.random_range(0..ids.len())]);
    let is_gone = match make(cluster, Change::Remove(leaving), lots).await {
        Outcome::Made => true,
        Outcome::IsSo => match (is_member(cluster, leaving, lots).await, asked_before) {
            (Some(false), Some(_)) => true,
            (Some(false), None) => {
                let why = format!("member {leaving} is none, and nobody removed it");
                cluster.broken.get_or_insert(why);
                return false;
            }
            _ => false,
        },
        // It stays, once it is decided that what was asked before came to nothing.
        Outcome::Refused => {
            let stays = asked_before.is_some() && is_member(cluster, leaving, lots).await == Some(true);
            cluster.replacement.leaving = asked_before.filter(|_| !stays);
            false
        }
        Outcome::Unknown => {
            cluster.replacement.leaving = Some(leaving);
            false
        }
    };
    if !is_gone {
        return false;
    }
    cluster.replacement.leaving = None;
    // It may not know yet, and is asked as if nothing had happened.
    sleep(Duration::from_millis(lots.random_range(LINGERS))).await;
    cluster.retire(leaving, lots).await;
    let coming = cluster.enlist(lots).await;
    cluster.replacement.coming = Some((coming, false));
    true
}

async fn comes(cluster: &mut Cluster, lots: &mut StdRng) -> bool {
    let Some((id, asked_before)) = cluster.replacement.coming else {
        return false;
    };
    let is_one = match make(cluster, Change::Add { id, node: node(id) }, lots).await {
        Outcome::Made => true,
        Outcome::IsSo => asked_before && is_member(cluster, id, lots).await == Some(true),
        Outcome::Refused | Outcome::Unknown => false,
    };
    cluster.replacement.coming = (!is_one).then_some((id, true));
    // Else it is a learner, which may vote later.
    is_one && make(cluster, Change::Promote(id), lots).await == Outcome::Made
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
