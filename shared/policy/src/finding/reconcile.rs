//! What one round of judgements changes in an agent's findings.
//!
//! The rules of 05-findings: the first of a kind is sent at once; repeats are counted and sent at growing intervals; a
//! finding is resolved only on positive evidence; silence is not a pass; suppression is an exception's, and ends with it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{FindingUid, Lifecycle, LocalFinding, MAX_SAMPLES, Sample, SubjectClass, Transition, fingerprint};
use crate::digest::Digest;
use crate::drift::{Check, Claim, Judgement, Outcome};
use crate::facts::InstanceId;
use crate::model::{Control, Mode, RuleId, RuntimeKind};

/// Counts of a lasting finding are sent again after as long as it has lasted, within these bounds.
const COUNTS_SOONEST: SignedDuration = SignedDuration::from_secs(60);
const COUNTS_LATEST: SignedDuration = SignedDuration::from_secs(3_600);

/// Everything an agent knows of its findings, resolved ones included.
pub type Table = BTreeMap<FindingUid, LocalFinding>;

/// One look at the whole host.
#[derive(Debug)]
pub struct Round<'a> {
    /// The cluster.
    pub cluster: Digest,
    /// The epoch judged under.
    pub epoch: u64,
    /// When.
    pub at: Timestamp,
    /// One per running instance of every runtime that could be read.
    pub judgements: &'a [Judgement],
    /// Checks about the host itself.
    pub host: &'a [Check],
    /// Runtimes that could not be read: their instances are not gone.
    pub unreadable: &'a BTreeSet<RuntimeKind>,
    /// What the host really does for a control, per control. What is not listed is monitored.
    pub effective: &'a BTreeMap<Control, Mode>,
}

/// What a round changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Findings whose state is to be stored, in the order of `transitions`.
    pub changed: Vec<LocalFinding>,
    /// What is to be sent.
    pub transitions: Vec<Transition>,
}

/// What is seen of one fault in this round.
struct Seen<'a> {
    subject: SubjectClass,
    image: Option<Digest>,
    check: &'a Check,
    wanted: Mode,
    failing: BTreeSet<InstanceId>,
    excepted: BTreeSet<InstanceId>,
    names: BTreeMap<InstanceId, String>,
    /// For faults of the host itself, which have no instances.
    host: Option<Lifecycle>,
}

/// Carries the table over one round.
pub fn reconcile(table: &mut Table, round: &Round<'_>) -> Reconciled {
    let seen = look(round);
    let judged: BTreeMap<&InstanceId, &Judgement> =
        round.judgements.iter().map(|judgement| (&judgement.instance, judgement)).collect();
    let mut evaluated: BTreeMap<(SubjectClass, Option<Digest>), u64> = BTreeMap::new();
    for judgement in round.judgements {
        *evaluated.entry((subject_of(judgement), judgement.image)).or_default() += 1;
    }
    let lasting = table.iter().filter(|(_, finding)| finding.lifecycle != Lifecycle::Resolved).map(|(uid, _)| *uid);
    let uids: BTreeSet<FindingUid> = lasting.chain(seen.keys().copied()).collect();
    let mut result = Reconciled::default();
    for uid in uids {
        let before = table.get(&uid);
        let Some(after) = next(before, seen.get(&uid), uid, round, &judged, &evaluated) else { continue };
        let send = before.is_none_or(|before| is_news(before, &after, round.at));
        let after = if send { LocalFinding { changed: round.at, ..after } } else { after };
        if send {
            result.transitions.push(transition(&after));
            result.changed.push(after.clone());
        }
        table.insert(uid, after);
    }
    result
}

