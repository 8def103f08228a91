//! What was asked and answered, and whether that is what one register would have said.
//!
//! The register is the epoch of the policy set: each write is the successor of the one before, so that a read is right exactly where it
//! shows what was acknowledged before it began, or something later that was asked for before it ended, and nothing older than what any
//! read had shown that ended before it began. For such a register that is all of linearizability (Herlihy and Wing, 1990).

use std::collections::BTreeMap;
use std::time::Instant;

use verger_policy::digest::Digest;

/// A read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) epoch: u64,
    pub(super) root: Vec<u8>,
    /// Where it was asked first.
    pub(super) at: String,
}

/// A write.
#[derive(Clone, Copy, Debug)]
struct Write {
    asked: Instant,
    acknowledged: Option<Instant>,
    root: Digest,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    writes: BTreeMap<u64, Write>,
    reads: Vec<Read>,
}

impl History {
    pub(super) fn asked(&mut self, epoch: u64, root: Digest) {
        let write = Write {
            asked: Instant::now(),
            acknowledged: None,
            root,
        };
        self.writes.insert(epoch, write);
    }

    pub(super) fn acknowledged(&mut self, epoch: u64) {
        if let Some(write) = self.writes.get_mut(&epoch) {
            write.acknowledged = Some(Instant::now());
        }
    }

    pub(super) fn read(&mut self, read: Read) {
        self.reads.push(read);
    }

    /// Takes the last one back.
    pub(super) fn take_back_read(&mut self) {
        self.reads.pop();
    }

    /// The root of the set before the last acknowledged.
    pub(super) fn root_before_last(&self) -> Vec<u8> {
        let before = self.writes.range(..self.last()).next_back();
        before.map_or_else(Vec::new, |(_, write)| write.root.as_bytes().to_vec())
    }

    /// Whether anybody asked for it.
    pub(super) fn was_asked(&self, epoch: u64) -> bool {
        self.writes.contains_key(&epoch)
    }

    pub(super) fn reads(&self) -> usize {
        self.reads.len()
    }

    /// The last epoch acknowledged.
    pub(super) fn last(&self) -> u64 {
        let acknowledged = self
            .writes
            .iter()
            .rev()
            .find(|(_, write)| write.acknowledged.is_some());
        acknowledged.map_or(0, |(epoch, _)| *epoch)
    }

    /// What no register would have said.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        // What had been acknowledged, or shown, by when: the highest so far at each moment.
        let mut known: Vec<(Instant, u64)> = self
            .writes
            .iter()
            .filter_map(|(epoch, write)| Some((write.acknowledged?, *epoch)))
            .chain(self.reads.iter().map(|read| (read.ended, read.epoch)))
            .collect();
        known.sort();
        let mut highest = 0;
        for (_, epoch) in &mut known {
            highest = highest.max(*epoch);
            *epoch = highest;
        }
        for read in &self.reads {
            let before = known.partition_point(|(at, _)| *at < read.began);
            let least = before.checked_sub(1).map_or(0, |last| known[last].1);
            if read.epoch < least {
                wrong.push(format!(
                    "a read at {} shows epoch {}, and {least} was known before it began",
                    read.at, read.epoch
                ));
            }
            match self.writes.get(&read.epoch) {
                None if read.epoch == 0 => {}
                Some(write) if write.asked <= read.ended => {
                    if write.root.as_bytes() != read.root.as_slice() {
                        wrong.push(format!(
                            "epoch {} has another root than was asked for",
                            read.epoch
                        ));
                    }
                }
                _ => wrong.push(format!(
                    "a read at {} shows epoch {}, for which nobody had asked",
                    read.at, read.epoch
                )),
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn root(epoch: u64) -> Digest {
        Digest::of(&epoch.to_be_bytes())
    }

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    /// Writes 1 to 3, each asked for at N00 and acknowledged at N50 ms.
    fn history(start: Instant) -> History {
        let write = |epoch: u64| {
            let write = Write {
                asked: at(start, epoch * 100),
                acknowledged: Some(at(start, epoch * 100 + 50)),
                root: root(epoch),
            };
            (epoch, write)
        };
        History {
            writes: (1..=3).map(write).collect(),
            reads: Vec::new(),
        }
    }

    fn read(start: Instant, began: u64, ended: u64, epoch: u64) -> Read {
        Read {
            began: at(start, began),
            ended: at(start, ended),
            epoch,
            root: root(epoch).as_bytes().to_vec(),
            at: "c1".to_owned(),
        }
    }

    #[test]
    fn what_a_register_would_say_is_right_and_nothing_else() {
        let start = Instant::now();
        let wrong = |reads: &[(u64, u64, u64)]| {
            let mut history = history(start);
            for (began, ended, epoch) in reads {
                history.read(read(start, *began, *ended, *epoch));
            }
            history.wrong()
        };
        for right in [
            &[(10, 20, 0)][..],
            // While it is being written either is right.
            &[(110, 120, 0), (110, 120, 1)],
            &[(160, 170, 1)],
            &[(160, 260, 2)],
        ] {
            assert_eq!(wrong(right), Vec::<String>::new(), "{right:?}");
        }
        for (reads, told) in [
            // A stale read.
            (&[(160, 170, 0)][..], "was known before it began"),
            // One before its write.
            (&[(160, 170, 2)][..], "nobody had asked"),
            // One after another read of it.
            (&[(110, 120, 1), (130, 140, 0)][..], "was known before it began"),
        ] {
            let wrong = wrong(reads);
            assert!(wrong.len() == 1 && wrong[0].contains(told), "{wrong:?}");
        }
    }

    #[test]
    fn a_write_that_was_not_acknowledged_may_be_there_or_not_and_a_lost_one_may_not() {
        let start = Instant::now();
        let mut history = history(start);
        if let Some(write) = history.writes.get_mut(&3) {
            write.acknowledged = None;
        }
        assert_eq!(history.last(), 2);
        history.read(read(start, 400, 410, 2));
        history.read(read(start, 420, 430, 3));
        assert!(history.wrong().is_empty());
        // Once shown it is there.
        history.read(read(start, 440, 450, 2));
        assert_eq!(history.wrong().len(), 1);
        let mut lost = self::history(start);
        lost.read(read(start, 400, 410, 2));
        assert_eq!(lost.wrong().len(), 1, "an acknowledged write is lost");
        let mut other = self::history(start);
        other.read(Read {
            root: vec![7; 32],
            ..read(start, 400, 410, 3)
        });
        assert!(other.wrong()[0].contains("another root"));
    }
}
