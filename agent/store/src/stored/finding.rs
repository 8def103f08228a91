//! Findings, transitions, and the state of the queue.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::finding::{FindingUid, Lifecycle, LocalFinding, Sample, SubjectClass, Transition};
use verger_policy::model::printable_within;

use super::parse;
use super::set::StoredKey;

/// Where the queue of transitions stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredQueue {
    /// Number the next transition gets.
    pub(crate) next: u64,
    /// Everything up to here is acknowledged and gone.
    pub(crate) acknowledged: u64,
    /// Bytes of stored form waiting.
    pub(crate) bytes: u64,
    /// Rounds refused because there was no room, ever.
    pub(crate) refused_rounds: u64,
    /// The number from which everything is told anew; 0, and not written, if that never happened.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) anew: u64,
    /// The chain over everything that is acknowledged; not there in queues of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored_digest")]
    pub(crate) chain: Option<Digest>,
}

/// Digests as `sha256:` and hex.
mod stored_digest {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};
    use verger_policy::digest::Digest;

    // The signature is serde's.
    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: Serializer>(digest: &Option<Digest>, to: S) -> Result<S::Ok, S::Error> {
        digest.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Digest>, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Some).map_err(D::Error::custom)
    }
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One finding of the table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredFinding {
    state: StoredState,
    affected: Vec<String>,
    changed: String,
}

/// One transition of the queue.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredTransition {
    state: StoredState,
    affected: u64,
    at: String,
}

