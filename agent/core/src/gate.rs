//! What the gate is answered: whether something may be launched.
//!
//! A launch is held to what the running instance will be held to, by the same judgements; what would be a failing check there is a
//! refusal here, where the control is in mode `enforce`. A check that could not be judged is no pass: nothing is let through because
//! it could not be seen, unless the policy says `any` of it; and what cannot even be identified is refused as soon as the policy has anything refused.

mod tighten;

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use verger_policy::compile::Compiled;
use verger_policy::decide::{is_enforced, may_refuse};
use verger_policy::drift::{Check, Claim, Judgement, Outcome, judge_launch, judge_process};
use verger_policy::facts::{Evidence, Instance};
use verger_policy::model::{CHECK_RULES, Kind, Name, printable_within};

pub use tighten::{Tightening, is_made_for_more, is_on, takes_away, tightening};

/// The most differences that a refusal tells; it says how many more there are.
const TOLD: usize = 3;
/// The longest value that it tells, characters.
const VALUE: usize = 200;
/// Rules about one process, which hold for every process that is started in an instance.
const PROCESS_RULES: [&str; 5] = [
    "config/user",
    "config/capabilities",
    "config/no-new-privileges",
    "config/seccomp",
    "config/security-labels",
];
/// The rule about what no check reads, and how its fields of a process begin.
const UNREAD: &str = "config/unread";
const UNREAD_OF_PROCESS: &str = "unread[process.";

/// Fields of expressions that are about one process: a guardrail's own check that looks at one holds for every process, too.
/// What it looks at cannot be told of one that cannot be read.
const PROCESS_FIELDS: [&str; 11] = [
    "ambientCapabilities",
    "apparmor",
    "capabilities",
    "exec",
    "expression",
    "noNewPrivileges",
    "seccomp",
    "user.gid",
    "user.groups",
    "user.hostUid",
    "user.uid",
];

/// Something that a runtime is called to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch<'a> {
    /// An instance is made of a config.
    Config {
        /// Its id.
        id: &'a str,
        /// Its bundle: the folder that the config is in.
        bundle: &'a Path,
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
    /// Why it cannot be identified; what is missing of one that is identified is missing evidence.
    fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String>;

    /// The pid, on the host, of the first process of an instance that was made. Blocks on the file system.
    ///
    /// # Errors
    /// Why it is not known.
    fn init_pid(&self, id: &str) -> Result<u32, String>;
}

/// Why something is not launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    epoch: u64,
    cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// Which instance it is cannot be told, for this reason.
    Unidentified(String),
    /// It is not as it should be.
    Differs {
        claim: Claim,
        /// Other workloads that list its image, and of which it is not all that is enforced.
        rivals: Vec<Name>,
        /// Workloads that do not, and that it could be of by labels, which are not read.
        possible: Vec<Name>,
        /// Whether its labels are not read.
        unlabelled: bool,
        /// The gravest first; never empty.
        checks: Vec<Check>,
    },
}

impl Refusal {
    /// What differs, the gravest first; empty where the instance could not be identified.
    pub fn checks(&self) -> &[Check] {
        match &self.cause {
            Cause::Unidentified(_) => &[],
            Cause::Differs { checks, .. } => checks,
        }
    }
}

/// Decides about a launch of what is known, or is not, for the reason given.
///
/// # Errors
/// When anything of it does not pass that is enforced, or it cannot be identified and anything at all is.
pub fn decide(
    compiled: &Compiled,
    launch: &Launch<'_>,
    known: Result<&Instance, &str>,
    at: Timestamp,
) -> Result<(), Refusal> {
    let refused = |cause| {
        Err(Refusal {
            epoch: compiled.epoch(),
            cause,
        })
    };
    // Only what is of an image can be told from what is blessed.
    let identified = known.and_then(|instance| match &instance.image {
        Evidence::Seen(_) => Ok(instance),
        Evidence::Missing(why) => Err(why),
    });
    let instance = match identified {
        Ok(instance) => instance,
        Err(why) if may_refuse(compiled) => return refused(Cause::Unidentified(why.to_owned())),
        Err(_) => return Ok(()),
    };
    let is_process = matches!(launch, Launch::Process { .. });
    let refusing = |judgement: &Judgement| -> Vec<Check> {
        let enforced = judgement
            .checks
            .iter()
            .filter(|check| is_enforced(compiled, judgement, check))
            .filter(|check| !is_process || is_of_processes(check))
            .filter(|check| match check.result {
                Outcome::Fail | Outcome::Error => true,
                Outcome::NotEvaluated => !check.is_opted_out(),
                Outcome::Pass | Outcome::Excepted | Outcome::NotApplicable => false,
            });
        enforced.cloned().collect()
    };
    let judged = match is_process {
        true => judge_process(compiled, instance, at),
        false => judge_launch(compiled, instance, at),
    };
    let mut judgements = judged.into_iter();
    let Some(own) = judgements.next() else {
        return refused(Cause::Unidentified("nothing of it was judged".to_owned()));
    };
    let mut checks = refusing(&own);
    let (mut rivals, mut possible) = (Vec::new(), Vec::new());
    for rival in judgements {
        let found = refusing(&rival);
        // What holds of every instance is told once.
        let told = |check: &Check| {
            let same = |told: &Check| {
                (&told.rule, &told.field, &told.actual) == (&check.rule, &check.field, &check.actual)
            };
            checks.iter().any(same)
        };
        let news: Vec<Check> = found.into_iter().filter(|check| !told(check)).collect();
        if !news.is_empty()
            && let Claim::Workload { name, entitled } = rival.claim
        {
            if entitled { &mut rivals } else { &mut possible }.push(name);
        }
        checks.extend(news);
    }
    if checks.is_empty() {
        return Ok(());
    }
    checks.sort_by_key(|check| (check.result != Outcome::Fail, std::cmp::Reverse(check.severity)));
    refused(Cause::Differs {
        claim: own.claim,
        rivals,
        possible,
        unlabelled: !instance.id.runtime.tells_labels(),
        checks,
    })
}

