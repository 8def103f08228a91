//! The stores that are cut: which programs write and read them, and what their lines mean.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::programs::Programs;

/// A store under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The controller's log and vote.
    ControllerLog,
    /// The agent's ledger and spool.
    Ledger,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControllerLog => "controller-log",
            Self::Ledger => "ledger",
        })
    }
}

/// What a writer has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The lines.
    pub(crate) count: u64,
    /// The last number that is durable, with all before it.
    pub(crate) last: Option<u64>,
    /// The last vote that is durable.
    pub(crate) vote: Option<u64>,
}

impl Acknowledged {
    /// Takes a line of the writer's.
    pub(crate) fn take(&mut self, line: &str) -> Result<()> {
        let (word, number) = line
            .split_once(' ')
            .with_context(|| format!("the writer said {line:?}"))?;
        let number: u64 = number
            .parse()
            .with_context(|| format!("the writer said {line:?}"))?;
        let held = match word {
            "ack" => &mut self.last,
            "vote" => &mut self.vote,
            _ => bail!("the writer said {line:?}"),
        };
        if held.is_some_and(|held| held >= number) {
            bail!("the writer said {line:?} after {held:?}");
        }
        *held = Some(number);
        self.count += 1;
        Ok(())
    }
}

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ControllerLog, Self::Ledger];

    /// Starts a writer.
    pub(crate) fn writer(self, programs: &Programs, store: &Path, barrier: bool, seed: u64) -> Result<Line> {
        let store = store.to_str().context("the store's path is not UTF-8")?;
        let barrier = if barrier { "on" } else { "off" };
        let seed = seed.to_string();
        let (program, arguments) = match self {
            Self::ControllerLog => (
                "verger-store-writer",
                vec![
                    "--dir",
                    store,
                    "--kind",
                    "log",
                    "--barrier",
                    barrier,
                    "--seed",
                    &seed,
                ],
            ),
            Self::Ledger => ("verger-ledger-writer", vec!["write", store, "--barrier", barrier]),
        };
        line(programs, program, &arguments)
    }

    /// Starts a reader that compares with what was acknowledged.
    pub(crate) fn reader(
        self,
        programs: &Programs,
        store: &Path,
        acknowledged: &Acknowledged,
    ) -> Result<Line> {
        let store = store.to_str().context("the store's path is not UTF-8")?;
        let last = acknowledged.last.context("nothing was acknowledged")?.to_string();
        let vote = acknowledged.vote.map(|vote| vote.to_string());
        match self {
            Self::ControllerLog => {
                let mut arguments = vec!["verify", "--dir", store, "--kind", "log", "--acked", &last];
                if let Some(vote) = &vote {
                    arguments.extend(["--voted", vote]);
                }
                line(programs, "verger-store-reader", &arguments)
            }
            Self::Ledger => line(
                programs,
                "verger-ledger-writer",
                &["verify", store, "--acked", &last],
            ),
        }
    }

    /// Whether a reader ended as one does that has judged the store; others say that the rig is wrong.
    pub(crate) fn judged(self, code: i32, stderr: &str) -> bool {
        /// A panic: a store that brings its reader down is bad too.
        const PANIC: i32 = 101;
        match self {
            Self::ControllerLog => matches!(code, 0 | 1 | 3 | PANIC),
            Self::Ledger => {
                matches!(code, 0 | 1 | PANIC) && !stderr.starts_with("verger-ledger-writer write")
            }
        }
    }

    /// The last number, and the vote, that the reader says are there.
    pub(crate) fn held(self, stdout: &str) -> Option<(u64, Option<u64>)> {
        let words: Vec<&str> = stdout.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse().ok()
        };
        Some((after("last")?, after("vote")))
    }
}

fn line(programs: &Programs, program: &str, arguments: &[&str]) -> Result<Line> {
    Ok(Line {
        program: programs.path(program)?,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn acknowledgements_only_grow_and_anything_else_is_an_error() {
        let mut acknowledged = Acknowledged::default();
        for line in ["ack 4", "vote 5", "ack 9"] {
            acknowledged.take(line).unwrap();
        }
        assert_eq!(
            acknowledged,
            Acknowledged {
                count: 3,
                last: Some(9),
                vote: Some(5)
            }
        );
        for line in ["ack 9", "ack 3", "vote 5", "ack", "ack x", "done 12", ""] {
            assert!(acknowledged.take(line).is_err(), "{line:?}");
        }
        assert_eq!(acknowledged.last, Some(9));
    }

    #[test]
    fn the_rig_takes_no_readers_refusal_of_its_arguments_for_a_bad_store() {
        assert!(Kind::ControllerLog.judged(3, "") && Kind::ControllerLog.judged(1, ""));
        assert!(!Kind::ControllerLog.judged(2, "--dir is missing"));
        assert!(Kind::Ledger.judged(1, "the finding of round 3 is gone"));
        assert!(!Kind::Ledger.judged(1, "verger-ledger-writer write DIR [--barrier on|off]"));
    }

    #[test]
    fn what_a_reader_found_is_read_from_its_line() {
        let held = |kind: Kind, line| kind.held(line);
        assert_eq!(
            held(
                Kind::ControllerLog,
                "first 0 last 41 records 42 vote 40 match yes\n"
            ),
            Some((41, Some(40)))
        );
        assert_eq!(
            held(Kind::ControllerLog, "first - last - records 0 vote - match no\n"),
            None
        );
        assert_eq!(
            held(Kind::Ledger, "last 17 waiting 9 epoch 2\n"),
            Some((17, None))
        );
    }
}
