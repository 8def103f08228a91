//! Judgements: what each rule says of an instance, and so the drift between compiled and facts.
//!
//! One failing check per differing field, so that every difference is one finding that names its field. No check
//! cuts another one short.

mod beyond;
mod claim;
mod config;
mod env;
mod exceptions;
mod guardrail;
mod live;
mod live_mounts;
mod mounts;
mod privilege;
mod sets;
mod sheet;
mod user;

pub use claim::Identity;
pub(crate) use claim::is_unknown_instance;
pub use guardrail::SAFE_SYSCTLS;
pub use privilege::{DANGEROUS_CAPABILITIES, RUNTIME_SOCKETS, SENSITIVE_PATHS};

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::compile::{Compiled, CompiledWorkload, JUDGED_CONTROLS};
use crate::digest::Digest;
use crate::expression::Subject;
use crate::facts::{Evidence, HostFacts, Instance, InstanceId};
use crate::model::{Control, Mode, Modes, Name, ObjectKey, RuleId, Severity};
use crate::rules;

/// What a check found. Only `Pass` counts as passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// It does not hold, and an exception lifts it.
    Excepted,
    /// Proved not to apply.
    NotApplicable,
    /// Could not be judged, for the reason given.
    NotEvaluated,
    /// Judging it failed.
    Error,
}

/// One rule's word on one field of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The control.
    pub control: Control,
    /// The rule, such as `config/mounts` or `privilege/is-root`.
    pub rule: RuleId,
    /// The field of the `config` block, or of the live view, it is about (`mounts[/data].access`).
    pub field: Cow<'static, str>,
    /// What was found.
    pub result: Outcome,
    /// What the policy wants; absent on a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What there is; absent on a pass. Values of environment variables are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// A sentence for a person: why, or the remedy.
    pub reason: Cow<'static, str>,
    /// How bad a failure is.
    pub severity: Severity,
    /// The object that decided: a workload, guardrail or exception.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<ObjectKey>,
}

/// Which workload an instance is held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Claim {
    /// One workload.
    Workload {
        /// Which.
        name: Name,
        /// Whether by digest (entitled to exceptions and permissions) or by hints alone (only obliged).
        entitled: bool,
    },
    /// Several claims: held to the requirements of all.
    Ambiguous(Vec<Name>),
    /// Of no workload.
    Unknown,
}

/// Everything said of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// Whose.
    pub instance: InstanceId,
    /// Its name, a hint.
    pub name: String,
    /// Its image config digest, if it is known.
    pub image: Option<Digest>,
    /// What it is held to.
    pub claim: Claim,
    /// The mode wished per control: the strictest of workload and guardrails.
    pub wanted: Vec<(Control, Mode)>,
    /// Every check, sorted by control, rule, field.
    pub checks: Vec<Check>,
    /// Exceptions in force whose scope the instance is in, and that lifted nothing: no longer needed here.
    pub unneeded_exceptions: Vec<Name>,
}

impl Judgement {
    /// The mode wished for a control.
    pub fn wanted(&self, control: Control) -> Mode {
        self.wanted
            .iter()
            .find(|(of, _)| *of == control)
            .map_or(Mode::Monitor, |(_, mode)| *mode)
    }

    /// The checks that fail.
    pub fn failing(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.result == Outcome::Fail)
    }
}

/// The other instances of a host, to resolve whose namespace is shared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peers<'a>(Option<&'a BTreeMap<InstanceId, Instance>>);

impl<'a> Peers<'a> {
    /// Those of a host's facts.
    pub const fn of(facts: &'a HostFacts) -> Self {
        Self(Some(&facts.instances))
    }

    /// These.
    pub const fn among(instances: &'a BTreeMap<InstanceId, Instance>) -> Self {
        Self(Some(instances))
    }
}

/// What is judged of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// Configuration and live view.
    Whole,
    /// The configuration alone.
    Recorded,
    /// The same, with a process that is started in what runs in the place of its first one.
    Process,
}

/// Judges an instance at an instant. Whose namespaces it shares is not looked up: see [`judge_among`].
pub fn judge(compiled: &Compiled, instance: &Instance, at: Timestamp) -> Judgement {
    judge_view(compiled, instance, Peers::default(), at, View::Whole)
}

/// Judges an instance of a host whose other instances are known.
pub fn judge_among(compiled: &Compiled, instance: &Instance, peers: Peers<'_>, at: Timestamp) -> Judgement {
    judge_view(compiled, instance, peers, at, View::Whole)
}

/// Judges a recorded configuration, of which nothing runs: the rules about processes and live mounts are left out.
pub fn judge_recorded(compiled: &Compiled, instance: &Instance, at: Timestamp) -> Judgement {
    judge_view(compiled, instance, Peers::default(), at, View::Recorded)
}

/// Judges a launch: as what the instance is held to, and then as each other workload that lists its image. Which of them it is, a label
/// alone says, and whoever launches an instance chooses its labels: what is enforced of any of them holds for it. So does what is enforced of any that
/// labels alone tell, where those of the instance are not read.
pub fn judge_launch(compiled: &Compiled, instance: &Instance, at: Timestamp) -> Vec<Judgement> {
    judge_as_each(compiled, instance, at, View::Recorded)
}

/// Judges what is started in an instance that runs, which `instance` has for its first process: as [`judge_launch`] does. A guardrail's check
/// finds its command in `exec`.
pub fn judge_process(compiled: &Compiled, instance: &Instance, at: Timestamp) -> Vec<Judgement> {
    judge_as_each(compiled, instance, at, View::Process)
}

