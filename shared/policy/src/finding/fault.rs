//! What a round shows of each fault: the failing checks of all instances, grouped by the identity of the finding.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use super::{FindingUid, Round, SubjectClass, Table, bounds, fingerprint, is_fault};
use crate::digest::Digest;
use crate::drift::{Check, Claim, Judgement, Outcome};
use crate::facts::InstanceId;
use crate::model::{Mode, Severity};

/// One fault as this round shows it.
pub(super) struct Fault<'a> {
    pub(super) subject: SubjectClass,
    pub(super) image: Option<Digest>,
    /// The worst check; of equal ones that of the first instance.
    pub(super) check: &'a Check,
    of: Option<&'a InstanceId>,
    /// Whether one of its checks is the one last reported.
    pub(super) shows_reported: bool,
    pub(super) wanted: Mode,
    /// Instances that violate, without and with an exception. None for faults of the host itself.
    pub(super) failing: BTreeSet<InstanceId>,
    pub(super) excepted: BTreeSet<InstanceId>,
}

/// How bad a check is: what fails is worse than what could not be judged, and that is worse than what is excepted.
pub(super) fn badness(check: &Check) -> (u8, Severity) {
    let rank = match check.result {
        Outcome::Fail => 2,
        Outcome::Error => 1,
        Outcome::Excepted | Outcome::NotEvaluated | Outcome::NotApplicable | Outcome::Pass => 0,
    };
    (rank, check.severity)
}

/// Whose an instance is. One that several workloads claim is filed under the first of them.
pub(super) fn subject_of(judgement: &Judgement) -> SubjectClass {
    match &judgement.claim {
        Claim::Workload { name, .. } => SubjectClass::Workload(name.clone()),
        Claim::Ambiguous(names) => names
            .first()
            .map_or(SubjectClass::Unknown(judgement.image), |name| {
                SubjectClass::Workload(name.clone())
            }),
        Claim::Unknown => SubjectClass::Unknown(judgement.image),
    }
}

/// Collects the faults of a round.
pub(super) fn faults<'a>(table: &Table, round: &Round<'a>) -> BTreeMap<FindingUid, Fault<'a>> {
    let mut faults = BTreeMap::new();
    for judgement in round.judgements {
        let subject = subject_of(judgement);
        for check in judgement.checks.iter().filter(|check| is_fault(check.result)) {
            let wanted = judgement.wanted(check.control);
            let uid = identity(&round.cluster, &subject, judgement.image.as_ref(), check);
            let fault = faults.entry(uid).or_insert_with(|| Fault {
                subject: subject.clone(),
                image: judgement.image,
                check,
                of: Some(&judgement.instance),
                shows_reported: false,
                wanted,
                failing: BTreeSet::new(),
                excepted: BTreeSet::new(),
            });
            fault.add(check, Some(&judgement.instance), wanted);
            fault.shows_reported |= table
                .get(&uid)
                .is_some_and(|last| bounds::is_record_of(&last.check, check));
        }
    }
    for check in round.host.iter().filter(|check| is_fault(check.result)) {
        let (uid, fault) = Fault::of_host(table, round, check);
        match faults.entry(uid) {
            Entry::Vacant(place) => {
                place.insert(fault);
            }
            Entry::Occupied(mut there) => {
                there.get_mut().shows_reported |= fault.shows_reported;
                there.get_mut().add(check, None, Mode::Monitor);
            }
        }
    }
    faults
}

/// The identity of the fault that a check is about; the field, as records have it, tells faults of one rule apart.
fn identity(cluster: &Digest, subject: &SubjectClass, image: Option<&Digest>, check: &Check) -> FindingUid {
    fingerprint(cluster, &check.rule, subject, image, &bounds::field(&check.field))
}

impl<'a> Fault<'a> {
    /// A fault of the host itself.
    pub(super) fn of_host(table: &Table, round: &Round<'_>, check: &'a Check) -> (FindingUid, Self) {
        let uid = identity(&round.cluster, &SubjectClass::Host, None, check);
        let fault = Self {
            subject: SubjectClass::Host,
            image: None,
            check,
            of: None,
            shows_reported: table
                .get(&uid)
                .is_some_and(|last| bounds::is_record_of(&last.check, check)),
            wanted: Mode::Monitor,
            failing: BTreeSet::new(),
            excepted: BTreeSet::new(),
        };
        (uid, fault)
    }

    fn add(&mut self, check: &'a Check, instance: Option<&'a InstanceId>, wanted: Mode) {
        self.wanted = self.wanted.max(wanted);
        let order = badness(check).cmp(&badness(self.check));
        if order.is_gt() || (order.is_eq() && instance < self.of) {
            (self.check, self.of) = (check, instance);
        }
        if let Some(instance) = instance {
            if check.result == Outcome::Excepted {
                self.excepted.insert(instance.clone());
            } else {
                self.failing.insert(instance.clone());
            }
        }
    }

    /// Whether nothing but exceptions is behind it.
    pub(super) fn is_excepted(&self) -> bool {
        self.check.result == Outcome::Excepted
    }

    pub(super) fn affects(&self, instance: &InstanceId) -> bool {
        self.failing.contains(instance) || self.excepted.contains(instance)
    }
}
