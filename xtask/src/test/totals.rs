//! Counts what test runners report.

use anyhow::{Result, bail};

/// Who prints the summary, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    /// One summary at the end: `Summary [  1.2s] 9 tests run: 7 passed (1 slow), 2 failed, 3 skipped`.
    Nextest,
    /// One per crate: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    Libtest,
}

/// What one runner reported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    runner: Runner,
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Whether a summary was seen at all.
    reported: bool,
}

impl Run {
    pub(super) fn of(runner: Runner) -> Self {
        Self {
            runner,
            passed: 0,
            failed: 0,
            skipped: 0,
            reported: false,
        }
    }

    /// Reads one line of output; lines that are no summary count for nothing.
    ///
    /// Nextest repeats, indented, what a failing test printed, a libtest summary among it: only its own form counts,
    /// and of several the last.
    pub(super) fn read(&mut self, line: &str) {
        let counts = match self.runner {
            Runner::Nextest => line
                .trim_start()
                .strip_prefix("Summary [")
                .and_then(|rest| rest.split_once(" run: ")),
            Runner::Libtest => line
                .strip_prefix("test result: ")
                .and_then(|rest| rest.split_once(". ")),
        };
        let Some((_, counts)) = counts else { return };
        if self.runner == Runner::Nextest {
            *self = Self::of(self.runner);
        }
        self.reported = true;
        for part in counts.split([',', ';']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<usize>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" | "timed" => self.failed += count,
                "skipped" | "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Whether something ran and nothing failed.
    pub(super) fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// How many cases passed and failed; what a filter leaves out is not told.
    pub(super) fn counts(&self) -> String {
        format!("{} cases passed, {} failed", self.passed, self.failed)
    }

    /// Takes the runner's own verdict: a run that failed without a failed test (it did not compile) counts as one.
    pub(super) fn ended_well(&mut self, success: bool) {
        if (!success || !self.reported) && self.failed == 0 {
            self.failed = 1;
        }
    }
}

/// The sum of all runs.
#[derive(Debug, Default)]
pub(super) struct Totals {
    passed: usize,
    failed: usize,
    skipped: usize,
    notes: Vec<String>,
}

impl Totals {
    pub(super) fn add(&mut self, name: &str, run: Run, why_skipped: &str) {
        if run.failed > 0 {
            self.notes.push(format!("FAILED   {name}: {}", run.failed));
        }
        if run.skipped > 0 {
            self.notes
                .push(format!("skipped  {name}: {} ({why_skipped})", run.skipped));
        }
        self.passed += run.passed;
        self.failed += run.failed;
        self.skipped += run.skipped;
    }

    pub(super) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        self.notes.push(format!("skipped  {name}: {reason}"));
    }

    pub(super) fn point(&mut self, name: &str, shown: Result<String>) {
        match shown {
            Ok(figure) => {
                println!("    {figure}");
                self.passed += 1;
            }
            Err(error) => {
                self.notes.push(format!("FAILED   prove {name}: {error:#}"));
                self.failed += 1;
            }
        }
    }

    /// Prints the notes and, last, the totals; fails when a test failed or none passed.
    pub(super) fn finish(self) -> Result<()> {
        for note in &self.notes {
            println!("{note}");
        }
        println!("{self}");
        if self.failed > 0 || self.passed == 0 {
            bail!(
                "{}",
                if self.passed == 0 {
                    "no test passed"
                } else {
                    "tests failed"
                }
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(runner: Runner, lines: &[&str], success: bool) -> Run {
        let mut run = Run::of(runner);
        for line in lines {
            run.read(line);
        }
        run.ended_well(success);
        run
    }

    #[test]
    fn both_runners_are_understood() {
        let lines =
            ["     Summary [  13.598s] 24 tests run: 21 passed (1 leaky), 2 failed, 1 timed out, 4 skipped"];
        let run = read(Runner::Nextest, &lines, false);
        assert_eq!((run.passed, run.failed, run.skipped), (21, 3, 4));
        let lines = [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ];
        let run = read(Runner::Libtest, &lines, false);
        assert_eq!((run.passed, run.failed, run.skipped), (4, 2, 1));
    }

    #[test]
    fn what_a_failing_test_printed_is_not_counted() {
        let lines = [
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured",
            "    Summary [ 1s] 99 tests run: 99 passed, 0 skipped",
            "     Summary [   0.1s] 2 tests run: 1 passed, 1 failed, 0 skipped",
        ];
        let run = read(Runner::Nextest, &lines, false);
        assert_eq!((run.passed, run.failed, run.skipped), (1, 1, 0));
    }

    #[test]
    fn a_run_that_did_not_even_compile_is_a_failure() {
        assert_eq!(
            read(Runner::Nextest, &["error: could not compile"], false).failed,
            1
        );
        assert_eq!(
            read(Runner::Libtest, &["nothing to see"], true).failed,
            1,
            "no summary, no success"
        );
    }

    #[test]
    fn a_failed_test_or_no_test_at_all_fails_the_whole() {
        let mut totals = Totals::default();
        totals.add(
            "tests",
            read(
                Runner::Nextest,
                &["Summary [ 1s] 2 tests run: 1 passed, 1 failed, 0 skipped"],
                false,
            ),
            "none",
        );
        assert_eq!(totals.to_string(), "1 passed, 1 failed, 0 skipped");
        assert!(totals.finish().is_err());
        assert!(Totals::default().finish().is_err());
    }
}
