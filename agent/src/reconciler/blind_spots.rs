//! What could not be observed for a while: it may be anything, and must not pass for quiet.
//!
//! Only evidence that is missing counts, not what is *not evaluated* because the policy opts out or this version does
//! not judge it. A spell of blindness counts by the time it took in all, and is forgotten only after as long a time of clean
//! looks; until then nothing that was raised resolves. So neither a restart nor a single clean look in between hides it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use verger_policy::drift::{Check, Claim, Judgement, Outcome};
use verger_policy::facts::{Instance, InstanceId};
use verger_policy::model::{Control, RuleId, Severity, printable_within};

pub(super) const NOT_EVALUATED: RuleId = RuleId::builtin("host/not-evaluated");
/// Instances that are being started are not observed for a moment; that is no finding.
const AFTER: Duration = Duration::from_secs(30);
/// The most ids and the most reasons that a finding names.
const NAMED: usize = 3;
/// The longest text of one reason, in characters.
const REASON_SHOWN: usize = 300;

/// One look at the host, as far as it matters here.
pub(super) struct Looked<'a> {
    pub(super) judgements: &'a [Judgement],
    pub(super) instances: &'a BTreeMap<InstanceId, Instance>,
    /// Instances that are there and have no process now.
    pub(super) resting: &'a BTreeSet<InstanceId>,
    /// Whether every runtime could be read.
    pub(super) readable: bool,
    /// The fields of what is open of this rule.
    pub(super) open: BTreeSet<String>,
}

/// What had to be read: the first part of a gap's name.
type Area = &'static str;

/// The spells of blindness of this run.
#[derive(Default)]
pub(super) struct BlindSpots {
    /// The first look of this run at runtimes that could be read: what was known before is rebuilt from then on.
    began: Option<Instant>,
    last: Option<Instant>,
    spells: BTreeMap<(InstanceId, Area), Spell>,
}

/// Blindness of one instance in one area, with the clean looks in between.
#[derive(Debug, Default)]
struct Spell {
    subject: String,
    /// How long it was blind in all.
    blind: Duration,
    /// Whether it was at the last look.
    is_blind: bool,
    /// Since when looks are clean.
    clean_since: Option<Instant>,
}

/// Something that could not be observed: what, and why.
type Gap<'a> = (&'static str, &'a str);
/// By what the check is about, the instances concerned, with the reason.
type Lasting<'a> = BTreeMap<(String, &'static str), Vec<(&'a InstanceId, &'a str)>>;

impl BlindSpots {
    /// A failing check of the host for each workload and gap that has lasted; and one that is not evaluated where that cannot
    /// be told yet, so that what is open stays open.
    pub(super) fn checks(&mut self, looked: &Looked<'_>, now: Instant) -> Vec<Check> {
        let passed = self.last.map_or(Duration::ZERO, |last| now.duration_since(last));
        self.last = Some(now);
        if looked.readable {
            self.began.get_or_insert(now);
        }
        let mut lasting = Lasting::new();
        let mut untold = BTreeSet::new();
        let mut blind = BTreeSet::new();
        for judgement in looked.judgements {
            let subject = subject(&judgement.claim);
            for (area, gaps) in gaps(judgement, looked.instances.get(&judgement.instance)) {
                let key = (judgement.instance.clone(), area);
                let spell = self.spells.entry(key.clone()).or_default();
                spell.is_seen(true, passed, now);
                spell.subject.clone_from(&subject);
                if spell.blind < AFTER {
                    untold.insert(subject.clone());
                } else {
                    for (what, reason) in gaps {
                        let of = lasting.entry((subject.clone(), what)).or_default();
                        of.push((&judgement.instance, reason));
                    }
                }
                blind.insert(key);
            }
        }
        self.spells.retain(|key, spell| {
            if blind.contains(key) {
                return true;
            }
            if looked.readable && !looked.resting.contains(&key.0) {
                spell.is_seen(false, passed, now);
            }
            let clean = spell
                .clean_since
                .map_or(Duration::ZERO, |since| now.duration_since(since));
            if clean < AFTER {
                untold.insert(spell.subject.clone());
            }
            clean < AFTER
        });
        let rebuilt = self.began.is_some_and(|began| now.duration_since(began) >= AFTER);
        if !rebuilt || !looked.readable {
            untold.extend(looked.open.iter().cloned());
        }
        let lasting = lasting
            .into_iter()
            .map(|((subject, what), of)| fail(&subject, what, &of));
        lasting.chain(untold.into_iter().map(not_told)).collect()
    }
}

impl Spell {
    fn is_seen(&mut self, blind: bool, passed: Duration, now: Instant) {
        // Nothing says that it saw anything since the last look.
        if self.is_blind {
            self.blind = self.blind.saturating_add(passed);
        }
        self.is_blind = blind;
        if blind {
            self.clean_since = None;
        } else {
            self.clean_since.get_or_insert(now);
        }
    }
}

/// What could not be observed of an instance, by area. What is missing for one reason is told once.
fn gaps<'a>(judgement: &'a Judgement, instance: Option<&'a Instance>) -> BTreeMap<Area, Vec<Gap<'a>>> {
    let mut gaps: BTreeMap<Area, Vec<Gap<'a>>> = BTreeMap::new();
    let unobserved = instance.map(Instance::unobserved).unwrap_or_default();
    let errors = judgement
        .checks
        .iter()
        .filter(|check| check.result == Outcome::Error)
        .map(|check| ("judging", check.reason.as_ref()));
    for (what, reason) in unobserved
        .into_iter()
        .map(|gap| (gap.what, gap.reason))
        .chain(errors)
    {
        let area = what.split('.').next().unwrap_or(what);
        let of = gaps.entry(area).or_default();
        if of.iter().all(|(_, known)| *known != reason) {
            of.push((what, reason));
        }
    }
    gaps
}

fn subject(claim: &Claim) -> String {
    match claim {
        Claim::Workload { name, .. } => name.to_string(),
        Claim::Ambiguous(_) => "(ambiguous)".to_owned(),
        Claim::Unknown => "(unknown)".to_owned(),
    }
}

fn fail(subject: &str, what: &str, of: &[(&InstanceId, &str)]) -> Check {
    let named: Vec<String> = of.iter().take(NAMED).map(|(id, _)| id.to_string()).collect();
    let reasons: BTreeSet<&str> = of.iter().map(|(_, reason)| *reason).collect();
    let told: Vec<String> = reasons
        .iter()
        .take(NAMED)
        .map(|reason| printable_within(reason, REASON_SHOWN))
        .collect();
    Check {
        expected: Some("it can be observed".to_owned()),
        actual: Some(format!(
            "{what} is not observed of {}{}",
            named.join(", "),
            more(of.len())
        )),
        reason: format!(
            "what is not observed may be anything: {}{}",
            told.join("; "),
            more(reasons.len())
        )
        .into(),
        ..check(format!("{subject}[{what}]"), Outcome::Fail)
    }
}

/// Whether it holds cannot be told yet of a workload, or of one thing of it.
fn not_told(field: String) -> Check {
    Check {
        reason: format!("for {} seconds of looks it cannot be told", AFTER.as_secs()).into(),
        ..check(field, Outcome::NotEvaluated)
    }
}

fn check(field: String, result: Outcome) -> Check {
    Check {
        control: Control::Host,
        rule: NOT_EVALUATED,
        field: field.into(),
        result,
        expected: None,
        actual: None,
        reason: "".into(),
        severity: Severity::High,
        decided_by: None,
    }
}

fn more(count: usize) -> String {
    match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

#[cfg(test)]
mod tests;
