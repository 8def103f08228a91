//! Whether the members are the same: their chains at equal index are compared, and who is wrong stops.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use verger_controller_state::ClusterVersion;
use verger_proto::peer::v1 as pb;

use crate::chain::Checkpoint;
use crate::codec;
use crate::member::Member;
use crate::membership::{MemberStanding, Standing};
use crate::types::MemberId;

/// How long a member has to say where it was.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// More than any member keeps.
const MOST: usize = 128;
/// Beside the log of a member that may not start any more.
const MARKER: &str = "diverged";

/// Two chains that should be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// This member's.
    pub own: Checkpoint,
    /// That of others: a majority of those that vote, or else whoever leads, or else the most.
    pub other: Checkpoint,
    /// Who has it, by name.
    pub members: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, other, members } = self;
        write!(
            f,
            "after entry {} the chain of what was applied since {} is {} here and {} at {members:?}",
            own.index,
            own.from,
            own.hex(),
            other.hex()
        )
    }
}

/// What comes of comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody that was heard differs from this member.
    Same,
    /// Somebody differs. It is not this member that is wrong, or that cannot be told yet.
    Differs(Difference),
    /// This member is wrong, and has to stop.
    Diverged(Difference),
}

/// Judges the earliest entry after which members differ. Who differs from a majority of the voters is wrong, whoever it is. Where there is no
/// majority, and none of those that were not heard can make one, who differs from whoever leads is. Until all that it hangs on were heard
/// nobody is: to stop the wrong one of two would be worse than to wait.
pub fn judge(
    standing: &Standing,
    own: &[Checkpoint],
    others: &BTreeMap<MemberId, Vec<Checkpoint>>,
) -> Verdict {
    let mut differs = None;
    let mut own: Vec<&Checkpoint> = own.iter().collect();
    own.sort_by_key(|at| (at.index, at.from));
    for at in own {
        match judge_at(standing, at, others) {
            Verdict::Same => {}
            Verdict::Differs(difference) => differs = differs.or(Some(difference)),
            diverged @ Verdict::Diverged(_) => return diverged,
        }
    }
    differs.map_or(Verdict::Same, Verdict::Differs)
}

fn judge_at(standing: &Standing, own: &Checkpoint, others: &BTreeMap<MemberId, Vec<Checkpoint>>) -> Verdict {
    let voters = standing.voters();
    // Who has which chain after this entry, of those that say so.
    let mut told: BTreeMap<[u8; 32], BTreeSet<MemberId>> = BTreeMap::new();
    told.entry(own.chain).or_default().insert(standing.id);
    for (id, checkpoints) in others {
        if let Some(theirs) = checkpoints.iter().find(|theirs| theirs.is_beside(own)) {
            told.entry(theirs.chain).or_default().insert(*id);
        }
    }
    if told.len() == 1 {
        return Verdict::Same;
    }
    let votes = |who: &BTreeSet<MemberId>| who.intersection(&voters).count();
    let needed = voters.len() / 2 + 1;
    let missing = voters.len() - told.values().map(votes).sum::<usize>();
    let different = || told.iter().filter(|(chain, _)| **chain != own.chain);
    let most = different().max_by_key(|(_, who)| votes(who));
    let leading = different().find(|(_, who)| standing.leader.is_some_and(|leader| who.contains(&leader)));
    let difference = |group: Option<(&[u8; 32], &BTreeSet<MemberId>)>| {
        let (chain, who) = group.expect("there is another chain than this member's");
        let name = |id: &MemberId| standing.of(*id).map(|member| member.node.name.clone());
        Difference {
            own: *own,
            other: Checkpoint {
                chain: *chain,
                ..*own
            },
            members: who.iter().filter_map(name).collect(),
        }
    };
    let has_majority = told.values().any(|who| votes(who) >= needed);
    let may_come = told.values().any(|who| votes(who) + missing >= needed) || missing >= needed;
    match () {
        () if most.is_some_and(|(_, who)| votes(who) >= needed) => Verdict::Diverged(difference(most)),
        () if !has_majority && !may_come && leading.is_some() => Verdict::Diverged(difference(leading)),
        () => Verdict::Differs(difference(most)),
    }
}

impl Member {
    /// Where the chain of this member is after the entry it applied last; `None` where that is not known.
    pub fn chain(&self) -> Option<Checkpoint> {
        self.applied().noted().now()
    }

