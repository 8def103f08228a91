//! Who has no space left on its disk: nothing is taken that a quorum could not keep.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use verger_controller_store::{SnapshotDir, Space, StoreError};

use crate::member::Member;
use crate::membership::{MemberStanding, Part, Standing};
use crate::types::MemberId;

/// What a member said of its disk counts for so long.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks for space.
const LOOK: Duration = Duration::from_millis(200);

/// What is known of everybody's disk.
pub(crate) struct Room {
    own: Space,
    /// By name: that its disk is full, and when it said so.
    peers: Mutex<BTreeMap<String, (Instant, String)>>,
}

impl Room {
    pub(crate) fn of(own: Space) -> Self {
        Self {
            own,
            peers: Mutex::default(),
        }
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, String)>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Free bytes, at the last look.
    pub(crate) fn free(&self) -> u64 {
        self.own.free()
    }

    /// Refuses what is large and can wait, where the disk has no more than the log may need.
    pub(crate) fn for_snapshots(&self, dir: &SnapshotDir) -> Result<(), StoreError> {
        match self.own() {
            None => Ok(()),
            Some(why) => Err(StoreError::Full {
                file: dir.path().to_owned(),
                source: Arc::new(io::Error::new(io::ErrorKind::StorageFull, why)),
            }),
        }
    }

    /// Why this member takes nothing.
    pub(crate) fn own(&self) -> Option<String> {
        self.own.full()
    }

    fn told(&self, name: &str, full: &str) {
        match full {
            "" => drop(self.peers().remove(name)),
            full => drop(
                self.peers()
                    .insert(name.to_owned(), (Instant::now(), full.to_owned())),
            ),
        }
    }

    fn of_peer(&self, name: &str) -> Option<String> {
        let peers = self.peers();
        let (at, full) = peers.get(name)?;
        (at.elapsed() < TOLD_WITHIN).then(|| full.clone())
    }

    /// Why nothing is taken for the cluster: so many voters' disks are full that the others are no quorum. Names each.
    pub(crate) fn of_quorum(&self, standing: impl FnOnce() -> Standing) -> Option<String> {
        if self.own().is_none() && self.peers().is_empty() {
            return None;
        }
        let standing = standing();
        let voters: Vec<&MemberStanding> = standing
            .members
            .iter()
            .filter(|member| member.part == Part::Voter)
            .collect();
        let full: Vec<String> = voters
            .iter()
            .filter_map(|member| {
                let why = match member.id == standing.id {
                    true => self.own(),
                    false => self.of_peer(&member.node.name),
                };
                Some(format!("at member {} {}", member.node.name, why?))
            })
            .collect();
        let left = voters.len() - full.len();
        (left <= voters.len() / 2 && !full.is_empty()).then(|| full.join("; "))
    }

    /// Who could lead in place of a member whose disk is full: who is heard, and has the most.
    fn successor(&self, standing: &Standing) -> Option<u64> {
        standing.successor(|member| self.of_peer(&member.node.name).is_none())
    }
}

/// Waits until a member has any space to open its files with. One that stopped for want of it is not to be started again and again.
pub async fn await_space(dir: &Path) {
    let mut was_told = false;
    // Where the system does not say, whoever opens the files will.
    while matches!(Space::is_any(dir), Ok(false)) {
        if !std::mem::replace(&mut was_told, true) {
            tracing::error!(
                ?dir,
                "the disk is full, and this member cannot start; it waits until some space is freed"
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Member {
    /// Why this member takes no commands: its disk is full. `None` while there is space.
    pub fn full(&self) -> Option<String> {
        self.room().own()
    }

    /// Why a member takes no commands, of this one or by what was heard of it within 5 s: its disk is full. `None` while it has space, or
    /// nothing was heard.
    pub fn full_of(&self, id: MemberId, name: &str) -> Option<String> {
        match id == self.standing().id {
            true => self.full(),
            false => self.room().of_peer(name),
        }
    }

    /// Takes in what another member says of its disk: why it is full, or nothing.
    pub fn hear_full(&self, name: &str, full: &str) {
        self.room().told(name, full);
    }

    /// Which other member is to lead, where this one does and its disk is full; `None` where nobody could do better.
    pub fn better_leader(&self) -> Option<u64> {
        if !self.is_leading() || self.full().is_none() {
            return None;
        }
        self.room().successor(&self.standing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Node;

    fn standing(of: u64, parts: &[Part]) -> Standing {
        let member = |(id, part): (u64, &Part)| MemberStanding {
            id,
            node: Node {
                name: format!("c{id}"),
                ..Node::default()
            },
            part: *part,
            matched: Some(id),
            heard: Some(Duration::ZERO),
        };
        Standing {
            id: of,
            leader: Some(of),
            term: 1,
            last: 9,
            applied: 9,
            snapshot: 0,
            purged: 0,
            since: 1,
            is_changing: false,
            next_voters: (1..)
                .zip(parts)
                .filter(|(_, part)| **part == Part::Voter)
                .map(|(id, _)| id)
                .collect(),
            members: (1..).zip(parts).map(member).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_taken_that_a_quorum_could_not_keep() {
        let room = Room::of(Space::endless());
        let three = standing(1, &[Part::Voter, Part::Voter, Part::Voter, Part::Learner]);
        assert_eq!(room.of_quorum(|| three.clone()), None);
        room.told("c2", "the disk is full");
        // A learner is waited for by nobody.
        room.told("c4", "the disk is full");
        assert_eq!(room.of_quorum(|| three.clone()), None);
        room.told("c3", "the disk is full, too");
        let why = room.of_quorum(|| three.clone());
        let why = why.as_deref();
        assert_eq!(
            why,
            Some("at member c2 the disk is full; at member c3 the disk is full, too")
        );
        // There is space again, or nothing was heard for long.
        room.told("c2", "");
        assert_eq!(room.of_quorum(|| three.clone()), None);
        room.told("c2", "the disk is full");
        tokio::time::advance(TOLD_WITHIN).await;
        assert_eq!(room.of_quorum(|| three.clone()), None);
        let two = standing(1, &[Part::Voter, Part::Voter]);
        room.told("c2", "the disk is full");
        assert!(room.of_quorum(|| two.clone()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_space_and_the_most_is_to_lead() {
        let room = Room::of(Space::endless());
        let mut three = standing(1, &[Part::Voter, Part::Voter, Part::Voter, Part::Learner]);
        assert_eq!(room.successor(&three), Some(3));
        room.told("c3", "the disk is full");
        assert_eq!(room.successor(&three), Some(2));
        three.members[1].heard = None;
        assert_eq!(room.successor(&three), None);
    }
}
