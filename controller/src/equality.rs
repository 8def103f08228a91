//! Whether this member is what the others are: it asks them, and stops where it is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior};
use verger_controller_raft::{Change, Difference, Member, Verdict, mark_diverged};

/// Between two questions. What is compared is noted every 1,000 entries.
const EVERY: Duration = Duration::from_secs(2);
/// A difference that goes on is told again after this.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a member that has to stop may take to vote no more.
const DEMOTED_WITHIN: Duration = Duration::from_secs(5);

/// Compares until this member has to stop; says why. It has written down by then that it may not start again.
pub(crate) async fn keep_comparing(member: Arc<Member>, raft_dir: PathBuf) -> anyhow::Error {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said: Option<(Difference, Instant)> = None;
    loop {
        every.tick().await;
        match member.compare().await {
            Verdict::Same => {}
            Verdict::Differs(difference) => {
                let is_said = said
                    .as_ref()
                    .is_some_and(|(before, at)| *before == difference && at.elapsed() < AGAIN);
                if !is_said {
                    tracing::error!(
                        index = difference.own.index,
                        own = difference.own.hex(),
                        other = difference.other.hex(),
                        members = ?difference.members,
                        "members are not the same, though all applied the same log; who differs from a majority of those that vote stops, and is to be removed"
                    );
                    said = Some((difference, Instant::now()));
                }
            }
            Verdict::Diverged(difference) => return stop(&member, &raft_dir, &difference).await,
        }
    }
}

/// Why whatever compared has ended.
pub(crate) fn why(ended: Result<anyhow::Error, JoinError>) -> anyhow::Error {
    ended.unwrap_or_else(|error| {
        anyhow::Error::new(error).context("what compares the members stopped by itself")
    })
}

async fn stop(member: &Member, raft_dir: &Path, difference: &Difference) -> anyhow::Error {
    tracing::error!(
        index = difference.own.index,
        own = difference.own.hex(),
        other = difference.other.hex(),
        members = ?difference.members,
        "this member came to another state than the others, and stops: remove it from the cluster (verger cluster remove), remove its data folder, and join again under another name"
    );
    // First of all: whatever comes between, it does not start again.
    let marked = mark_diverged(raft_dir, difference).with_context(|| {
        format!(
            "{}: that it may not start again was not written down",
            raft_dir.display()
        )
    });
    if let Err(error) = &marked {
        tracing::error!(error = format!("{error:#}"), "it may start again");
    }
    vote_no_more(member).await;
    let stopped = anyhow::anyhow!(
        "this member came to another state than the others: {difference}; remove it from the cluster (verger cluster remove), remove its data folder, and join again under another name"
    );
    match marked {
        Ok(()) => stopped,
        Err(error) => error.context(stopped.to_string()),
    }
}

/// Of two that vote, who is left could decide nothing any more, and not even remove this one.
async fn vote_no_more(member: &Member) {
    let standing = member.standing();
    if standing.next_voters.len() != 2 || !standing.next_voters.contains(&standing.id) {
        return;
    }
    let demoted = member.change(Change::Demote(standing.id), false);
    match tokio::time::timeout(DEMOTED_WITHIN, demoted).await {
        Ok(Ok(())) => tracing::warn!("this member votes no more: the other goes on alone"),
        Ok(Err(error)) => {
            tracing::error!(%error, "this member still votes, and the other decides nothing without it")
        }
        Err(_) => tracing::error!("this member still votes, and the other decides nothing without it"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_controller_raft::{Checkpoint, MemberConfig, NoPeers, Node};

    use super::*;

    #[tokio::test]
    async fn who_stops_says_what_differs_and_what_to_do_and_does_not_start_again() {
        let dir = tempfile::tempdir().unwrap();
        Member::create(dir.path()).unwrap();
        let config = MemberConfig {
            id: 1,
            node: Node::default(),
            is_first: true,
            start: 1,
        };
        let open = || Member::open(config.clone(), dir.path().to_owned(), Arc::new(NoPeers));
        let member = open().await.unwrap();
        assert_eq!(member.compare().await, Verdict::Same);
        let at = |chain| Checkpoint {
            index: 3_000,
            from: 0,
            chain: [chain; 32],
        };
        let difference = Difference {
            own: at(0xab),
            other: at(0xcd),
            members: vec!["c2".to_owned(), "c3".to_owned()],
        };
        let told = format!("{:#}", stop(&member, dir.path(), &difference).await);
        for part in [
            "entry 3000",
            "abab",
            "cdcd",
            "c2",
            "verger cluster remove",
            "another name",
        ] {
            assert!(told.contains(part), "{told}");
        }
        member.stop().await;
        let again = open().await.err().unwrap().to_string();
        assert!(again.contains("does not start any more"), "{again}");
        // Where it cannot be written down that is said, and it stops all the same.
        std::fs::remove_file(dir.path().join("diverged")).unwrap();
        let member = open().await.unwrap();
        let nowhere = dir.path().join("nowhere");
        let told = format!("{:#}", stop(&member, &nowhere, &difference).await);
        assert!(
            told.contains("entry 3000") && told.contains("was not written down"),
            "{told}"
        );
        member.stop().await;
    }
}
