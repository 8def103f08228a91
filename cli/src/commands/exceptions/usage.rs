//! Whether an exception lifts anything now, by what hosts say of what runs on them. Pure.
//!
//! *Unused* is said only where every host that the exception is for has said enough: a host that is away, an instance that was not
//! judged under the exception yet, or a check that was not evaluated leaves it open.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use verger_policy::finding::{Finding, Lifecycle};
use verger_policy::model::{Exception, Kind, Labels, ObjectKey, Spec, Standing};
use verger_policy::set::PolicySet;
use verger_proto::cluster::v1 as pb;
use verger_wire::instant;

use crate::commands::hosts;

/// What of one instance tells it from every other: host, runtime, id.
pub(super) type Place = (String, String, String);

/// Whether an exception lifts something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// It does.
    Lifts,
    /// It does not, for this reason.
    Idle(String),
    /// It cannot be told, for this reason.
    Unknown(String),
}

/// An exception as it is sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'s> {
    pub(super) key: &'s ObjectKey,
    pub(super) spec: &'s Exception,
    /// The epoch of its last change.
    pub(super) epoch: u64,
}

/// What the cluster says of its hosts and of what runs on them.
#[derive(Debug, Default)]
pub(super) struct World<'s> {
    labels: BTreeMap<&'s str, &'s Labels>,
    hosts: BTreeMap<String, pb::Host>,
    instances: Vec<pb::Instance>,
    /// Exceptions that findings name.
    lifting: BTreeSet<ObjectKey>,
    /// The checks of instances that do not just pass; absent where they were not asked for.
    checks: BTreeMap<Place, Vec<Value>>,
}

impl<'s> World<'s> {
    pub(super) fn of(set: &'s PolicySet, hosts: Vec<pb::Host>, instances: Vec<pb::Instance>) -> Self {
        let labels = set.objects().filter_map(|object| match &object.spec {
            Spec::Host(host) => Some((host.agent.as_str(), &host.labels)),
            _ => None,
        });
        Self {
            labels: labels.collect(),
            hosts: hosts
                .into_iter()
                .filter(is_let_in)
                .map(|host| (host.agent_id.clone(), host))
                .collect(),
            instances,
            lifting: BTreeSet::new(),
            checks: BTreeMap::new(),
        }
    }

    /// Takes in a finding: what one is suppressed by lifts something.
    pub(super) fn take(&mut self, finding: &Finding) {
        if finding.lifecycle == Lifecycle::Suppressed {
            let by = finding.check.decided_by.iter();
            self.lifting
                .extend(by.filter(|key| key.kind == Kind::Exception).cloned());
        }
    }

    /// Takes in the checks of an instance.
    pub(super) fn take_checks(&mut self, place: Place, checks: Vec<Value>) {
        self.checks.insert(place, checks);
    }

    /// Forgets an instance that is there no more.
    pub(super) fn forget(&mut self, gone: &Place) {
        self.instances.retain(|instance| place(instance) != *gone);
    }

    /// The instances whose checks must be known before it can be told whether the exception lifts anything.
    pub(super) fn open_questions(&self, exception: Sealed<'_>, at: Timestamp) -> Vec<Place> {
        if exception.spec.standing_at(at) != Standing::InForce || self.lifting.contains(exception.key) {
            return Vec::new();
        }
        self.covered(exception.spec)
            .filter(|instance| has_more_than_passes(instance))
            .map(place)
            .filter(|place| !self.checks.contains_key(place))
            .collect()
    }

    /// Whether the exception lifts anything at `at`.
    pub(super) fn usage(&self, exception: Sealed<'_>, at: Timestamp) -> Usage {
        let Sealed { key, spec, epoch } = exception;
        match spec.standing_at(at) {
            Standing::Over => return Usage::Idle(format!("over since {}", spec.not_after)),
            Standing::NotYet => {
                let begin = spec.not_before.unwrap_or(spec.not_after);
                return Usage::Unknown(format!("begins at {begin}"));
            }
            Standing::InForce => {}
        }
        if self.lifting.contains(key) {
            return Usage::Lifts;
        }
        let mut open = self.silent(spec, epoch);
        let mut same = BTreeSet::new();
        let mut judged = 0_usize;
        for instance in self.covered(spec) {
            let name = || format!("{} on host {}", short(&instance.id), instance.agent_id);
            match self.says(exception, instance) {
                Said::Lifted => return Usage::Lifts,
                Said::Open(why) => open.push(format!("{}: {why}", name())),
                Said::LiftedBy(other) => _ = same.insert(other),
                Said::Nothing => {}
            }
            judged += 1;
        }
        if let Some(first) = open.first() {
            return Usage::Unknown(match open.len() - 1 {
                0 => first.clone(),
                more => format!("{first}; and {more} more"),
            });
        }
        Usage::Idle(if let Some(other) = same.first() {
            format!("what it lifts is lifted by {other}, too")
        } else if judged == 0 {
            "nothing that it is for runs".to_owned()
        } else {
            format!("nothing it lifts is violated by what it is for: {judged} running")
        })
    }

