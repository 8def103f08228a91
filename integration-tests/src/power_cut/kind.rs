//! The stores that are cut: which programs write and read them, and what their lines mean.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result};

use super::acknowledged::Acknowledged;
use crate::programs::Programs;

/// A store under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The controller's log and vote, as new members have them.
    ControllerLog,
    /// Those of a member that began with redb.
    ControllerRedbLog,
    /// The rows of the controller's applied state.
    ControllerState,
    /// The controller's snapshot files.
    ControllerSnapshot,
    /// The agent's ledger and spool.
    Ledger,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControllerLog => "controller-log",
            Self::ControllerRedbLog => "controller-redb-log",
            Self::ControllerState => "controller-state",
            Self::ControllerSnapshot => "controller-snapshot",
            Self::Ledger => "ledger",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(|kind| kind.to_string());
        let at = known.iter().position(|kind| kind == name);
        at.map(|at| Self::ALL[at])
            .ok_or_else(|| format!("there are: {}", known.join(", ")))
    }
}

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// How long a writer lives. Both bounds are powers of two, each as likely as the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// Up to two to this power acknowledgements.
    pub(crate) acknowledgements: u32,
    /// The cut comes up to two to this power milliseconds after the last of them: within the next writes.
    pub(crate) millis: u32,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ControllerLog,
        Self::ControllerRedbLog,
        Self::ControllerState,
        Self::ControllerSnapshot,
        Self::Ledger,
    ];

    /// How long its writer lives.
    pub(crate) const fn life(self) -> Life {
        let (acknowledgements, millis) = match self {
            Self::ControllerLog | Self::ControllerRedbLog | Self::Ledger => (10, 2),
            // Hundreds of batches may come between two acknowledgements.
            Self::ControllerState => (6, 8),
            // An acknowledgement stands for up to four megabytes.
            Self::ControllerSnapshot => (6, 5),
        };
        Life {
            acknowledgements,
            millis,
        }
    }

    /// Whether something is lost where what is there is not settled first. The state's engine syncs all of it itself when it is opened
    /// (nothing was lost in 20 rounds).
    pub(crate) const fn needs_settling(self) -> bool {
        !matches!(self, Self::ControllerState)
    }

    /// How the controller's programs call it; `None` for the agent's.
    const fn of_controller(self) -> Option<&'static str> {
        match self {
            Self::ControllerLog => Some("log"),
            Self::ControllerRedbLog => Some("redb-log"),
            Self::ControllerState => Some("state"),
            Self::ControllerSnapshot => Some("snapshot"),
            Self::Ledger => None,
        }
    }

    /// Starts a writer. For a planted defect it syncs as little as it can.
    pub(crate) fn writer(
        self,
        programs: &Programs,
        store: &Path,
        barrier: bool,
        seed: u64,
        is_planted: bool,
    ) -> Result<Line> {
        let store = store.to_str().context("the store's path is not UTF-8")?;
        let barrier = if barrier { "on" } else { "off" };
        let seed = seed.to_string();
        match self.of_controller() {
            Some(kind) => line(
                programs,
                "verger-store-writer",
                &[
                    "--dir",
                    store,
                    "--kind",
                    kind,
                    "--barrier",
                    barrier,
                    "--seed",
                    &seed,
                    "--small-chunks",
                    if is_planted { "off" } else { "on" },
                ],
            ),
            None => line(
                programs,
                "verger-ledger-writer",
                &["write", store, "--barrier", barrier],
            ),
        }
    }

    /// Starts who opens what a writer left and says what of it is durable; without settling it, that is a claim.
    pub(crate) fn claimant(self, programs: &Programs, store: &Path, settling: bool) -> Result<Line> {
        let store = store.to_str().context("the store's path is not UTF-8")?;
        let settling = if settling { "on" } else { "off" };
        match self.of_controller() {
            Some(kind) => line(
                programs,
                "verger-store-writer",
                &["--dir", store, "--kind", kind, "--claim", settling],
            ),
            None => line(
                programs,
                "verger-ledger-writer",
                &["claim", store, "--settle", settling],
            ),
        }
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
        let Some(kind) = self.of_controller() else {
            return line(
                programs,
                "verger-ledger-writer",
                &["verify", store, "--acked", &last],
            );
        };
        let mut arguments = vec!["verify", "--dir", store, "--kind", kind, "--acked", &last];
        let more = [
            ("--voted", acknowledged.vote),
            ("--begun", acknowledged.begun),
            ("--replacing", acknowledged.replacing),
        ]
        .map(|(flag, number)| (flag, number.map(|number| number.to_string())));
        for (flag, number) in &more {
            if let Some(number) = number {
                arguments.extend([flag, number.as_str()]);
            }
        }
        line(programs, "verger-store-reader", &arguments)
    }

    /// Whether a reader ended as one does that has judged the store; others say that the rig is wrong.
    pub(crate) fn judged(self, code: i32, stderr: &str) -> bool {
        /// A panic: a store that brings its reader down is bad too.
        const PANIC: i32 = 101;
        match self {
            Self::ControllerLog
            | Self::ControllerRedbLog
            | Self::ControllerState
            | Self::ControllerSnapshot => {
                matches!(code, 0 | 1 | 3 | PANIC)
            }
            Self::Ledger => {
                matches!(code, 0 | 1 | PANIC) && !stderr.starts_with("verger-ledger-writer write")
            }
        }
    }

    /// Whether what a reader says is there is what has to be there; `None` when it does not say.
    pub(crate) fn kept(self, acknowledged: &Acknowledged, stdout: &str) -> Option<bool> {
        let words: Vec<&str> = stdout.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1).copied()
        };
        let number = |name: &str| after(name)?.parse::<u64>().ok();
        Some(match self {
            Self::ControllerLog | Self::ControllerRedbLog => {
                Some(number("last")?) >= acknowledged.last && number("vote") >= acknowledged.vote
            }
            Self::Ledger => Some(number("last")?) >= acknowledged.last,
            Self::ControllerSnapshot => acknowledged.allows(number("last")?),
            Self::ControllerState => match after("mark")? {
                // Nothing may be left only while everything is being replaced.
                "-" => acknowledged.replacing.is_some(),
                mark => acknowledged.allows(mark.parse().ok()?),
            },
        })
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
    use super::*;

    fn acknowledged() -> Acknowledged {
        Acknowledged {
            count: 3,
            last: Some(41),
            begun: Some(44),
            ..Acknowledged::default()
        }
    }

    #[test]
    fn the_rig_takes_no_readers_refusal_of_its_arguments_for_a_bad_store() {
        for kind in [
            Kind::ControllerLog,
            Kind::ControllerRedbLog,
            Kind::ControllerState,
            Kind::ControllerSnapshot,
        ] {
            assert!(kind.judged(3, "") && kind.judged(1, ""));
            assert!(!kind.judged(2, "--dir is missing"));
        }
        assert!(Kind::Ledger.judged(1, "the finding of round 3 is gone"));
        assert!(!Kind::Ledger.judged(1, "verger-ledger-writer write DIR [--barrier on|off]"));
    }

    #[test]
    fn a_kind_is_found_by_its_name_and_another_name_is_told_the_known_ones() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "spool".parse::<Kind>().expect_err("there is no such kind");
        assert!(error.contains("controller-state, controller-snapshot"), "{error}");
    }

    #[test]
    fn a_log_and_a_ledger_keep_what_was_acknowledged() {
        let with_vote = Acknowledged {
            vote: Some(40),
            ..acknowledged()
        };
        for (kind, line, kept) in [
            (
                Kind::ControllerLog,
                "first 0 last 41 records 42 vote 40 match yes\n",
                Some(true),
            ),
            (
                Kind::ControllerLog,
                "first 0 last 41 records 42 vote 39 match yes\n",
                Some(false),
            ),
            (
                Kind::ControllerLog,
                "first 0 last 41 records 42 vote - match yes\n",
                Some(false),
            ),
            (
                Kind::ControllerLog,
                "first 0 last 40 records 41 vote 40 match yes\n",
                Some(false),
            ),
            (
                Kind::ControllerLog,
                "first - last - records 0 vote - match no\n",
                None,
            ),
            (Kind::Ledger, "last 99 waiting 9 epoch 2\n", Some(true)),
            (Kind::Ledger, "last 40 waiting 9 epoch 2\n", Some(false)),
        ] {
            assert_eq!(kind.kept(&with_vote, line), kept, "{kind}: {line}");
        }
    }

    #[test]
    fn a_state_and_a_snapshot_are_never_ahead_of_what_was_written() {
        for (kind, line, kept) in [
            (Kind::ControllerState, "mark 41 rows 9 match yes\n", Some(true)),
            (Kind::ControllerState, "mark 44 rows 9 match yes\n", Some(true)),
            (Kind::ControllerState, "mark 40 rows 9 match yes\n", Some(false)),
            (Kind::ControllerState, "mark 45 rows 9 match yes\n", Some(false)),
            (Kind::ControllerState, "mark - rows 0 match yes\n", Some(false)),
            (Kind::ControllerState, "rows 0\n", None),
            (
                Kind::ControllerSnapshot,
                "last 44 files 2 match yes\n",
                Some(true),
            ),
            (
                Kind::ControllerSnapshot,
                "last 40 files 2 match yes\n",
                Some(false),
            ),
            (
                Kind::ControllerSnapshot,
                "last 45 files 2 match yes\n",
                Some(false),
            ),
            (Kind::ControllerSnapshot, "last - files 0 match no\n", None),
        ] {
            assert_eq!(kind.kept(&acknowledged(), line), kept, "{kind}: {line}");
        }
    }

    #[test]
    fn a_state_may_be_empty_only_while_it_is_being_replaced() {
        let replacing = Acknowledged {
            replacing: Some(60),
            ..acknowledged()
        };
        for (line, kept) in [
            ("mark - rows 0 match yes", true),
            ("mark 60 rows 5 match yes", true),
            ("mark 44 rows 5 match yes", true),
            ("mark 50 rows 5 match yes", false),
        ] {
            assert_eq!(Kind::ControllerState.kept(&replacing, line), Some(kept), "{line}");
        }
    }
}
