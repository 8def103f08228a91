//! When nothing goes wrong any more the members become one again, within a bound: each is there, one leads, all are the same, no change of
//! who they are is left half made, and nobody is a member no more who was not removed.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use verger_controller_state::State;

use crate::world::Cluster;

/// How long members may take to be one again.
pub(crate) const MENDED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Waits until they are; gives what they are in place of it.
pub(crate) async fn mended(cluster: &mut Cluster) -> Option<String> {
    if let Some(broken) = cluster.broken.take() {
        return Some(broken);
    }
    let deadline = Instant::now() + MENDED;
    loop {
        let all = cluster.running.all();
        let states: Vec<State> = all.iter().map(|(_, member)| member.read(State::clone)).collect();
        let is_one = states.windows(2).all(|two| two[0] == two[1]);
        if is_one && are_members(cluster) {
            return None;
        }
        if Instant::now() > deadline {
            let standings = all.iter().map(|(id, member)| {
                let of = member.standing();
                let members = of.members.iter().map(|member| member.id).collect::<Vec<_>>();
                let changing = if of.is_changing { ", and a change half made" } else { "" };
                format!(
                    "member {id} in term {} (leader {:?}) has {} entries, {} of them applied, as members {members:?}{changing}",
                    of.term, of.leader, of.last, of.applied
                )
            });
            let standings = standings.collect::<Vec<_>>().join("; ");
            return Some(format!(
                "the members are not one again within {MENDED:?}: {standings}"
            ));
        }
        sleep(LOOK).await;
    }
}

/// Whether those that run are the members, as who leads knows; and it votes.
fn are_members(cluster: &Cluster) -> bool {
    let leader = cluster.leader().and_then(|id| cluster.running.get(id));
    leader.is_some_and(|leader| {
        let standing = leader.standing();
        let votes = standing.next_voters.contains(&standing.id);
        votes && !standing.is_changing && standing.members.iter().map(|member| member.id).eq(cluster.ids())
    })
}