/// What findings and transitions have in common.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredState {
    uid: String,
    subject: StoredSubject,
    image: Option<String>,
    check: StoredCheck,
    lifecycle: String,
    wanted: String,
    effective: String,
    epoch: u64,
    samples: Vec<StoredSample>,
    evaluated: u64,
    occurrences: u64,
    first_seen: String,
    reopened: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StoredSubject {
    Workload(String),
    Unknown(Option<String>),
    Host,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCheck {
    control: String,
    rule: String,
    field: String,
    result: String,
    expected: Option<String>,
    actual: Option<String>,
    reason: String,
    severity: String,
    decided_by: Option<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSample {
    instance: String,
    name: String,
}

impl StoredFinding {
    pub(crate) fn of(finding: &LocalFinding) -> Self {
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
        } = finding;
        Self {
            state: StoredState {
                uid: uid.0.to_string(),
                subject: StoredSubject::of(subject),
                image: image.map(|digest| digest.to_string()),
                check: StoredCheck::of(check),
                lifecycle: lifecycle_word(*lifecycle).to_owned(),
                wanted: wanted.word().to_owned(),
                effective: effective.word().to_owned(),
                epoch: *epoch,
                samples: samples.iter().map(StoredSample::of).collect(),
                evaluated: *evaluated,
                occurrences: *occurrences,
                first_seen: first_seen.to_string(),
                reopened: *reopened,
            },
            affected: affected.iter().map(ToString::to_string).collect(),
            changed: changed.to_string(),
        }
    }

    pub(crate) fn into_domain(self) -> Result<LocalFinding, String> {
        let Self {
            state,
            affected,
            changed,
        } = self;
        Ok(LocalFinding {
            uid: FindingUid(parse(&state.uid)?),
            subject: state.subject.into_domain()?,
            image: state.image.as_deref().map(parse).transpose()?,
            check: state.check.into_domain()?,
            lifecycle: lifecycle(&state.lifecycle)?,
            wanted: parse(&state.wanted)?,
            effective: parse(&state.effective)?,
            epoch: state.epoch,
            affected: affected
                .iter()
                .map(|text| instance(text))
                .collect::<Result<_, _>>()?,
            samples: state
                .samples
                .into_iter()
                .map(StoredSample::into_domain)
                .collect::<Result<_, _>>()?,
            evaluated: state.evaluated,
            occurrences: state.occurrences,
            first_seen: parse(&state.first_seen)?,
            changed: parse(&changed)?,
            reopened: state.reopened,
        })
    }
}

impl StoredTransition {
    pub(crate) fn of(transition: &Transition) -> Self {
        let Transition {
            at,
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
            reopened,
        } = transition;
        Self {
            state: StoredState {
                uid: uid.0.to_string(),
                subject: StoredSubject::of(subject),
                image: image.map(|digest| digest.to_string()),
                check: StoredCheck::of(check),
                lifecycle: lifecycle_word(*lifecycle).to_owned(),
                wanted: wanted.word().to_owned(),
                effective: effective.word().to_owned(),
                epoch: *epoch,
                samples: samples.iter().map(StoredSample::of).collect(),
                evaluated: *evaluated,
                occurrences: *occurrences,
                first_seen: first_seen.to_string(),
                reopened: *reopened,
            },
            affected: *affected,
            at: at.to_string(),
        }
    }

    pub(crate) fn into_domain(self) -> Result<Transition, String> {
        let Self { state, affected, at } = self;
        Ok(Transition {
            at: parse(&at)?,
            uid: FindingUid(parse(&state.uid)?),
            subject: state.subject.into_domain()?,
            image: state.image.as_deref().map(parse).transpose()?,
            check: state.check.into_domain()?,
            lifecycle: lifecycle(&state.lifecycle)?,
            wanted: parse(&state.wanted)?,
            effective: parse(&state.effective)?,
            epoch: state.epoch,
            affected,
            samples: state
                .samples
                .into_iter()
                .map(StoredSample::into_domain)
                .collect::<Result<_, _>>()?,
            evaluated: state.evaluated,
            occurrences: state.occurrences,
            first_seen: parse(&state.first_seen)?,
            reopened: state.reopened,
        })
    }
}

impl StoredSubject {
    fn of(subject: &SubjectClass) -> Self {
        match subject {
            SubjectClass::Workload(name) => Self::Workload(name.as_str().to_owned()),
            SubjectClass::Unknown(digest) => Self::Unknown(digest.map(|digest| digest.to_string())),
            SubjectClass::Host => Self::Host,
        }
    }

    fn into_domain(self) -> Result<SubjectClass, String> {
        Ok(match self {
            Self::Workload(name) => SubjectClass::Workload(parse(&name)?),
            Self::Unknown(digest) => SubjectClass::Unknown(digest.as_deref().map(parse).transpose()?),
            Self::Host => SubjectClass::Host,
        })
    }
}

impl StoredCheck {
    fn of(check: &Check) -> Self {
        let Check {
            control,
            rule,
            field,
            result,
            expected,
            actual,
            reason,
            severity,
            decided_by,
        } = check;
        Self {
            control: control.word().to_owned(),
            rule: rule.as_str().to_owned(),
            field: field.clone().into_owned(),
            result: outcome_word(*result).to_owned(),
            expected: expected.clone(),
            actual: actual.clone(),
            reason: reason.clone().into_owned(),
            severity: severity.word().to_owned(),
            decided_by: decided_by.as_ref().map(StoredKey::of),
        }
    }

    fn into_domain(self) -> Result<Check, String> {
        let Self {
            control,
            rule,
            field,
            result,
            expected,
            actual,
            reason,
            severity,
            decided_by,
        } = self;
        Ok(Check {
            control: parse(&control)?,
            rule: parse(&rule)?,
            field: Cow::Owned(field),
            result: outcome(&result)?,
            expected,
            actual,
            reason: Cow::Owned(reason),
            severity: parse(&severity)?,
            decided_by: decided_by.map(StoredKey::into_domain).transpose()?,
        })
    }
}

impl StoredSample {
    fn of(Sample { instance, name }: &Sample) -> Self {
        Self {
            instance: instance.to_string(),
            name: name.clone(),
        }
    }

    fn into_domain(self) -> Result<Sample, String> {
        Ok(Sample {
            instance: instance(&self.instance)?,
            name: self.name,
        })
    }
}

fn instance(text: &str) -> Result<InstanceId, String> {
    let (runtime, id) = text.split_once('/').ok_or("an instance has no runtime")?;
    Ok(InstanceId {
        runtime: parse(runtime)?,
        id: id.to_owned(),
    })
}

const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Excepted => "excepted",
        Outcome::NotApplicable => "not-applicable",
        Outcome::NotEvaluated => "not-evaluated",
        Outcome::Error => "error",
    }
}

fn outcome(word: &str) -> Result<Outcome, String> {
    use Outcome::{Error, Excepted, Fail, NotApplicable, NotEvaluated, Pass};
    [Pass, Fail, Excepted, NotApplicable, NotEvaluated, Error]
        .into_iter()
        .find(|outcome| outcome_word(*outcome) == word)
        .ok_or_else(|| format!("`{}` is no result", printable_within(word, 60)))
}

