//! What a policy set means for one host.

mod defaults;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use defaults::passes_as_default;
pub use defaults::{DEFAULTS, Default, DefaultSource};

use jiff::Timestamp;

use crate::digest::Digest;
use crate::expression::{Expression, Fault, MAX_COST};
use crate::model::{
    CHECK_RULES, ContainerHint, Control, Exception, GuardrailCheck, Labels, Mode, Name, ObjectKey,
    PolicyObject, RuleId, Severity, Spec, UnknownInstances, Workload,
};
use crate::rules::{self, Rule};

/// A policy set's meaning for one host: only what selects it, indexed for judging.
///
/// The same for every order of the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    epoch: u64,
    host: Labels,
    workloads: Vec<CompiledWorkload>,
    by_image: BTreeMap<Digest, Vec<usize>>,
    by_repository: BTreeMap<String, Vec<usize>>,
    by_labels_alone: Vec<usize>,
    guardrails: Vec<CompiledGuardrail>,
    exceptions: Vec<CompiledException>,
    exceptions_by_rule: BTreeMap<RuleId, Vec<usize>>,
}

/// A workload that may run on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledWorkload {
    /// Which object it is.
    pub key: ObjectKey,
    /// Labels of the object, which guardrails select by.
    pub labels: Labels,
    /// What it says.
    pub spec: Workload,
}

/// A guardrail that holds on the host, its profile unfolded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledGuardrail {
    /// Which object it is.
    pub key: ObjectKey,
    /// Labels of the workload objects it holds for. Empty: all instances, unknown ones too.
    pub workloads: Labels,
    /// The rules it holds, sorted by id.
    pub rules: Vec<&'static Rule>,
    /// Rules it names that this version does not know or that are no guardrail's: judged *not evaluated*.
    pub unsupported: BTreeSet<RuleId>,
    /// Its own checks, by id.
    pub checks: Vec<CompiledCheck>,
    /// The least mode.
    pub mode: Mode,
    /// What it says of unknown instances. Nothing said: reported.
    pub unknown: Option<UnknownInstances>,
}

/// A check of a guardrail's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledCheck {
    /// The rule that findings and exceptions name it by.
    pub rule: RuleId,
    /// Its expression, or why this version cannot read it.
    pub expression: Result<Expression, Fault>,
    /// What a violation means, and what to do about it.
    pub reason: String,
    /// What it protects.
    pub control: Control,
    /// How bad a violation is.
    pub severity: Severity,
}

/// An exception that may hold on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledException {
    /// Which object it is.
    pub key: ObjectKey,
    /// What it says.
    pub spec: Exception,
}

/// Compiles the objects of a set for a host with these sealed labels.
pub fn compile<'a>(
    objects: impl IntoIterator<Item = &'a PolicyObject>,
    host: &Labels,
    epoch: u64,
) -> Compiled {
    let mut compiled = Compiled {
        epoch,
        host: host.clone(),
        workloads: Vec::new(),
        by_image: BTreeMap::new(),
        by_repository: BTreeMap::new(),
        by_labels_alone: Vec::new(),
        guardrails: Vec::new(),
        exceptions: Vec::new(),
        exceptions_by_rule: BTreeMap::new(),
    };
    for object in objects {
        if !object.host_selector().select(host) {
            continue;
        }
        let key = object.key();
        match &object.spec {
            Spec::Workload(spec) => compiled.workloads.push(CompiledWorkload {
                key,
                labels: object.metadata.labels.clone(),
                spec: (**spec).clone(),
            }),
            Spec::Guardrail(spec) => {
                let mut rules: Vec<&'static Rule> = spec
                    .profile
                    .map(rules::of_profile)
                    .into_iter()
                    .flatten()
                    .collect();
                let mut unsupported = BTreeSet::new();
                for id in &spec.rules {
                    match rules::find(id.as_str()).filter(|rule| rule.is_guardrail()) {
                        Some(rule) => rules.push(rule),
                        None => {
                            unsupported.insert(id.clone());
                        }
                    }
                }
                rules.sort_by_key(|rule| rule.id);
                rules.dedup_by_key(|rule| rule.id);
                compiled.guardrails.push(CompiledGuardrail {
                    key,
                    workloads: spec.select.workloads.clone(),
                    rules,
                    unsupported,
                    checks: checks(&spec.checks, &object.metadata.name),
                    mode: spec.mode.unwrap_or(Mode::Monitor),
                    unknown: spec.unknown,
                });
            }
            Spec::Exception(spec) => compiled.exceptions.push(CompiledException {
                key,
                spec: spec.clone(),
            }),
            Spec::Host(_) | Spec::Role(_) | Spec::RoleBinding(_) => {}
        }
    }
    compiled.index();
    compiled
}

