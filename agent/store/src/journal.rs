//! One sled tree with the safeguards that sled lacks.
//!
//! - A commit is one batch with its own head record; it returns after the barrier and the watermark.
//! - The head holds the number of the commit and the count and sum of all other records, so a record that was
//!   lost, that came back or that is stale shows at open, as does a whole tail (the watermark is ahead of it).
//! - Order of a commit, and so of what a crash may leave: batch, barrier, watermark. A crash before the watermark
//!   leaves a head one commit ahead of it, whole: that commit was never acknowledged, and is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use verger_agent_core::store::StoreError;

use crate::barrier::Barrier;
use crate::watermark::{Mark, Watermark};
use crate::{damage, record};

/// Key of the head record; the only one that starts with a zero byte.
const HEAD: &[u8] = b"\0head";

/// Records to put (payloads) and, where there is none, to remove.
pub(crate) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What the head record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    commit: u64,
    count: u64,
    sum: u64,
    last: u64,
}

impl Head {
    fn encode(self) -> Vec<u8> {
        [self.commit, self.count, self.sum, self.last]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let (numbers, []) = payload.as_chunks::<8>() else {
            return None;
        };
        let [commit, count, sum, last] = <[[u8; 8]; 4]>::try_from(numbers).ok()?.map(u64::from_le_bytes);
        Some(Self {
            commit,
            count,
            sum,
            last,
        })
    }

    fn mark(self) -> Mark {
        Mark {
            commit: self.commit,
            last: self.last,
            head: record::weight(&record::seal(HEAD, &self.encode())),
        }
    }
}

/// An open journal, all of whose records have been read and found whole.
pub(crate) struct Journal {
    place: PathBuf,
    tree: sled::Tree,
    barrier: Arc<Barrier>,
    watermark: Watermark,
    head: Head,
}

impl Journal {
    /// Opens the tree `name` and proves it against itself and its watermark.
    pub(crate) fn open(
        barrier: Arc<Barrier>,
        name: &'static str,
        watermark: &Path,
    ) -> Result<Self, StoreError> {
        let place = barrier.place().to_owned();
        let tree = barrier.guard(|db| db.open_tree(name))?;
        let mut journal = Self {
            place,
            tree,
            barrier,
            watermark: Watermark::open(watermark)?,
            head: Head::default(),
        };
        journal.head = journal
            .prove()
            .map_err(|what| damage(&journal.place, format!("{name}: {what}")))??;
        journal.barrier.begin()?;
        let mark = journal.head.mark();
        if journal.watermark.mark() != mark && mark.commit > 0 {
            journal.advance(mark)?;
        }
        Ok(journal)
    }

