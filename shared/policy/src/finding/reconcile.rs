//! What one round of judgements changes in an agent's findings.
//!
//! The rules of 05-findings: the first of a kind is sent at once; repeats are counted and sent at growing intervals; a
//! finding is resolved only on positive evidence; silence is not a pass; suppression is an exception's, and ends with it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::clearance::Evidence;
use super::fault::{Fault, badness, faults, subject_of};
use super::{
    FindingUid, Lifecycle, LocalFinding, MAX_SAMPLES, Sample, SubjectClass, Transition, bounds, capacity,
};
use crate::digest::Digest;
use crate::drift::{Check, Judgement};
use crate::facts::InstanceId;
use crate::model::{Control, Mode, RuntimeKind};

/// Counts of a lasting finding are sent again this long after it was first seen, ...
const COUNTS_SOONEST: SignedDuration = SignedDuration::from_mins(1);
/// ... then after two, four, eight minutes and so on, up to this.
const COUNTS_LATEST: SignedDuration = SignedDuration::from_hours(1);
/// Other instances, or another sample of what is wrong, are not sent more often than this.
const DETAIL_SOONEST: SignedDuration = SignedDuration::from_secs(10);

/// Everything an agent knows of its findings, those resolved lately included.
pub type Table = BTreeMap<FindingUid, LocalFinding>;

/// One look at the whole host.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The cluster.
    pub cluster: Digest,
    /// The epoch judged under.
    pub epoch: u64,
    /// When.
    pub at: Timestamp,
    /// One per running instance that could be judged. An instance of a readable runtime that is neither here nor in
    /// `unjudged` is gone.
    pub judgements: &'a [Judgement],
    /// Instances that are there and could not be judged this time.
    pub unjudged: &'a BTreeSet<InstanceId>,
    /// Runtimes that could not be read: their instances are not gone.
    pub unreadable: &'a BTreeSet<RuntimeKind>,
    /// Every check about the host itself: one that is not here holds.
    pub host: &'a [Check],
    /// The most the host can really do for a control. What is not listed is monitored.
    pub effective: &'a BTreeMap<Control, Mode>,
}

/// What a round changes. It takes effect with [`Self::carry_into`], after it was stored: so a round that could not be
/// stored is simply found again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// What is to be sent, in the order of uids.
    pub transitions: Vec<Transition>,
    /// Findings to store with them: those sent, and those that other instances are affected by.
    pub changed: Vec<LocalFinding>,
    /// Findings of which only counts moved; losing that loses nothing but the counts.
    pub counted: Vec<LocalFinding>,
    /// Findings to forget.
    pub removed: BTreeSet<FindingUid>,
}

impl Reconciled {
    /// Brings the table up to date.
    pub fn carry_into(self, table: &mut Table) {
        let Self {
            transitions: _,
            changed,
            counted,
            removed,
        } = self;
        for uid in removed {
            table.remove(&uid);
        }
        for finding in changed.into_iter().chain(counted) {
            table.insert(finding.uid, finding);
        }
    }
}

/// Compares a round with the table it was preceded by.
pub fn reconcile(table: &Table, round: &Round<'_>) -> Reconciled {
    let mut faults = faults(table, round);
    let mut result = Reconciled {
        removed: capacity::outdated(table, &faults, round.at),
        ..Reconciled::default()
    };
    let left_out =
        capacity::admit(table.len() - result.removed.len(), table, &mut faults).map(capacity::left_out_check);
    if let Some(check) = &left_out {
        let (uid, fault) = Fault::of_host(table, round, check);
        faults.insert(uid, fault);
    }

    let pass = Pass {
        round,
        evidence: Evidence::of(round),
        evaluated: evaluated(round),
    };
    let lasting = table
        .values()
        .filter(|finding| finding.lifecycle != Lifecycle::Resolved);
    let uids: BTreeSet<FindingUid> = lasting
        .map(|finding| finding.uid)
        .chain(faults.keys().copied())
        .collect();
    for uid in uids {
        let fault = faults.get(&uid);
        match (table.get(&uid), fault) {
            (None, None) => {}
            (None, Some(found)) => pass.settle(None, first(uid, found, round), fault, &mut result),
            (Some(before), _) => pass.settle(Some(before), pass.next(before, fault), fault, &mut result),
        }
    }
    result
}

/// A round, and what was made of it.
struct Pass<'a> {
    round: &'a Round<'a>,
    evidence: Evidence<'a>,
    /// Instances judged, by what they are.
    evaluated: BTreeMap<(SubjectClass, Option<Digest>), u64>,
}

fn evaluated(round: &Round<'_>) -> BTreeMap<(SubjectClass, Option<Digest>), u64> {
    let mut evaluated = BTreeMap::new();
    for judgement in round.judgements {
        *evaluated
            .entry((subject_of(judgement), judgement.image))
            .or_default() += 1;
    }
    evaluated
}

/// A finding as it is when its fault is seen for the first time. What it says of itself is filled in when it is sent.
fn first(uid: FindingUid, fault: &Fault<'_>, round: &Round<'_>) -> LocalFinding {
    LocalFinding {
        uid,
        subject: fault.subject.clone(),
        image: fault.image,
        check: bounds::record(fault.check),
        lifecycle: if fault.is_excepted() {
            Lifecycle::Suppressed
        } else {
            Lifecycle::Open
        },
        wanted: fault.wanted,
        effective: Mode::Monitor,
        epoch: round.epoch,
        affected: fault.failing.union(&fault.excepted).cloned().collect(),
        samples: Vec::new(),
        evaluated: 0,
        occurrences: 1,
        first_seen: round.at,
        changed: round.at,
        reopened: 0,
    }
}