    /// Where it was at the last multiples of [`CHECKPOINT_EVERY`](crate::CHECKPOINT_EVERY), the oldest first.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        self.applied().noted().kept()
    }

    /// Tells a peer the same.
    pub fn tell_state(&self) -> pb::CompareStateResponse {
        let checkpoints = self.checkpoints();
        pb::CompareStateResponse {
            checkpoints: checkpoints.iter().map(codec::encode_checkpoint).collect(),
            newest_version: ClusterVersion::NEWEST.number(),
        }
    }

    /// Asks all others where they were, and compares. Who does not answer says nothing.
    pub async fn compare(&self) -> Verdict {
        let standing = self.standing();
        let others = standing.members.iter().filter(|other| other.id != standing.id);
        let asked = others.map(async |MemberStanding { id, node, .. }| {
            let peer = self.peers().peer(&node.name, &node.address);
            let told = match peer.compare_state(TOLD_WITHIN).await {
                Ok(told) => {
                    self.said().hear(*id, told.newest_version);
                    read_checkpoints(told)
                }
                Err(error) => Err(io::Error::other(error)),
            };
            // One of an older version tells nothing.
            told.inspect_err(|error| tracing::debug!(%error, member = node.name, "its state is not compared"))
                .ok()
                .map(|checkpoints| (*id, checkpoints))
        });
        let told = join_all(asked).await.into_iter().flatten().collect();
        // After theirs: what a snapshot took the place of meanwhile is not judged any more.
        judge(&standing, &self.checkpoints(), &told)
    }
}

/// What a peer says of where it was.
///
/// # Errors
/// When it is too much, or a chain is none.
pub(crate) fn read_checkpoints(told: pb::CompareStateResponse) -> io::Result<Vec<Checkpoint>> {
    let pb::CompareStateResponse {
        checkpoints,
        newest_version: _,
    } = told;
    if checkpoints.len() > MOST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "a peer tells of {} checkpoints; {MOST} at most",
                checkpoints.len()
            ),
        ));
    }
    checkpoints.iter().map(codec::decode_checkpoint).collect()
}

/// Writes down, on stable storage, that the member of this folder came to another state than the others: it does not open any more.
///
/// # Errors
/// When that cannot be written.
pub fn mark_diverged(dir: &Path, difference: &Difference) -> io::Result<()> {
    let text = format!("{difference}\n");
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(dir.join(MARKER))
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // That it is there is enough, whatever is in it.
        _ => File::open(dir)?.sync_all(),
    }
}

