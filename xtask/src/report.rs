//! Runs named steps, goes on after a failure, and says at the end what passed, failed and was skipped.

use std::time::Instant;

use anyhow::{Result, bail};

/// How a step that did not fail ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Not run, for this reason. Counted and listed, never silent.
    Skipped(String),
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<(String, String)>,
}

impl Report {
    /// Runs one step. `rerun` is the command that runs this step alone.
    pub(crate) fn step(&mut self, name: &str, rerun: &str, work: impl FnOnce() -> Result<Outcome>) {
        println!("==> {name}");
        let began = Instant::now();
        let result = work();
        let seconds = began.elapsed().as_secs_f64();
        match result {
            Ok(Outcome::Passed) => {
                self.passed += 1;
                println!("    {name}: passed ({seconds:.1} s)");
            }
            Ok(Outcome::Skipped(reason)) => {
                println!("    {name}: SKIPPED, {reason}");
                self.skipped.push((name.into(), reason));
            }
            Err(error) => {
                println!("    {name}: FAILED ({seconds:.1} s): {error:#}\n    run it alone: {rerun}");
                self.failed.push(format!("{name}: {rerun}"));
            }
        }
    }

    /// Prints the summary; fails when a step failed, or when none was run.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n{}", self.summary());
        if !self.failed.is_empty() {
            bail!("{} of the checks failed", self.failed.len());
        }
        if self.passed == 0 {
            bail!("nothing was checked");
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let mut lines: Vec<String> = self
            .skipped
            .iter()
            .map(|(name, why)| format!("skipped  {name}: {why}"))
            .collect();
        lines.extend(self.failed.iter().map(|name| format!("FAILED   {name}")));
        lines.push(format!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_stop_the_later_steps_and_fails_the_whole() {
        let mut report = Report::default();
        report.step("one", "rerun one", || bail!("broken"));
        report.step("two", "rerun two", || Ok(Outcome::Passed));
        report.step("three", "rerun three", || {
            Ok(Outcome::Skipped("no such tool".into()))
        });
        assert_eq!(
            report.summary(),
            "skipped  three: no such tool\nFAILED   one: rerun one\n1 passed, 1 failed, 1 skipped"
        );
        assert!(report.finish().is_err());
    }

    #[test]
    fn nothing_but_skipped_steps_is_no_success() {
        let mut report = Report::default();
        report.step("one", "rerun", || Ok(Outcome::Skipped("absent".into())));
        assert!(report.finish().is_err());
    }
}