impl Compiled {
    fn index(&mut self) {
        self.workloads.sort_by(|a, b| a.key.cmp(&b.key));
        self.guardrails.sort_by(|a, b| a.key.cmp(&b.key));
        self.exceptions.sort_by(|a, b| a.key.cmp(&b.key));
        for (place, workload) in self.workloads.iter().enumerate() {
            for image in &workload.spec.config.images {
                self.by_image.entry(*image).or_default().push(place);
            }
            match &workload.spec.hint {
                ContainerHint {
                    image: Some(image), ..
                } => {
                    self.by_repository
                        .entry(full_repository(image).to_owned())
                        .or_default()
                        .push(place);
                }
                hint if !hint.is_empty() => self.by_labels_alone.push(place),
                _ => {}
            }
        }
        for (place, exception) in self.exceptions.iter().enumerate() {
            for rule in &exception.spec.rules {
                self.exceptions_by_rule
                    .entry(rule.clone())
                    .or_default()
                    .push(place);
            }
        }
    }

    /// The epoch of the set.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The sealed labels of the host.
    pub const fn host(&self) -> &Labels {
        &self.host
    }

    /// The workloads, by key.
    pub fn workloads(&self) -> &[CompiledWorkload] {
        &self.workloads
    }

    /// The guardrails, by key.
    pub fn guardrails(&self) -> &[CompiledGuardrail] {
        &self.guardrails
    }

    /// The exceptions, by key.
    pub fn exceptions(&self) -> &[CompiledException] {
        &self.exceptions
    }

    /// Whether a guardrail has instances of no workload refused.
    pub fn refuses_unknown(&self) -> bool {
        self.guardrails.iter().any(|guardrail| {
            guardrail.selects(std::iter::empty()) && guardrail.unknown == Some(UnknownInstances::Refuse)
        })
    }

    /// Whether an exception begins or ends after `then` and not after `now`: judgements made at `then` may differ at `now`. So
    /// they may where the clock was set back.
    pub fn time_matters_between(&self, then: Timestamp, now: Timestamp) -> bool {
        let crossed = |edge: Timestamp| then < edge && edge <= now;
        let set_back = now < then && !self.exceptions.is_empty();
        set_back
            || self.exceptions.iter().any(|exception| {
                crossed(exception.spec.not_after) || exception.spec.not_before.is_some_and(crossed)
            })
    }

    /// The workload of this name.
    pub fn workload(&self, name: &Name) -> Option<&CompiledWorkload> {
        let place = self
            .workloads
            .binary_search_by(|workload| workload.key.name.cmp(name))
            .ok()?;
        self.workloads.get(place)
    }

    pub(crate) fn listing(&self, image: &Digest) -> &[usize] {
        self.by_image.get(image).map_or(&[], Vec::as_slice)
    }

    /// Workloads whose hints could be met by an instance of this repository.
    pub(crate) fn hinted<'a>(&'a self, repository: Option<&str>) -> impl Iterator<Item = usize> + 'a {
        let by_name = repository.and_then(|name| self.by_repository.get(full_repository(name)));
        by_name
            .into_iter()
            .flatten()
            .chain(&self.by_labels_alone)
            .copied()
    }

    pub(crate) fn exceptions_from<'a>(
        &'a self,
        rule: &RuleId,
    ) -> impl Iterator<Item = (usize, &'a CompiledException)> {
        let places = self.exceptions_by_rule.get(rule);
        places
            .into_iter()
            .flatten()
            .map(|place| (*place, &self.exceptions[*place]))
    }
}

/// Compiles a guardrail's own checks. No draft asks for more than [`MAX_COST`] of them together; of what was sealed all the same, those for
/// which nothing is left are as if they could not be read.
fn checks(stated: &[GuardrailCheck], guardrail: &Name) -> Vec<CompiledCheck> {
    let mut left = MAX_COST;
    let compile = |check: &GuardrailCheck| {
        let mut compiled = CompiledCheck::of(check, guardrail);
        let cost = compiled.expression.as_ref().map_or(0, Expression::cost);
        match left.checked_sub(cost) {
            Some(rest) => left = rest,
            None => compiled.expression = Err(Fault::too_dear()),
        }
        compiled
    };
    stated.iter().map(compile).collect()
}

impl CompiledCheck {
    fn of(check: &GuardrailCheck, guardrail: &Name) -> Self {
        let reason = match &check.remedy {
            Some(remedy) => format!("{}; {remedy}", check.message.trim_end_matches('.')),
            None => check.message.clone(),
        };
        Self {
            // No draft has a name that is too long for that, and of two that were sealed all the same, both are judged.
            rule: check
                .rule(guardrail)
                .or_else(|| format!("{CHECK_RULES}{}", check.id).parse().ok())
                .unwrap_or(rules::UNSUPPORTED_RULE.rule_id()),
            expression: Expression::read(&check.expression),
            reason,
            control: check.control.unwrap_or(Control::Config),
            severity: check.severity.unwrap_or(Severity::Medium),
        }
    }
}

impl CompiledGuardrail {
    /// Whether it holds for an instance held to these workloads (none: an unknown instance).
    pub fn selects<'a>(&self, mut held_to: impl Iterator<Item = &'a CompiledWorkload>) -> bool {
        self.workloads.is_empty() || held_to.any(|workload| self.workloads.select(&workload.labels))
    }
}

/// A repository name without what Docker puts in front of names of Docker Hub.
pub(crate) fn full_repository(name: &str) -> &str {
    let name = ["docker.io/", "index.docker.io/"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The controls that this version judges.
pub const JUDGED_CONTROLS: &[Control] = &[Control::Config, Control::Privilege];