/// The file that says so, where there is one.
pub(crate) fn marker(dir: &Path) -> Option<PathBuf> {
    let file = dir.join(MARKER);
    // Where that cannot be seen it may be there.
    let is_gone = matches!(file.try_exists(), Ok(false));
    (!is_gone).then_some(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::membership::Part;
    use crate::types::Node;

    fn at(index: u64, from: u64, chain: u8) -> Checkpoint {
        Checkpoint {
            index,
            from,
            chain: [chain; 32],
        }
    }

    /// Of so many voters, and learner 9, as one of them knows it.
    fn standing(id: MemberId, leader: Option<MemberId>, voters: u64) -> Standing {
        let member = |id, part| MemberStanding {
            id,
            node: Node {
                name: format!("c{id}"),
                ..Node::default()
            },
            part,
            matched: None,
            heard: None,
        };
        let members = (1..=voters).map(|id| member(id, Part::Voter));
        Standing {
            id,
            leader,
            term: 1,
            last: 0,
            applied: 0,
            snapshot: 0,
            purged: 0,
            since: 1,
            is_changing: false,
            next_voters: (1..=voters).collect(),
            members: members.chain([member(9, Part::Learner)]).collect(),
        }
    }

    /// What a member finds that is at 1000 with its chain, of others that are there with theirs.
    fn found(id: MemberId, leader: Option<MemberId>, voters: u64, told: &[(MemberId, u8)]) -> Verdict {
        let own = told.iter().find(|(of, _)| *of == id).unwrap().1;
        let others = told.iter().filter(|(of, _)| *of != id);
        let others = others
            .map(|(of, chain)| (*of, vec![at(1_000, 0, *chain)]))
            .collect();
        judge(&standing(id, leader, voters), &[at(1_000, 0, own)], &others)
    }

    /// In short: whether nobody differs, somebody does, or this one is wrong.
    fn short(verdict: &Verdict) -> char {
        match verdict {
            Verdict::Same => '=',
            Verdict::Differs(_) => '?',
            Verdict::Diverged(_) => '!',
        }
    }

    #[test]
    fn who_is_wrong_is_told_by_a_majority_and_else_by_the_leader() {
        // Voters, who leads, what each that is heard is at, and what each of these finds.
        for (voters, leader, told, wanted) in [
            (3, 1, &[(1, 7), (2, 7), (3, 7)][..], "==="),
            (3, 1, &[(1, 7), (2, 7), (3, 8)], "??!"),
            // Whoever leads.
            (3, 1, &[(1, 8), (2, 7), (3, 7)], "!??"),
            (3, 1, &[(1, 7), (2, 8), (3, 9)], "?!!"),
            // The third may come and say: the wrong one of two is not known.
            (3, 1, &[(1, 7), (2, 8)], "??"),
            (2, 1, &[(1, 7), (2, 8)], "?!"),
            (2, 2, &[(1, 7), (2, 8)], "!?"),
            (1, 1, &[(1, 7), (9, 8)], "?!"),
            (3, 1, &[(1, 7), (2, 7), (3, 7), (9, 8)], "???!"),
            // A learner makes no majority.
            (3, 1, &[(1, 7), (2, 8), (9, 8)], "???"),
            (5, 1, &[(1, 7), (2, 7), (3, 8), (4, 8)], "????"),
            (5, 1, &[(1, 7), (2, 7), (3, 8), (4, 8), (5, 9)], "??!!!"),
            (5, 1, &[(1, 7), (2, 8), (3, 8), (4, 8)], "!???"),
            // Three would be a majority, and one is not heard: two are none.
            (5, 1, &[(1, 7), (2, 8), (3, 9), (4, 8)], "????"),
        ] {
            let verdicts = told.iter().map(|(id, _)| found(*id, Some(leader), voters, told));
            let short: String = verdicts.map(|verdict| short(&verdict)).collect();
            assert_eq!(short, wanted, "{voters} voters, {leader} leads, {told:?}");
        }
        // Nobody leads, as far as is known: nobody can say.
        assert_eq!(short(&found(2, None, 2, &[(1, 7), (2, 8)])), '?');
    }

    #[test]
    fn only_what_tells_of_the_same_entries_is_compared_and_the_earliest_difference_is_told() {
        let standing = standing(3, Some(1), 3);
        let both =
            |checkpoints: Vec<Checkpoint>| BTreeMap::from([(1, checkpoints.clone()), (2, checkpoints)]);
        for others in [
            vec![],
            // Elsewhere, or begun elsewhere, as where members were upgraded one by one.
            vec![at(2_000, 0, 8)],
            vec![at(1_000, 500, 8)],
        ] {
            assert_eq!(judge(&standing, &[at(1_000, 0, 7)], &both(others)), Verdict::Same);
        }
        let own = [at(3_000, 0, 9), at(2_000, 0, 8), at(1_000, 0, 7)];
        let theirs = vec![at(1_000, 0, 7), at(2_000, 0, 1), at(3_000, 0, 2)];
        let Verdict::Diverged(difference) = judge(&standing, &own, &both(theirs)) else {
            panic!("two of three say otherwise");
        };
        assert_eq!(
            (difference.own, difference.other),
            (at(2_000, 0, 8), at(2_000, 0, 1))
        );
        assert_eq!(difference.members, ["c1", "c2"]);
        let told = difference.to_string();
        for part in ["2000", "0808", "0101", "c1"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[tokio::test]
    async fn who_was_found_to_differ_does_not_open_any_more() {
        use crate::member::{MemberConfig, MemberError};
        use crate::peers::NoPeers;

        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        let config = MemberConfig {
            id: 1,
            node: Node::default(),
            is_first: true,
            start: 1,
        };
        let open = || {
            Member::open(
                config.clone(),
                dir.path().to_owned(),
                std::sync::Arc::new(NoPeers),
            )
        };
        open().await.unwrap().stop().await;
        let difference = Difference {
            own: at(1_000, 0, 7),
            other: at(1_000, 0, 8),
            members: vec!["c2".to_owned()],
        };
        for _ in 0..2 {
            mark_diverged(dir.path(), &difference).unwrap();
        }
        let written = std::fs::read_to_string(dir.path().join(MARKER)).unwrap();
        assert_eq!(written, format!("{difference}\n"));
        let Err(error) = open().await else {
            panic!("it opens");
        };
        assert!(matches!(error, MemberError::Diverged(_)), "{error}");
        let told = error.to_string();
        assert!(
            told.contains("diverged") && told.contains("verger cluster remove"),
            "{told}"
        );
    }

    #[test]
    fn what_a_peer_tells_is_bounded() {
        let told = |count, length| pb::CompareStateResponse {
            checkpoints: vec![
                verger_proto::stored::v1::RaftCheckpoint {
                    chain: vec![1; length].into(),
                    ..Default::default()
                };
                count
            ],
            newest_version: 1,
        };
        assert_eq!(read_checkpoints(told(MOST, 32)).unwrap().len(), MOST);
        assert!(read_checkpoints(told(MOST + 1, 32)).is_err());
        for length in [0, 31, 33] {
            assert!(read_checkpoints(told(1, length)).is_err(), "{length} bytes");
        }
    }
}