fn judge_as_each(compiled: &Compiled, instance: &Instance, at: Timestamp, view: View) -> Vec<Judgement> {
    let held = claim::held(compiled, instance);
    let rivals = claim::rivals(compiled, instance, &held);
    std::iter::once(held)
        .chain(rivals.into_iter().map(|rival| vec![rival]))
        .map(|held| judge_as(compiled, instance, &held, Peers::default(), at, view))
        .collect()
}

/// The difference between what a set means and what an instance is: the failing checks.
pub fn drift(compiled: &Compiled, instance: &Instance, at: Timestamp) -> Vec<Check> {
    judge(compiled, instance, at)
        .checks
        .into_iter()
        .filter(|check| check.result == Outcome::Fail)
        .collect()
}

/// Which workload an instance is held to.
pub fn claim<'a>(compiled: &Compiled, instance: impl Into<Identity<'a>>) -> Claim {
    claim::claim(compiled, &claim::held(compiled, instance))
}

fn judge_view(
    compiled: &Compiled,
    instance: &Instance,
    peers: Peers<'_>,
    at: Timestamp,
    view: View,
) -> Judgement {
    let held = claim::held(compiled, instance);
    judge_as(compiled, instance, &held, peers, at, view)
}

fn judge_as(
    compiled: &Compiled,
    instance: &Instance,
    held: &[claim::Held],
    peers: Peers<'_>,
    at: Timestamp,
    view: View,
) -> Judgement {
    let workloads: Vec<&CompiledWorkload> = held
        .iter()
        .map(|held| &compiled.workloads()[held.place])
        .collect();
    let mut sheet = sheet::Sheet::new();

    for workload in &workloads {
        sheet.decided_by(Some(&workload.key));
        config::judge(
            &mut sheet,
            &workload.spec.config,
            instance,
            &config::Place { compiled, peers },
        );
    }
    claim::judge(&mut sheet, compiled, &workloads);
    sheet.decided_by(None);
    beyond::judge(&mut sheet, &instance.config);
    // What follows is the word of the one workload that it is held to, if there is one.
    sheet.decided_by(match workloads.as_slice() {
        [only] => Some(&only.key),
        _ => None,
    });
    let live = match view {
        View::Recorded | View::Process => None,
        View::Whole => Some(&instance.live),
    };
    match live {
        None => {}
        Some(Evidence::Seen(live)) => live::judge(&mut sheet, &instance.config, live),
        Some(Evidence::Missing(reason)) => live::skip(&mut sheet, reason),
    }
    privilege::judge(&mut sheet, &instance.config, live);
    let subject = Subject {
        instance,
        workloads: &workloads,
        is_process: view == View::Process,
    };
    guardrail::judge(&mut sheet, compiled, &subject);

    let mut checks = sheet.finish();
    let unneeded_exceptions = exceptions::apply(compiled, held, instance, at, &mut checks);
    checks.sort_by(|a, b| {
        (a.control, &a.rule, &a.field, &a.decided_by).cmp(&(b.control, &b.rule, &b.field, &b.decided_by))
    });
    Judgement {
        instance: instance.id.clone(),
        name: instance.name.clone(),
        image: instance.image.seen().copied(),
        claim: claim::claim(compiled, held),
        wanted: wanted(compiled, &workloads),
        checks,
        unneeded_exceptions,
    }
}

/// The strictest mode wished per control by anything that may run on the host, whether it runs now or not.
pub fn wishes(compiled: &Compiled) -> BTreeMap<Control, Mode> {
    let alone = compiled.workloads().iter().map(|workload| vec![workload]);
    let mut strictest: BTreeMap<Control, Mode> = BTreeMap::new();
    for held_to in alone.chain([Vec::new()]) {
        for (control, mode) in wanted(compiled, &held_to) {
            let held = strictest.entry(control).or_insert(mode);
            *held = mode.max(*held);
        }
    }
    strictest
}

/// The mode wished for a control of an instance, without judging it: the strictest of what it is held to and of each other workload that
/// lists its image, as [`judge_launch`] has it.
pub fn wanted_mode(compiled: &Compiled, instance: &Instance, control: Control) -> Mode {
    let held = claim::held(compiled, instance);
    let rivals = claim::rivals(compiled, instance, &held);
    std::iter::once(held)
        .chain(rivals.into_iter().map(|rival| vec![rival]))
        .flat_map(|held| {
            let workloads: Vec<&CompiledWorkload> = held
                .iter()
                .map(|held| &compiled.workloads()[held.place])
                .collect();
            wanted(compiled, &workloads)
        })
        .filter(|(of, _)| *of == control)
        .map(|(_, mode)| mode)
        .max()
        .unwrap_or(Mode::Monitor)
}

/// The strictest mode that the workloads and the selecting guardrails ask for, per control. Of controls that this version does
/// not judge, the wishes to enforce: they must be seen to be unfulfilled.
fn wanted(compiled: &Compiled, workloads: &[&CompiledWorkload]) -> Vec<(Control, Mode)> {
    let least = compiled
        .guardrails()
        .iter()
        .filter(|guardrail| guardrail.selects(workloads.iter().copied()))
        .map(|guardrail| guardrail.mode)
        .max();
    let default = &Modes::default();
    let asked = |control: Control| {
        workloads
            .iter()
            .map(move |workload| workload.spec.mode.as_ref().unwrap_or(default).of(control))
    };
    Control::ALL
        .iter()
        .filter_map(|control| {
            if JUDGED_CONTROLS.contains(control) {
                let wanted = asked(*control).chain(least).max().unwrap_or(Mode::Monitor);
                return Some((*control, wanted));
            }
            let wanted = asked(*control).max()?;
            (wanted == Mode::Enforce).then_some((*control, wanted))
        })
        .collect()
}

/// The rule of a check, if this version knows it.
pub fn rule_of(check: &Check) -> Option<&'static rules::Rule> {
    rules::find(check.rule.as_str())
}
