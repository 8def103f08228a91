//! What is said at a runtime's door: whether something may be launched.
//!
//! A launch is held to what the running instance will be held to, by the same judgements; what would be a failing check there is a
//! refusal here, where the control is in mode `enforce`. A check that could not be judged is no pass: nothing is let through because
//! it could not be seen.

use std::fmt;

use jiff::Timestamp;
use verger_policy::compile::Compiled;
use verger_policy::drift::{Check, Claim, Outcome, judge_recorded};
use verger_policy::facts::Instance;
use verger_policy::model::{Mode, printable_within};

/// The most differences that a refusal tells; it says how many more there are.
const TOLD: usize = 3;
/// The longest value that it tells, characters.
const VALUE: usize = 200;
/// Rules about one process, which hold for every process that is started in an instance.
const PROCESS_RULES: [&str; 4] = [
    "config/user",
    "config/capabilities",
    "config/no-new-privileges",
    "config/seccomp",
];

/// Something that a runtime is called to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch<'a> {
    /// An instance is made of a config.
    Config {
        /// Its id.
        id: &'a str,
        /// The config, as the runtime will read it.
        config: &'a [u8],
    },
    /// One that was made is started.
    Made {
        /// Its id.
        id: &'a str,
    },
    /// A process is started in one that runs.
    Process {
        /// Its id.
        id: &'a str,
        /// The `process` of a config.
        process: &'a [u8],
    },
}

/// The port to what a runtime keeps on its disk: it is never asked while it launches something.
pub trait Bundles: Send + Sync {
    /// The instance as it will be, or as it will be with that process. Blocks on the file system.
    ///
    /// # Errors
    /// Why it cannot be known at all; what is missing of one that is known is missing evidence.
    fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String>;
}

/// Why something is not launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    claim: Claim,
    epoch: u64,
    /// What differs, the gravest first; never empty.
    checks: Vec<Check>,
}

impl Refusal {
    /// What differs, the gravest first; never empty.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

/// Decides about a launch.
///
/// # Errors
/// When anything of it does not pass that is in mode `enforce`.
pub fn decide(
    compiled: &Compiled,
    launch: &Launch<'_>,
    instance: &Instance,
    at: Timestamp,
) -> Result<(), Refusal> {
    let judgement = judge_recorded(compiled, instance, at);
    let is_process = matches!(launch, Launch::Process { .. });
    let mut checks: Vec<Check> = judgement
        .checks
        .iter()
        .filter(|check| judgement.wanted(check.control) == Mode::Enforce)
        .filter(|check| !is_process || is_of_processes(check))
        .filter(|check| match check.result {
            Outcome::Fail | Outcome::NotEvaluated | Outcome::Error => true,
            Outcome::Pass | Outcome::Excepted | Outcome::NotApplicable => false,
        })
        .cloned()
        .collect();
    if checks.is_empty() {
        return Ok(());
    }
    checks.sort_by_key(|check| (check.result != Outcome::Fail, std::cmp::Reverse(check.severity)));
    Err(Refusal {
        claim: judgement.claim,
        epoch: compiled.epoch(),
        checks,
    })
}

/// Whether a check is about a process, and not about what all of an instance share.
fn is_of_processes(check: &Check) -> bool {
    let rule = check.rule.as_str();
    PROCESS_RULES.contains(&rule) || rule.starts_with("privilege/")
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.claim {
            Claim::Workload { name, .. } => write!(f, "it is not what workload {name} is blessed to be")?,
            Claim::Ambiguous(names) => {
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                write!(f, "several workloads claim it ({})", names.join(", "))?;
            }
            Claim::Unknown => f.write_str("it is of no blessed workload")?,
        }
        for check in self.checks.iter().take(TOLD) {
            write!(f, "; {} {}", check.rule, printable_within(&check.field, VALUE))?;
            match (check.result, &check.expected, &check.actual) {
                (Outcome::Fail, Some(expected), Some(actual)) => write!(
                    f,
                    ": expected {}, found {}",
                    printable_within(expected, VALUE),
                    printable_within(actual, VALUE)
                )?,
                (Outcome::Fail, ..) => f.write_str(" does not hold")?,
                _ => write!(
                    f,
                    " could not be judged: {}",
                    printable_within(&check.reason, VALUE)
                )?,
            }
            if let Some(object) = &check.decided_by {
                write!(f, " ({object})")?;
            }
        }
        let more = self.checks.len().saturating_sub(TOLD);
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        let first = self.checks.first().map_or("", |check| check.rule.as_str());
        write!(
            f,
            "; policy of epoch {}: launch it as it is blessed, or ask for an Exception of rule {first}",
            self.epoch
        )
    }
}

#[cfg(test)]
mod tests;