fn look<'a>(round: &Round<'a>) -> BTreeMap<FindingUid, Seen<'a>> {
    let mut seen: BTreeMap<FindingUid, Seen<'a>> = BTreeMap::new();
    for judgement in round.judgements {
        for check in judgement.checks.iter().filter(|check| super::is_fault(check.result)) {
            let subject = subject_of(judgement);
            let uid = fingerprint(&round.cluster, &check.rule, &subject, judgement.image.as_ref(), &check.field);
            let fault = seen.entry(uid).or_insert_with(|| Seen {
                subject,
                image: judgement.image,
                check,
                wanted: Mode::Learn,
                failing: BTreeSet::new(),
                excepted: BTreeSet::new(),
                names: BTreeMap::new(),
                host: None,
            });
            let wanted = judgement.wanted.iter().find(|(control, _)| *control == check.control);
            fault.wanted = fault.wanted.max(wanted.map_or(Mode::Monitor, |(_, mode)| *mode));
            fault.names.insert(judgement.instance.clone(), judgement.name.clone());
            if check.result == Outcome::Excepted {
                fault.excepted.insert(judgement.instance.clone());
            } else {
                // A violation is the better sample than an exception from it.
                if fault.check.result == Outcome::Excepted {
                    fault.check = check;
                }
                fault.failing.insert(judgement.instance.clone());
            }
        }
    }
    for check in round.host.iter().filter(|check| super::is_fault(check.result)) {
        let uid = fingerprint(&round.cluster, &check.rule, &SubjectClass::Host, None, &check.field);
        let excepted = check.result == Outcome::Excepted;
        let lifecycle = if excepted { Lifecycle::Suppressed } else { Lifecycle::Open };
        seen.insert(uid, Seen {
            subject: SubjectClass::Host,
            image: None,
            check,
            wanted: Mode::Monitor,
            failing: BTreeSet::new(),
            excepted: BTreeSet::new(),
            names: BTreeMap::new(),
            host: Some(lifecycle),
        });
    }
    seen
}

fn subject_of(judgement: &Judgement) -> SubjectClass {
    match &judgement.claim {
        Claim::Workload { name, .. } => SubjectClass::Workload(name.clone()),
        Claim::Ambiguous(names) if !names.is_empty() => SubjectClass::Workload(names[0].clone()),
        Claim::Ambiguous(_) | Claim::Unknown => SubjectClass::Unknown(judgement.image),
    }
}

/// Whether an instance that was affected, and is not seen violating now, has positively been cleared.
fn is_cleared(
    instance: &InstanceId,
    rule: &RuleId,
    round: &Round<'_>,
    judged: &BTreeMap<&InstanceId, &Judgement>,
) -> bool {
    match judged.get(instance) {
        None => !round.unreadable.contains(&instance.runtime),
        Some(judgement) => !judgement
            .checks
            .iter()
            .any(|check| check.rule == *rule && matches!(check.result, Outcome::NotEvaluated | Outcome::Error)),
    }
}

fn next(
    before: Option<&LocalFinding>,
    seen: Option<&Seen<'_>>,
    uid: FindingUid,
    round: &Round<'_>,
    judged: &BTreeMap<&InstanceId, &Judgement>,
    evaluated: &BTreeMap<(SubjectClass, Option<Digest>), u64>,
) -> Option<LocalFinding> {
    let (subject, image, check) = match (seen, before) {
        (Some(seen), _) => (seen.subject.clone(), seen.image, seen.check.clone()),
        (None, Some(before)) => (before.subject.clone(), before.image, before.check.clone()),
        (None, None) => return None,
    };
    let mut affected: BTreeSet<InstanceId> = BTreeSet::new();
    let mut lifecycle = Lifecycle::Resolved;
    if let Some(seen) = seen {
        affected.extend(seen.failing.iter().chain(&seen.excepted).cloned());
        lifecycle = match (seen.host, seen.failing.is_empty(), seen.excepted.is_empty()) {
            (Some(host), _, _) => host,
            (None, false, _) => Lifecycle::Open,
            (None, true, false) => Lifecycle::Suppressed,
            (None, true, true) => Lifecycle::Resolved,
        };
    }
    if let Some(before) = before.filter(|before| before.lifecycle != Lifecycle::Resolved) {
        let kept: Vec<InstanceId> = before
            .affected
            .iter()
            .filter(|instance| !affected.contains(*instance))
            .filter(|instance| !is_cleared(instance, &before.check.rule, round, judged))
            .cloned()
            .collect();
        let host_unknown = subject == SubjectClass::Host
            && seen.is_none()
            && round.host.iter().any(|check| check.rule == before.check.rule && check.result == Outcome::NotEvaluated);
        if !kept.is_empty() || host_unknown {
            affected.extend(kept);
            // What is not known to be better is as bad as it was.
            lifecycle = if before.lifecycle == Lifecycle::Open { Lifecycle::Open } else { lifecycle_at_least(lifecycle, before.lifecycle) };
        }
    }
    let names = seen.map(|seen| &seen.names);
    let old_names = |id: &InstanceId| {
        before.and_then(|before| before.samples.iter().find(|sample| sample.instance == *id)).map(|sample| sample.name.clone())
    };
    let samples = affected
        .iter()
        .take(MAX_SAMPLES)
        .map(|id| Sample {
            instance: id.clone(),
            name: names.and_then(|names| names.get(id).cloned()).or_else(|| old_names(id)).unwrap_or_default(),
        })
        .collect();
    let opens_again = lifecycle == Lifecycle::Open && before.is_some_and(|before| before.lifecycle != Lifecycle::Open);
    let control = check.control;
    Some(LocalFinding {
        uid,
        evaluated: match subject {
            SubjectClass::Host => 1,
            _ => evaluated.get(&(subject.clone(), image)).copied().unwrap_or(0),
        },
        subject,
        image,
        check,
        lifecycle,
        wanted: seen.map(|seen| seen.wanted).or(before.map(|before| before.wanted)).unwrap_or(Mode::Monitor),
        effective: round.effective.get(&control).copied().unwrap_or(Mode::Monitor),
        epoch: round.epoch,
        affected,
        samples,
        occurrences: before.map_or(0, |before| before.occurrences) + u64::from(seen.is_some()),
        first_seen: before.map_or(round.at, |before| before.first_seen),
        changed: before.map_or(round.at, |before| before.changed),
        reopened: before.map_or(0, |before| before.reopened) + u32::from(opens_again),
    })
}