/// Whether a check is about a process, and not about what all of an instance share.
fn is_of_processes(check: &Check) -> bool {
    let rule = check.rule.as_str();
    PROCESS_RULES.contains(&rule)
        || rule.starts_with("privilege/")
        || (rule == UNREAD && check.field.starts_with(UNREAD_OF_PROCESS))
        || rule.starts_with(CHECK_RULES)
            && check
                .field
                .split(", ")
                .any(|field| PROCESS_FIELDS.contains(&field))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.epoch;
        match &self.cause {
            Cause::Unidentified(why) => write!(
                f,
                "it cannot be judged: {}; policy of epoch {epoch} enforces, so what cannot be judged is refused",
                printable_within(why, 2 * VALUE)
            ),
            Cause::Differs {
                claim,
                rivals,
                possible,
                unlabelled,
                checks,
            } => {
                let fails = |check: &&Check| check.result == Outcome::Fail;
                write_claim(f, claim, checks.iter().filter(fails))?;
                if !rivals.is_empty() {
                    let rivals: Vec<&str> = rivals.iter().map(|name| name.as_str()).collect();
                    write!(
                        f,
                        ", and its image is also that of {}: a label alone says which it is, so what is enforced of each holds",
                        rivals.join(", ")
                    )?;
                }
                let unread = "labels of Podman's containers are not read";
                if !possible.is_empty() {
                    let possible: Vec<&str> = possible.iter().map(|name| name.as_str()).collect();
                    write!(
                        f,
                        ", and labels could make it one of {}: {unread}, so what is enforced of each holds",
                        possible.join(", ")
                    )?;
                } else if *unlabelled && matches!(claim, Claim::Ambiguous(_)) {
                    write!(
                        f,
                        ", which labels alone tell apart: {unread}; give each an image of its own"
                    )?;
                }
                for check in checks.iter().take(TOLD) {
                    write_check(f, check)?;
                }
                let more = checks.len().saturating_sub(TOLD);
                if more > 0 {
                    write!(f, "; and {more} more")?;
                }
                write!(f, "; policy of epoch {epoch}: ")?;
                match checks.first() {
                    Some(first) if fails(&first) => {
                        write!(
                            f,
                            "launch it as it is blessed, or ask for an Exception of rule {}",
                            first.rule
                        )
                    }
                    // An exception lifts what fails, and nothing else.
                    _ => f.write_str("launch it so that it can be judged, or have the policy ask less of it"),
                }
            }
        }
    }
}

fn write_claim<'a>(
    f: &mut fmt::Formatter<'_>,
    claim: &Claim,
    mut failing: impl Iterator<Item = &'a Check>,
) -> fmt::Result {
    match claim {
        // A guardrail may forbid what is blessed.
        Claim::Workload { name, .. } => {
            let is_its_own = |check: &Check| {
                let object = check.decided_by.as_ref();
                object.is_some_and(|object| object.kind == Kind::Workload && object.name == *name)
            };
            match failing.any(is_its_own) {
                true => write!(f, "it is not what workload {name} is blessed to be"),
                false => write!(
                    f,
                    "it is of workload {name}, and not all that the policy asks of it is seen to hold"
                ),
            }
        }
        Claim::Ambiguous(names) => {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            write!(f, "several workloads claim it ({})", names.join(", "))
        }
        Claim::Unknown => f.write_str("it is of no blessed workload"),
    }
}

fn write_check(f: &mut fmt::Formatter<'_>, check: &Check) -> fmt::Result {
    write!(f, "; {} {}", check.rule, printable_within(&check.field, VALUE))?;
    match (check.result, &check.expected, &check.actual) {
        // Whoever stated the check has said what it means; the expression alone would not.
        (Outcome::Fail, Some(expected), _) if check.rule.as_str().starts_with(CHECK_RULES) => write!(
            f,
            ": {}, as not {}",
            printable_within(&check.reason, VALUE),
            printable_within(expected, VALUE)
        )?,
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
    match &check.decided_by {
        Some(object) => write!(f, " ({object})"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