    /// Reads every record and compares with head and watermark.
    fn prove(&self) -> Result<Result<Head, StoreError>, String> {
        let (mut count, mut sum, mut head) = (0_u64, 0_u64, None);
        let mut entries = self.tree.iter();
        loop {
            let (key, value) = match self.barrier.guard(|_| entries.next().transpose()) {
                Ok(Some(pair)) => pair,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            let payload = record::open(&key, &value)?;
            if &*key == HEAD {
                head = Some(Head::decode(payload).ok_or("the head record has another shape")?);
            } else {
                count += 1;
                sum = sum.wrapping_add(record::weight(&value));
            }
        }
        let mark = self.watermark.mark();
        let Some(head) = head else {
            return match (count, mark.commit) {
                (0, 0) => Ok(Ok(Head::default())),
                (0, commit) => Err(format!("it is empty, and {commit} commits were acknowledged")),
                (count, _) => Err(format!("it has {count} records and no head")),
            };
        };
        if (count, sum) != (head.count, head.sum) {
            return Err(format!(
                "it holds {count} records where {} were written, or old versions of some",
                head.count
            ));
        }
        if head.commit < mark.commit {
            return Err(format!(
                "it ends at commit {}, and {} were acknowledged",
                head.commit, mark.commit
            ));
        }
        if head.commit > mark.commit + 1 {
            return Err(format!(
                "it is at commit {}, and its watermark only at {}",
                head.commit, mark.commit
            ));
        }
        if head.commit == mark.commit && head.mark() != mark || head.last < mark.last {
            return Err(format!(
                "commit {} is not the one that was acknowledged",
                head.commit
            ));
        }
        Ok(Ok(head))
    }

    /// Writes all changes or none. Returns when they are on stable storage. `last` is what the watermark remembers.
    pub(crate) fn commit(&mut self, changes: &Changes, last: u64) -> Result<(), StoreError> {
        let bytes: usize = changes
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len))
            .sum();
        self.barrier.admit(u64::try_from(bytes).expect("sizes fit"))?;
        let mut head = Head {
            commit: self.head.commit + 1,
            last,
            ..self.head
        };
        let mut batch = sled::Batch::default();
        for (key, payload) in changes {
            if let Some(old) = self.barrier.guard(|_| self.tree.get(key))? {
                head.count -= 1;
                head.sum = head.sum.wrapping_sub(record::weight(&old));
            }
            let Some(payload) = payload else {
                batch.remove(key.as_slice());
                continue;
            };
            if payload.len() > record::MAX_PAYLOAD {
                return Err(StoreError::TooLarge {
                    what: "a record".to_owned(),
                    bytes: payload.len(),
                    limit: record::MAX_PAYLOAD,
                });
            }
            let value = record::seal(key, payload);
            head.count += 1;
            head.sum = head.sum.wrapping_add(record::weight(&value));
            batch.insert(key.as_slice(), value);
        }
        batch.insert(HEAD, record::seal(HEAD, &head.encode()));
        self.barrier
            .guard(|_| self.tree.apply_batch(batch))
            .and_then(|()| self.barrier.wait())
            .and_then(|()| self.advance(head.mark()))
            .inspect_err(|_| self.barrier.latch())?;
        self.head = head;
        Ok(())
    }

    fn advance(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.watermark.advance(mark, |file| self.barrier.sync(file))
    }

    /// Reads one record's payload.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.barrier.check()?;
        match self.barrier.guard(|_| self.tree.get(key))? {
            Some(value) => self.payload(key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the records from `start` on whose keys start with `prefix`, in order, for as long as `more` says so.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        start: &[u8],
        mut more: impl FnMut(&[u8], Vec<u8>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.barrier.check()?;
        let mut entries = self.tree.range(start.to_vec()..);
        while let Some((key, value)) = self.barrier.guard(|_| entries.next().transpose())? {
            if !key.starts_with(prefix) || !more(&key, self.payload(&key, &value)?)? {
                break;
            }
        }
        Ok(())
    }

    fn payload(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        record::open(key, value)
            .map(<[u8]>::to_vec)
            .map_err(|what| self.damaged(what))
    }

    /// Names this journal in an error about its contents.
    pub(crate) fn damaged(&self, what: String) -> StoreError {
        damage(&self.place, what)
    }

    /// What the last commit gave as `last`.
    pub(crate) const fn last(&self) -> u64 {
        self.head.last
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Options;

    fn opened(dir: &Path) -> Result<Journal, StoreError> {
        let watermark = dir.join("watermark");
        if !watermark.exists() {
            Watermark::create(&watermark).unwrap();
        }
        let options = Options {
            reserve_bytes: 0,
            ..Options::default()
        };
        Journal::open(
            Arc::new(Barrier::open(&dir.join("sled"), &options)?),
            "test",
            &watermark,
        )
    }

    fn changes(pairs: &[(&str, Option<&str>)]) -> Changes {
        let owned =
            |(key, value): &(&str, Option<&str>)| (key.as_bytes().to_vec(), value.map(|value| value.into()));
        pairs.iter().map(owned).collect()
    }

    /// A journal with a history, and what one hand in sled did to it.
    fn tampered(tamper: impl FnOnce(&sled::Tree, &[u8])) -> Result<Journal, StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = opened(dir.path()).unwrap();
        journal
            .commit(
                &changes(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]),
                1,
            )
            .unwrap();
        let old = journal.tree.get("a").unwrap().unwrap();
        journal
            .commit(&changes(&[("a", Some("2")), ("c", None)]), 2)
            .unwrap();
        tamper(&journal.tree, &old);
        journal.tree.flush().unwrap();
        drop(journal);
        opened(dir.path())
    }

    fn told(result: Result<Journal, StoreError>) -> String {
        match result {
            Err(StoreError::Damaged { what, .. }) => what,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("nothing was said"),
        }
    }

    #[test]
    fn what_nobody_touched_opens() {
        let journal = tampered(|_, _| {}).unwrap();
        assert_eq!(
            (journal.last(), journal.head.count, journal.head.commit),
            (2, 2, 2)
        );
        assert_eq!(journal.get(b"a").unwrap().unwrap(), b"2");
        assert_eq!(journal.get(b"c").unwrap(), None);
    }

    #[test]
    fn a_lost_record_is_told() {
        assert!(told(tampered(|tree, _| drop(tree.remove("b").unwrap()))).contains("1 records where 2"));
    }

    #[test]
    fn an_old_version_of_a_record_is_told() {
        assert!(told(tampered(|tree, old| drop(tree.insert("a", old).unwrap()))).contains("old versions"));
    }

    #[test]
    fn a_record_that_came_back_is_told() {
        let back = tampered(|tree, _| drop(tree.insert("c", record::seal(b"c", b"1")).unwrap()));
        assert!(told(back).contains("3 records where 2"));
    }

    #[test]
    fn a_lost_head_and_a_lost_tree_are_told() {
        assert!(told(tampered(|tree, _| drop(tree.remove(HEAD).unwrap()))).contains("no head"));
        assert!(told(tampered(|tree, _| tree.clear().unwrap())).contains("2 commits were acknowledged"));
    }

    #[test]
    fn a_commit_before_its_watermark_is_kept_and_two_are_not() {
        let behind = |by: u64| {
            let dir = tempfile::tempdir().unwrap();
            let mut journal = opened(dir.path()).unwrap();
            for commit in 1..=4 - by {
                journal
                    .commit(&changes(&[("a", Some(&commit.to_string()))]), commit)
                    .unwrap();
            }
            let kept = std::fs::read(dir.path().join("watermark")).unwrap();
            for commit in 5 - by..=4 {
                journal
                    .commit(&changes(&[("a", Some(&commit.to_string()))]), commit)
                    .unwrap();
            }
            drop(journal);
            std::fs::write(dir.path().join("watermark"), kept).unwrap();
            opened(dir.path()).map(|journal| (journal.head.commit, journal.watermark.mark().commit))
        };
        assert_eq!(behind(1).unwrap(), (4, 4));
        assert!(matches!(behind(2), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn another_history_of_the_same_length_is_told() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (dir, value) in [(&one, "1"), (&other, "2")] {
            opened(dir.path())
                .unwrap()
                .commit(&changes(&[("a", Some(value))]), 1)
                .unwrap();
        }
        std::fs::copy(one.path().join("watermark"), other.path().join("watermark")).unwrap();
        assert!(told(opened(other.path())).contains("not the one that was acknowledged"));
    }

    #[test]
    fn a_failed_write_latches() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = opened(dir.path()).unwrap();
        // A watermark that cannot be written: its descriptor is open for reading alone.
        journal.watermark.make_unwritable();
        assert!(matches!(
            journal.commit(&changes(&[("a", Some("1"))]), 1),
            Err(StoreError::Io { .. })
        ));
        assert!(matches!(
            journal.commit(&changes(&[("a", Some("1"))]), 1),
            Err(StoreError::Latched { .. })
        ));
        assert!(matches!(journal.get(b"a"), Err(StoreError::Latched { .. })));
    }
}