const fn lifecycle_word(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Open => "open",
        Lifecycle::Acknowledged => "acknowledged",
        Lifecycle::Suppressed => "suppressed",
        Lifecycle::Resolved => "resolved",
    }
}

fn lifecycle(word: &str) -> Result<Lifecycle, String> {
    use Lifecycle::{Acknowledged, Open, Resolved, Suppressed};
    [Open, Acknowledged, Suppressed, Resolved]
        .into_iter()
        .find(|lifecycle| lifecycle_word(*lifecycle) == word)
        .ok_or_else(|| format!("`{}` is no state of a finding", printable_within(word, 60)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_agent_core::store::conformance::{finding, transition};

    use super::super::{read, write};
    use super::*;

    const STATE: &str = concat!(
        r#"{"uid":"sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b","#,
        r#""subject":{"workload":"payments/web"},"#,
        r#""image":"sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","#,
        r#""check":{"control":"privilege","rule":"privilege/is-root","field":"processes[1]","result":"fail","#,
        r#""expected":"no process of root","actual":"uid 0 \u001b[31m","#,
        r#""reason":"a process runs as the host's root","severity":"critical","#,
        r#""decided_by":{"kind":"Workload","name":"test/1"}},"#,
        r#""lifecycle":"open","wanted":"enforce","effective":"monitor","epoch":1,"#,
        r#""samples":[{"instance":"docker/0000000000000000000000000000000000000000000000000000000000000001","#,
        "\"name\":\"/web-1\u{202e}\"}],",
        r#""evaluated":2,"occurrences":1,"first_seen":"2025-12-17T19:33:21.123456789Z","reopened":1}"#
    );

    #[test]
    fn finding_format_1_is_frozen() {
        let frozen = format!(
            r#"{{"state":{STATE},"affected":["docker/{:064}"],"changed":"2025-12-17T19:33:22.123456789Z"}}"#,
            1
        );
        assert_eq!(
            String::from_utf8(write(&StoredFinding::of(&finding(1)))).unwrap(),
            frozen
        );
        assert_eq!(
            read::<StoredFinding>(frozen.as_bytes())
                .unwrap()
                .into_domain()
                .unwrap(),
            finding(1)
        );
    }

    #[test]
    fn transition_format_1_is_frozen() {
        let frozen = format!(r#"{{"state":{STATE},"affected":1,"at":"2025-12-17T19:33:22.123456789Z"}}"#);
        assert_eq!(
            String::from_utf8(write(&StoredTransition::of(&transition(1)))).unwrap(),
            frozen
        );
        assert_eq!(
            read::<StoredTransition>(frozen.as_bytes())
                .unwrap()
                .into_domain()
                .unwrap(),
            transition(1)
        );
    }

    #[test]
    fn queue_format_1_is_frozen() {
        let queue = StoredQueue {
            next: 9,
            acknowledged: 5,
            bytes: 700,
            refused_rounds: 1,
            anew: 0,
            chain: None,
        };
        let frozen = br#"{"next":9,"acknowledged":5,"bytes":700,"refused_rounds":1}"#;
        assert_eq!(write(&queue), frozen);
        assert_eq!(read::<StoredQueue>(frozen).unwrap(), queue);
        // Since chains are kept.
        let queue = StoredQueue {
            chain: Some(Digest::of(b"chain")),
            ..queue
        };
        let chain = Digest::of(b"chain").hex();
        let frozen = format!(
            r#"{{"next":9,"acknowledged":5,"bytes":700,"refused_rounds":1,"chain":"sha256:{chain}"}}"#
        );
        assert_eq!(write(&queue), frozen.as_bytes());
        assert_eq!(read::<StoredQueue>(frozen.as_bytes()).unwrap(), queue);
    }

    #[test]
    fn every_word_is_read_back() {
        for word in [
            "pass",
            "fail",
            "excepted",
            "not-applicable",
            "not-evaluated",
            "error",
        ] {
            assert_eq!(outcome_word(outcome(word).unwrap()), word);
        }
        for word in ["open", "acknowledged", "suppressed", "resolved"] {
            assert_eq!(lifecycle_word(lifecycle(word).unwrap()), word);
        }
        assert!(outcome("Pass").is_err() && lifecycle("").is_err());
    }
}
