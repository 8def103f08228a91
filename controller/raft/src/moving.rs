//! A member that is called elsewhere than before has the others know.

use std::time::Duration;

use tokio::time::sleep;

use crate::changing::{MADE_WITHIN, outcome, write};
use crate::leading::{self, Leads};
use crate::member::Member;
use crate::membership::{Change, ChangeError, MemberStanding};
use crate::types::Node;

/// Between two looks, and two attempts where nobody leads.
const LOOK: Duration = Duration::from_secs(2);
/// Between two attempts where whoever leads refuses.
const AGAIN: Duration = Duration::from_secs(10);

impl Member {
    /// Has the others know this member as this, for as long as they know it otherwise; it never ends. Who has left has nothing to say.
    pub async fn keep_known_as(&self, node: Node) {
        let mut last = None;
        loop {
            let standing = self.standing();
            let is_known = standing.of(standing.id).is_none_or(|known| known.node == node);
            let why = match is_known {
                true => None,
                false => self.moves(&node).await.err(),
            };
            let pause = match &why {
                None | Some(ChangeError::Nobody) => LOOK,
                Some(_) => AGAIN,
            };
            // Once each: it may take long.
            if let Some(error) = why.as_ref().filter(|_| why != last) {
                tracing::warn!(%error, %node, "the other members do not know yet where this one is called now");
            }
            last = why;
            sleep(pause).await;
        }
    }

    /// Tells whoever leads. Who is called in vain does not come to know who that is: all are asked, and first who led last.
    async fn moves(&self, node: &Node) -> Result<(), ChangeError> {
        let standing = self.standing();
        let change = Change::Move {
            id: standing.id,
            node: node.clone(),
        };
        if let Some(Leads::Here(_)) = leading::now(self.raft()) {
            return self.change_here(change, false).await;
        }
        let mut others: Vec<&MemberStanding> = standing.members.iter().collect();
        others.retain(|other| other.id != standing.id);
        others.sort_by_key(|other| Some(other.id) != standing.leader);
        let mut why = ChangeError::Nobody;
        for MemberStanding { node, .. } in others {
            let peer = self.peers().peer(&node.name, &node.address);
            match outcome(peer.change_members(write(&change, false), MADE_WITHIN).await) {
                Err(ChangeError::NotLeader) => {}
                // It may be another that leads.
                Err(error @ (ChangeError::Unknown(_) | ChangeError::Failed(_))) => why = error,
                told => return told,
            }
        }
        Err(why)
    }
}
