//! What a writer has said, line by line, until its power was cut.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};

/// What a writer has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The lines that acknowledge something.
    pub(crate) count: u64,
    /// The last number that is durable, with all before it.
    pub(crate) last: Option<u64>,
    /// The last vote that is durable.
    pub(crate) vote: Option<u64>,
    /// The last number that it began to write.
    pub(crate) begun: Option<u64>,
    /// It replaces everything by what this number stands for, and has not acknowledged it yet.
    pub(crate) replacing: Option<u64>,
}

impl Acknowledged {
    /// Takes a line of the writer's.
    pub(crate) fn take(&mut self, line: &str) -> Result<()> {
        let said = || format!("the writer said {line:?}");
        let (word, number) = line.split_once(' ').with_context(said)?;
        let number: u64 = number.parse().with_context(said)?;
        let held = match word {
            "ack" => &mut self.last,
            "vote" => &mut self.vote,
            "begin" => &mut self.begun,
            "replace" => &mut self.replacing,
            // All there is to acknowledge.
            "nothing" => {
                self.count += 1;
                return Ok(());
            }
            _ => bail!(said()),
        };
        ensure!(held.is_none_or(|held| held < number), "{} after {held:?}", said());
        *held = Some(number);
        match word {
            "ack" => {
                self.count += 1;
                self.replacing = None;
            }
            "vote" => self.count += 1,
            _ => {}
        }
        Ok(())
    }

    /// What has to be there where this was killed, and whoever opened the store then says that `found` is durable; `None` when a kill alone
    /// took something away.
    pub(crate) fn killed(self, found: Self) -> Option<Self> {
        let count = self.count + found.count;
        let (last, vote) = match (found.last, self.replacing) {
            (Some(_), _) if self.last <= found.last && self.vote <= found.vote => (found.last, found.vote),
            // What was being replaced is gone.
            (None, Some(_)) => return Some(Self { count, ..self }),
            _ => return None,
        };
        Some(Self {
            count,
            last,
            vote,
            begun: None,
            replacing: None,
        })
    }

    /// Whether a store may stand at this number: no earlier than what was acknowledged, and never ahead of what was
    /// written.
    pub(crate) fn allows(&self, at: u64) -> bool {
        let lived = self.last <= Some(at) && Some(at) <= self.begun.max(self.last);
        lived || self.replacing == Some(at)
    }
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.last, self.vote) {
            (Some(last), Some(vote)) => write!(f, "{last} and vote {vote} were acknowledged")?,
            (Some(last), None) => write!(f, "{last} was acknowledged")?,
            _ => f.write_str("nothing was acknowledged")?,
        }
        if let Some(begun) = self.begun {
            write!(f, ", {begun} begun")?;
        }
        if let Some(replacing) = self.replacing {
            write!(f, ", everything was being replaced by {replacing}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn heard(lines: &[&str]) -> Acknowledged {
        let mut acknowledged = Acknowledged::default();
        lines.iter().for_each(|line| acknowledged.take(line).unwrap());
        acknowledged
    }

    #[test]
    fn acknowledgements_only_grow_and_anything_else_is_an_error() {
        let mut acknowledged = heard(&["ack 4", "vote 5", "begin 9", "ack 9"]);
        assert_eq!(
            acknowledged,
            Acknowledged {
                count: 3,
                last: Some(9),
                vote: Some(5),
                begun: Some(9),
                replacing: None,
            }
        );
        for line in [
            "ack 9", "ack 3", "vote 5", "begin 9", "ack", "ack x", "done 12", "",
        ] {
            assert!(acknowledged.take(line).is_err(), "{line:?}");
        }
        assert_eq!(acknowledged.last, Some(9));
    }

    #[test]
    fn a_store_stands_between_what_was_acknowledged_and_what_was_begun() {
        let acknowledged = heard(&["begin 3", "ack 3", "begin 5", "begin 8"]);
        let allowed: Vec<u64> = (0..12).filter(|at| acknowledged.allows(*at)).collect();
        assert_eq!(allowed, [3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn what_is_found_after_a_kill_is_what_has_to_be_there_and_never_less_than_before() {
        let killed = heard(&["ack 4", "vote 5", "begin 9"]);
        let found = heard(&["vote 5", "ack 7"]);
        let expected = Acknowledged { count: 4, ..found };
        assert_eq!(killed.killed(found), Some(expected));
        for less in [&["vote 5", "ack 3"] as &[_], &["ack 7"], &["nothing 0"]] {
            assert_eq!(killed.killed(heard(less)), None, "{less:?}");
        }
        let replacing = heard(&["ack 4", "begin 5", "replace 9"]);
        let nothing = replacing.killed(heard(&["nothing 0"]));
        assert!(nothing.is_some_and(|left| left.replacing == Some(9) && left.count == 2));
        let replaced = replacing.killed(heard(&["ack 9"]));
        assert!(replaced.is_some_and(|left| left.allows(9) && !left.allows(5)));
    }

    #[test]
    fn a_replacement_is_also_allowed_and_over_when_it_is_acknowledged() {
        let mut acknowledged = heard(&["begin 3", "ack 3", "begin 4", "replace 20"]);
        assert!(acknowledged.allows(4) && acknowledged.allows(20) && !acknowledged.allows(19));
        acknowledged.take("ack 20").unwrap();
        assert_eq!(acknowledged.replacing, None);
        assert!(!acknowledged.allows(4) && acknowledged.allows(20) && !acknowledged.allows(21));
    }
}