fn lifecycle_at_least(now: Lifecycle, before: Lifecycle) -> Lifecycle {
    match (now, before) {
        (Lifecycle::Open, _) | (_, Lifecycle::Open) => Lifecycle::Open,
        (Lifecycle::Resolved, before) => before,
        (now, _) => now,
    }
}

/// Whether the change from one state to the next is to be told now.
fn is_news(before: &LocalFinding, after: &LocalFinding, at: Timestamp) -> bool {
    if before.lifecycle != after.lifecycle {
        return true;
    }
    if after.lifecycle == Lifecycle::Resolved {
        return false;
    }
    let what = |finding: &LocalFinding| {
        let Check { expected, actual, severity, decided_by, result, .. } = &finding.check;
        (expected.clone(), actual.clone(), *severity, decided_by.clone(), *result, finding.wanted, finding.effective)
    };
    if what(before) != what(after) {
        return true;
    }
    let lasted = before.changed.duration_since(before.first_seen).clamp(COUNTS_SOONEST, COUNTS_LATEST);
    at.duration_since(before.changed) >= lasted
}

fn transition(finding: &LocalFinding) -> Transition {
    let LocalFinding {
        uid,
        subject,
        image,
        check,
        lifecycle,
        wanted,
        effective,
        epoch,
        affected,
        samples,
        evaluated,
        occurrences,
        first_seen,
        changed,
        reopened,
    } = finding.clone();
    let host = u64::from(subject == SubjectClass::Host && lifecycle != Lifecycle::Resolved);
    Transition {
        at: changed,
        uid,
        subject,
        image,
        check,
        lifecycle,
        wanted,
        effective,
        epoch,
        affected: affected.len() as u64 + host,
        samples,
        evaluated,
        occurrences,
        first_seen,
        reopened,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::Severity;

    fn id(name: &str) -> InstanceId {
        InstanceId { runtime: RuntimeKind::Docker, id: name.to_owned() }
    }

    fn check(result: Outcome) -> Check {
        Check {
            control: Control::Privilege,
            rule: "privilege/is-root".parse().unwrap(),
            field: "user".into(),
            result,
            expected: Some("1000".to_owned()),
            actual: Some("0".to_owned()),
            reason: "why".into(),
            severity: Severity::High,
            decided_by: None,
        }
    }

    fn judgement(name: &str, result: Outcome) -> Judgement {
        Judgement {
            instance: id(name),
            name: name.to_owned(),
            image: Some(Digest::of(b"image")),
            claim: Claim::Workload { name: "web".parse().unwrap(), entitled: true },
            wanted: vec![(Control::Privilege, Mode::Monitor)],
            checks: vec![check(result)],
        }
    }

    fn run(table: &mut Table, at: i64, judgements: &[Judgement], unreadable: bool) -> Vec<Transition> {
        let unreadable = if unreadable { [RuntimeKind::Docker].into() } else { BTreeSet::new() };
        let round = Round {
            cluster: Digest::of(b"cluster"),
            epoch: 1,
            at: Timestamp::from_second(at).unwrap(),
            judgements,
            host: &[],
            unreadable: &unreadable,
            effective: &BTreeMap::new(),
        };
        reconcile(table, &round).transitions
    }

    fn words(transitions: &[Transition]) -> Vec<(Lifecycle, u64, u32)> {
        transitions.iter().map(|one| (one.lifecycle, one.affected, one.reopened)).collect()
    }

    #[test]
    fn the_first_is_sent_at_once_and_repeats_are_not() {
        let mut table = Table::new();
        let round = [judgement("a", Outcome::Fail)];
        assert_eq!(words(&run(&mut table, 0, &round, false)), [(Lifecycle::Open, 1, 0)]);
        assert_eq!(words(&run(&mut table, 4, &round, false)), []);
        assert_eq!(words(&run(&mut table, 60, &round, false)), [(Lifecycle::Open, 1, 0)]);
        assert_eq!(words(&run(&mut table, 119, &round, false)), []);
    }

    #[test]
    fn replicas_with_one_fault_are_one_finding() {
        let mut table = Table::new();
        let round: Vec<Judgement> = (0..40).map(|n| judgement(&format!("{n:02}"), Outcome::Fail)).collect();
        let sent = run(&mut table, 0, &round, false);
        assert_eq!(words(&sent), [(Lifecycle::Open, 40, 0)]);
        assert_eq!((sent[0].samples.len(), sent[0].evaluated), (MAX_SAMPLES, 40));
    }

    #[test]
    fn only_positive_evidence_resolves() {
        let mut table = Table::new();
        run(&mut table, 0, &[judgement("a", Outcome::Fail)], false);
        assert_eq!(words(&run(&mut table, 1, &[judgement("a", Outcome::NotEvaluated)], false)), []);
        assert_eq!(words(&run(&mut table, 2, &[], true)), [], "an unreadable runtime says nothing");
        assert_eq!(words(&run(&mut table, 3, &[judgement("a", Outcome::Pass)], false)), [(Lifecycle::Resolved, 0, 0)]);
        assert_eq!(words(&run(&mut table, 4, &[judgement("a", Outcome::Fail)], false)), [(Lifecycle::Open, 1, 1)]);
        assert_eq!(words(&run(&mut table, 5, &[], false)), [(Lifecycle::Resolved, 0, 1)], "gone is resolved");
    }

    #[test]
    fn an_exception_suppresses_and_its_end_opens_again() {
        let mut table = Table::new();
        run(&mut table, 0, &[judgement("a", Outcome::Fail)], false);
        assert_eq!(words(&run(&mut table, 1, &[judgement("a", Outcome::Excepted)], false)), [(Lifecycle::Suppressed, 1, 0)]);
        assert_eq!(words(&run(&mut table, 2, &[judgement("a", Outcome::Fail)], false)), [(Lifecycle::Open, 1, 1)]);
    }

    #[test]
    fn a_host_fault_opens_and_resolves() {
        let mut table = Table::new();
        let mut at = |seconds, host: &[Check]| {
            let round = Round {
                cluster: Digest::of(b"cluster"),
                epoch: 1,
                at: Timestamp::from_second(seconds).unwrap(),
                judgements: &[],
                host,
                unreadable: &BTreeSet::new(),
                effective: &BTreeMap::new(),
            };
            words(&reconcile(&mut table, &round).transitions)
        };
        assert_eq!(at(0, &[check(Outcome::Fail)]), [(Lifecycle::Open, 1, 0)]);
        assert_eq!(at(1, &[check(Outcome::NotEvaluated)]), []);
        assert_eq!(at(2, &[]), [(Lifecycle::Resolved, 0, 0)]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_violated_is_never_missing_and_a_repeat_says_nothing(
            rounds in proptest::collection::vec(proptest::collection::btree_map(0_u8..6, 0_u8..4, 0..6), 1..12)
        ) {
            let outcomes = [Outcome::Fail, Outcome::Excepted, Outcome::Pass, Outcome::NotEvaluated];
            let mut table = Table::new();
            for (at, round) in (0_i64..).zip(rounds) {
                let judgements: Vec<Judgement> = round
                    .iter()
                    .map(|(name, result)| judgement(&name.to_string(), outcomes[usize::from(*result)]))
                    .collect();
                run(&mut table, at, &judgements, false);
                let failing = judgements.iter().any(|judgement| judgement.checks[0].result == Outcome::Fail);
                if failing {
                    proptest::prop_assert!(table.values().any(|finding| finding.lifecycle == Lifecycle::Open));
                }
                proptest::prop_assert_eq!(run(&mut table, at, &judgements, false), vec![]);
            }
        }
    }
}
