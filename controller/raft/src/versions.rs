//! Which versions of what is written the members know, and when all know a later one than the cluster's.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use verger_controller_state::{ClusterVersion, State};

use crate::member::Member;
use crate::types::MemberId;

/// Who has said nothing for so long may run another program by now.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// What the other members said they know, and when.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<BTreeMap<MemberId, (ClusterVersion, Instant)>>);

impl Said {
    /// Takes in what a member says. One of before there were versions says 0.
    pub(crate) fn hear(&self, id: MemberId, newest: u32) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(id, (ClusterVersion::of(newest), Instant::now()));
    }

    fn lately(&self, id: MemberId) -> Option<ClusterVersion> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, at) = said.get(&id)?;
        (at.elapsed() < SAID_WITHIN).then_some(*version)
    }
}

/// What a cluster at this version can be raised to, of whose members these are the newest that they know; `None` of one that was not heard.
fn agreed(
    newest: impl IntoIterator<Item = Option<ClusterVersion>>,
    now: ClusterVersion,
) -> Option<ClusterVersion> {
    // Nothing is less than anything: who was not heard holds all up.
    newest.into_iter().min().flatten().filter(|agreed| *agreed > now)
}

impl Member {
    /// The newest version that a member knows, of this one or by what was heard of it within 10 s.
    pub fn newest_version_of(&self, id: MemberId) -> Option<ClusterVersion> {
        match id == self.standing().id {
            true => Some(ClusterVersion::NEWEST),
            false => self.said().lately(id),
        }
    }

    /// The version that the cluster can be raised to: later than its own, and every member, whether it votes or not, said within 10 s
    /// that it knows it. `None` while there is none, or somebody was not heard.
    pub fn agreed_version(&self) -> Option<ClusterVersion> {
        let members = self.standing().members;
        let newest = members.iter().map(|member| self.newest_version_of(member.id));
        agreed(newest, self.read(State::version))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use verger_controller_state::Action;

    use super::*;
    use crate::member::MemberError;
    use crate::testing::{PATIENCE, command, found_by, open};

    /// A founded member of a cluster of its own.
    async fn founded(dir: &Path) -> Member {
        Member::create(dir).unwrap();
        let member = open(dir).await.unwrap();
        found_by(&member).await;
        member
    }

    fn later() -> ClusterVersion {
        ClusterVersion::of(ClusterVersion::NEWEST.number() + 1)
    }

    fn is_told(why: &str) {
        let wanted = format!(
            "the cluster is at version {}, and this program knows versions up to {}",
            later(),
            ClusterVersion::NEWEST
        );
        assert!(why.contains(&wanted), "{why}");
    }

    #[tokio::test]
    async fn who_does_not_know_the_version_stops_says_so_and_writes_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let member = founded(dir.path()).await;
        let raise = command(Action::RaiseVersion { to: later() });
        assert!(member.propose(&raise).await.is_err());
        is_told(&tokio::time::timeout(PATIENCE, member.failure()).await.unwrap());
        member.stop().await;
        // It is in the log, and not in the rows.
        match open(dir.path()).await {
            Ok(again) => {
                is_told(&tokio::time::timeout(PATIENCE, again.failure()).await.unwrap());
                again.stop().await;
            }
            Err(error) => is_told(&error.to_string()),
        }
    }

    #[tokio::test]
    async fn rows_of_a_newer_program_are_refused_before_they_are_read() {
        use verger_controller_store::{RowOp, SledState, StateDb as _};

        let dir = tempfile::tempdir().unwrap();
        founded(dir.path()).await.stop().await;
        let db = SledState::open(dir.path()).unwrap();
        let mut mark = db.applied().unwrap().unwrap();
        mark.last.index += 1;
        let (tree, key) = ClusterVersion::ROW;
        let put = |key: &[u8], value: Vec<u8>| RowOp {
            tree: tree.name().to_owned(),
            key: key.to_vec().into(),
            value: Some(value.into()),
        };
        // Another row is of a form that nobody here can read.
        let ops = [
            put(b"cluster", vec![0xff; 8]),
            put(key, later().number().to_be_bytes().to_vec()),
        ];
        db.apply_batch(&ops, &mark).unwrap();
        db.flush().unwrap();
        drop(db);
        let refused = open(dir.path()).await.err().unwrap();
        assert!(
            matches!(refused, MemberError::Newer { found } if found == later()),
            "{refused}"
        );
        is_told(&refused.to_string());
    }

    #[test]
    fn the_least_that_all_know_is_agreed_where_it_is_later_than_now() {
        let of = ClusterVersion::of;
        for (newest, now, wanted) in [
            (&[Some(2), Some(2), Some(2)][..], 1, Some(2)),
            (&[Some(3), Some(2), Some(5)], 1, Some(2)),
            (&[Some(3), Some(2), Some(5)], 2, None),
            (&[Some(2), None, Some(2)], 1, None),
            (&[Some(2), Some(1)], 1, None),
            (&[Some(2), Some(1)], 4, None),
            (&[Some(7)], 1, Some(7)),
            (&[], 1, None),
        ] {
            let newest = newest.iter().map(|number| number.map(of));
            assert_eq!(agreed(newest, of(now)), wanted.map(of));
        }
    }

    #[tokio::test]
    async fn a_version_is_agreed_when_every_member_said_lately_that_it_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let member = founded(dir.path()).await;
        // Alone it knows what it knows.
        let alone = (ClusterVersion::NEWEST > ClusterVersion::FIRST).then_some(ClusterVersion::NEWEST);
        assert_eq!(member.agreed_version(), alone);
        assert_eq!(member.newest_version_of(1), Some(ClusterVersion::NEWEST));
        assert_eq!(member.newest_version_of(2), None);
        member.said().hear(2, 0);
        assert_eq!(member.newest_version_of(2), Some(ClusterVersion::FIRST));
        tokio::time::pause();
        tokio::time::advance(SAID_WITHIN).await;
        assert_eq!(member.newest_version_of(2), None);
        tokio::time::resume();
        member.stop().await;
    }
}