impl Pass<'_> {
    /// A known finding after this round.
    fn next(&self, before: &LocalFinding, fault: Option<&Fault<'_>>) -> LocalFinding {
        let affects = |instance: &InstanceId| fault.is_some_and(|fault| fault.affects(instance));
        let doubtful = match before.lifecycle {
            Lifecycle::Resolved => BTreeSet::new(),
            _ => self.evidence.doubtful(before, affects),
        };
        let in_doubt = match (before.lifecycle, &before.subject) {
            (Lifecycle::Resolved, _) => false,
            (_, SubjectClass::Host) => fault.is_none() && !self.evidence.clears_host(before),
            _ => !doubtful.is_empty(),
        };
        let lifecycle = match fault {
            Some(fault) if !fault.is_excepted() => Lifecycle::Open,
            // What is not known to be better is as bad as it was.
            _ if in_doubt && before.lifecycle == Lifecycle::Open => Lifecycle::Open,
            None if !in_doubt => Lifecycle::Resolved,
            _ => Lifecycle::Suppressed,
        };
        let mut affected = doubtful;
        if let Some(fault) = fault {
            affected.extend(fault.failing.union(&fault.excepted).cloned());
        }
        let opens = lifecycle == Lifecycle::Open && before.lifecycle != Lifecycle::Open;
        LocalFinding {
            lifecycle,
            wanted: fault.map_or(before.wanted, |fault| fault.wanted),
            epoch: if fault.is_some() {
                self.round.epoch
            } else {
                before.epoch
            },
            affected,
            occurrences: before.occurrences.saturating_add(u64::from(fault.is_some())),
            reopened: before.reopened.saturating_add(u32::from(opens)),
            ..before.clone()
        }
    }

    /// Decides whether to send, and so what the finding says of itself: check and samples are those last sent.
    fn settle(
        &self,
        before: Option<&LocalFinding>,
        mut finding: LocalFinding,
        fault: Option<&Fault<'_>>,
        result: &mut Reconciled,
    ) {
        finding.evaluated = match &finding.subject {
            SubjectClass::Host => 1,
            subject => {
                let judged = self.evaluated.get(&(subject.clone(), finding.image)).copied();
                judged.unwrap_or(0).max(finding.affected.len() as u64)
            }
        };
        let given = self
            .round
            .effective
            .get(&finding.check.control)
            .copied()
            .unwrap_or(Mode::Monitor);
        finding.effective = given.min(finding.wanted);
        let Some(before) = before else {
            return self.send(finding, fault, result);
        };
        if is_news(before, &finding, fault, self.round.at) {
            self.send(finding, fault, result);
        } else if before.affected != finding.affected {
            result.changed.push(finding);
        } else if *before != finding {
            result.counted.push(finding);
        }
    }

    fn send(&self, mut finding: LocalFinding, fault: Option<&Fault<'_>>, result: &mut Reconciled) {
        finding.changed = self.round.at;
        if let Some(fault) = fault.filter(|fault| !is_told(&finding, fault)) {
            finding.check = bounds::record(fault.check);
        }
        finding.samples = samples(&finding, fault, &self.evidence);
        result.transitions.push(finding.transition());
        result.changed.push(finding);
    }
}

/// Whether the check last sent still says how bad it is.
fn is_told(finding: &LocalFinding, fault: &Fault<'_>) -> bool {
    // Open although all that is seen is excepted: the check is of an instance that is in doubt.
    let in_doubt = finding.lifecycle == Lifecycle::Open && fault.is_excepted();
    in_doubt || (fault.shows_reported && badness(&finding.check) >= badness(fault.check))
}

/// Whether the change from one state to the next is to be told now.
fn is_news(before: &LocalFinding, after: &LocalFinding, fault: Option<&Fault<'_>>, at: Timestamp) -> bool {
    if before.lifecycle != after.lifecycle {
        return true;
    }
    let worse = fault.is_some_and(|fault| badness(fault.check) > badness(&before.check));
    if worse || (before.wanted, before.effective) != (after.wanted, after.effective) {
        return true;
    }
    // A clock set back must not silence anything.
    let silent = at.duration_since(before.changed).abs();
    let told = fault.is_none_or(|fault| is_told(before, fault))
        && before
            .samples
            .iter()
            .all(|sample| after.affected.contains(&sample.instance))
        && before.samples.len() == after.affected.len().min(MAX_SAMPLES);
    if !told && silent >= DETAIL_SOONEST {
        return true;
    }
    let lasted = before.changed.duration_since(before.first_seen).abs();
    silent >= lasted.saturating_add(COUNTS_SOONEST).min(COUNTS_LATEST)
}

/// Names some of the affected, those that violate without an exception first.
fn samples(finding: &LocalFinding, fault: Option<&Fault<'_>>, evidence: &Evidence<'_>) -> Vec<Sample> {
    let excepted = |instance: &&InstanceId| fault.is_some_and(|fault| fault.excepted.contains(*instance));
    let (last, first): (Vec<&InstanceId>, Vec<&InstanceId>) = finding.affected.iter().partition(excepted);
    let known = |instance: &InstanceId| finding.samples.iter().find(|sample| sample.instance == *instance);
    let name = |instance: &InstanceId| {
        let name = evidence
            .name(instance)
            .or_else(|| known(instance).map(|sample| sample.name.as_str()));
        bounds::cut(name.unwrap_or_default(), bounds::MAX_SAMPLE_NAME_BYTES).into_owned()
    };
    let chosen = first.into_iter().chain(last).take(MAX_SAMPLES);
    chosen
        .map(|instance| Sample {
            instance: instance.clone(),
            name: name(instance),
        })
        .collect()
}