    /// Hosts that the exception is for and of which too little is known.
    fn silent(&self, spec: &Exception, epoch: u64) -> Vec<String> {
        let hosts = self
            .hosts
            .values()
            .filter(|host| self.is_for(spec, &host.agent_id));
        hosts
            .filter_map(|host| {
                let blind = host
                    .unreadable
                    .iter()
                    .next()
                    .map(|(runtime, why)| format!("{runtime} unreadable: {why}"));
                let behind = || {
                    (host.epoch < epoch)
                        .then(|| format!("it holds epoch {}, the exception is of {epoch}", host.epoch))
                };
                let why = hosts::silence(Some(host), "").or(blind).or_else(behind)?;
                Some(format!("host {}: {why}", host.agent_id))
            })
            .collect()
    }

    fn is_for(&self, spec: &Exception, agent: &str) -> bool {
        let none = Labels::default();
        spec.scope
            .hosts
            .select(self.labels.get(agent).copied().unwrap_or(&none))
    }

    /// The instances in its scope, those included that hints alone bring there.
    fn covered(&self, spec: &Exception) -> impl Iterator<Item = &pb::Instance> {
        let scope = &spec.scope;
        let image = scope.image.map(|image| image.to_string());
        self.instances.iter().filter(move |instance| {
            let workload = scope
                .workload
                .as_ref()
                .is_none_or(|name| instance.workloads.iter().any(|of| of == name.as_str()));
            // Of an image that is not known it cannot be said that it is another one.
            let image = image
                .as_ref()
                .is_none_or(|image| instance.image.is_empty() || instance.image == *image);
            let host = self.hosts.contains_key(&instance.agent_id) && self.is_for(spec, &instance.agent_id);
            host && workload && image
        })
    }

    /// What an instance says of the exception.
    fn says(&self, exception: Sealed<'_>, instance: &pb::Instance) -> Said {
        let Sealed { key, spec, epoch } = exception;
        if instance.judged.is_none() || instance.epoch < epoch {
            return Said::Open(format!("not judged under epoch {epoch} yet"));
        }
        let judged = instance.judged.and_then(|at| instant("judged", at).ok());
        if spec
            .not_before
            .is_some_and(|begin| judged.is_none_or(|at| at < begin))
        {
            return Said::Open("not judged since the exception began".to_owned());
        }
        if !has_more_than_passes(instance) {
            return Said::Nothing;
        }
        let Some(checks) = self.checks.get(&place(instance)) else {
            return Said::Open("its checks were not asked for".to_owned());
        };
        let told = [
            instance.failed,
            instance.excepted,
            instance.not_evaluated,
            instance.errors,
        ];
        let told: u64 = told.into_iter().map(u64::from).sum();
        if checks.len() as u64 != told || checks.iter().any(|check| check["control"] == "host") {
            return Said::Open("not all of its checks are told".to_owned());
        }
        let mut said = Said::Nothing;
        let of_rule = |check: &&Value| {
            let rule = check["rule"].as_str().unwrap_or_default();
            spec.rules.iter().any(|lifted| lifted.as_str() == rule)
        };
        for check in checks.iter().filter(of_rule) {
            let fits = spec.covers_value(check["actual"].as_str());
            match check["result"].as_str().unwrap_or_default() {
                "excepted" if is_named(&check["decidedBy"], key) => return Said::Lifted,
                // The first by name is the one that is told: this one would lift it, too.
                "excepted" if fits => {
                    let other = check["decidedBy"]["name"].as_str().unwrap_or_default();
                    if matches!(said, Said::Nothing) {
                        said = Said::LiftedBy(format!("Exception/{other}"));
                    }
                }
                "notEvaluated" | "error" => {
                    let rule = check["rule"].as_str().unwrap_or_default();
                    said = Said::Open(format!("{rule} was not evaluated"));
                }
                // What fails in its scope is not lifted: the instance is not entitled to it, or the value is another one.
                _ => {}
            }
        }
        said
    }
}

enum Said {
    Lifted,
    LiftedBy(String),
    Open(String),
    Nothing,
}

/// Whether the cluster asks a host to hold its set: others run by what they had.
fn is_let_in(host: &pb::Host) -> bool {
    matches!(
        host.standing(),
        pb::Standing::Unspecified | pb::Standing::Enrolled
    )
}

fn has_more_than_passes(instance: &pb::Instance) -> bool {
    instance.excepted > 0 || instance.not_evaluated > 0 || instance.errors > 0
}

fn is_named(decided_by: &Value, key: &ObjectKey) -> bool {
    decided_by["kind"].as_str() == Some(key.kind.word())
        && decided_by["name"].as_str() == Some(key.name.as_str())
}

fn place(instance: &pb::Instance) -> Place {
    (
        instance.agent_id.clone(),
        instance.runtime.clone(),
        instance.id.clone(),
    )
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

#[cfg(test)]
mod tests;
