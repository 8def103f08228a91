//! Between domain values and their stored forms.

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::finding::{FindingUid, Lifecycle, MAX_SAMPLES, Sample, SubjectClass, Transition};
use verger_policy::model::{Name, ObjectKey};
use verger_proto::stored::v1 as stored;
use verger_seal::SignedHead;

use crate::command::SnapshotPlace;
use crate::limits;

pub(crate) fn bytes(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

pub(crate) fn digest(bytes: &[u8]) -> Option<Digest> {
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

pub(crate) fn stored_place(place: &SnapshotPlace) -> stored::StoredSnapshot {
    let SnapshotPlace { digest, index, term } = place;
    stored::StoredSnapshot {
        digest: bytes(digest),
        index: *index,
        term: *term,
    }
}

pub(crate) fn place(place: stored::StoredSnapshot) -> Option<SnapshotPlace> {
    let stored::StoredSnapshot {
        digest: of,
        index,
        term,
    } = place;
    Some(SnapshotPlace {
        digest: digest(&of)?,
        index,
        term,
    })
}

/// Empty where there is none.
pub(crate) fn optional_bytes(digest: Option<&Digest>) -> Bytes {
    digest.map(bytes).unwrap_or_default()
}

/// The inner `None` where there are no bytes, the outer one where they are no digest.
pub(crate) fn optional_digest(bytes: &[u8]) -> Option<Option<Digest>> {
    match bytes {
        [] => Some(None),
        bytes => digest(bytes).map(Some),
    }
}

pub(crate) fn stored_head(head: &SignedHead) -> stored::StoredHead {
    let SignedHead {
        statement,
        key,
        signature,
    } = head;
    let bytes = |part: &Vec<u8>| Bytes::copy_from_slice(part);
    stored::StoredHead {
        statement: bytes(statement),
        key: bytes(key),
        signature: bytes(signature),
    }
}

pub(crate) fn head(head: stored::StoredHead) -> SignedHead {
    let stored::StoredHead {
        statement,
        key,
        signature,
    } = head;
    SignedHead {
        statement: statement.into(),
        key: key.into(),
        signature: signature.into(),
    }
}

pub(crate) fn time(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}

pub(crate) fn stored_key(key: &ObjectKey) -> stored::StoredKey {
    stored::StoredKey {
        kind: key.kind.to_string(),
        name: key.name.to_string(),
    }
}

pub(crate) fn object_key(key: stored::StoredKey) -> Option<ObjectKey> {
    let stored::StoredKey { kind, name } = key;
    Some(ObjectKey {
        kind: kind.parse().ok()?,
        name: name.parse().ok()?,
    })
}

/// Of one label, as in certificates.
pub(crate) fn member_name(text: &str) -> Option<Name> {
    text.parse().ok().filter(|_| !text.contains('/'))
}

const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Pass, "pass"),
    (Outcome::Fail, "fail"),
    (Outcome::Excepted, "excepted"),
    (Outcome::NotApplicable, "notApplicable"),
    (Outcome::NotEvaluated, "notEvaluated"),
    (Outcome::Error, "error"),
];

fn outcome_word(outcome: Outcome) -> &'static str {
    OUTCOMES
        .iter()
        .find(|(value, _)| *value == outcome)
        .map_or("error", |(_, word)| word)
}

fn outcome(word: &str) -> Option<Outcome> {
    OUTCOMES
        .iter()
        .find(|(_, known)| *known == word)
        .map(|(value, _)| *value)
}

fn lifecycle_number(lifecycle: Lifecycle) -> u32 {
    match lifecycle {
        Lifecycle::Open => 1,
        Lifecycle::Acknowledged => 2,
        Lifecycle::Suppressed => 3,
        Lifecycle::Resolved => 4,
    }
}

// Acknowledgement is the controller's: an agent may not claim it.
fn lifecycle(number: u32) -> Option<Lifecycle> {
    match number {
        1 => Some(Lifecycle::Open),
        3 => Some(Lifecycle::Suppressed),
        4 => Some(Lifecycle::Resolved),
        _ => None,
    }
}

fn stored_check(check: &Check) -> stored::Check {
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
    stored::Check {
        control: control.to_string(),
        rule: rule.to_string(),
        field: field.to_string(),
        result: outcome_word(*result).to_owned(),
        expected: expected.clone(),
        actual: actual.clone(),
        reason: reason.to_string(),
        severity: severity.to_string(),
        decided_by: decided_by.as_ref().map(stored_key),
    }
}

fn check(check: stored::Check) -> Result<Check, &'static str> {
    let stored::Check {
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
    let texts = [Some(&field), expected.as_ref(), actual.as_ref(), Some(&reason)];
    if texts
        .into_iter()
        .flatten()
        .any(|text| text.len() > limits::TEXT_BYTES)
    {
        return Err("check");
    }
    Ok(Check {
        control: control.parse().map_err(|_| "check.control")?,
        rule: rule.parse().map_err(|_| "check.rule")?,
        field: field.into(),
        result: outcome(&result).ok_or("check.result")?,
        expected,
        actual,
        reason: reason.into(),
        severity: severity.parse().map_err(|_| "check.severity")?,
        decided_by: match decided_by {
            Some(key) => Some(object_key(key).ok_or("check.decided_by")?),
            None => None,
        },
    })
}

pub(crate) fn stored_transition(transition: &Transition) -> stored::Transition {
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
    let (class, value) = match subject {
        SubjectClass::Workload(name) => (1, name.to_string()),
        SubjectClass::Unknown(digest) => (2, digest.map(|digest| digest.to_string()).unwrap_or_default()),
        SubjectClass::Host => (3, String::new()),
    };
    stored::Transition {
        at_ms: at.as_millisecond(),
        uid: bytes(&uid.0),
        subject: Some(stored::Subject { class, value }),
        image: image.as_ref().map(bytes).unwrap_or_default(),
        check: Some(stored_check(check)),
        lifecycle: lifecycle_number(*lifecycle),
        wanted: wanted.to_string(),
        effective: effective.to_string(),
        epoch: *epoch,
        affected: *affected,
        samples: samples
            .iter()
            .map(|Sample { instance, name }| stored::Sample {
                runtime: instance.runtime.to_string(),
                id: instance.id.clone(),
                name: name.clone(),
            })
            .collect(),
        evaluated: *evaluated,
        occurrences: *occurrences,
        first_seen_ms: first_seen.as_millisecond(),
        reopened: *reopened,
    }
}

pub(crate) fn transition(transition: stored::Transition) -> Result<Transition, &'static str> {
    let stored::Transition {
        at_ms,
        uid,
        subject,
        image,
        check: stored_check,
        lifecycle: stored_lifecycle,
        wanted,
        effective,
        epoch,
        affected,
        samples,
        evaluated,
        occurrences,
        first_seen_ms,
        reopened,
    } = transition;
    let stored::Subject { class, value } = subject.ok_or("subject")?;
    let subject = match class {
        1 => SubjectClass::Workload(value.parse().map_err(|_| "subject")?),
        2 if value.is_empty() => SubjectClass::Unknown(None),
        2 => SubjectClass::Unknown(Some(value.parse().map_err(|_| "subject")?)),
        3 => SubjectClass::Host,
        _ => return Err("subject"),
    };
    if samples.len() > MAX_SAMPLES
        || samples
            .iter()
            .any(|sample| sample.name.len().max(sample.id.len()) > limits::TEXT_BYTES)
    {
        return Err("samples");
    }
    Ok(Transition {
        at: time(at_ms).ok_or("at")?,
        uid: FindingUid(digest(&uid).ok_or("uid")?),
        subject,
        image: if image.is_empty() {
            None
        } else {
            Some(digest(&image).ok_or("image")?)
        },
        check: check(stored_check.ok_or("check")?)?,
        lifecycle: lifecycle(stored_lifecycle).ok_or("lifecycle")?,
        wanted: wanted.parse().map_err(|_| "wanted")?,
        effective: effective.parse().map_err(|_| "effective")?,
        epoch,
        affected,
        samples: samples
            .into_iter()
            .map(|stored::Sample { runtime, id, name }| {
                Ok(Sample {
                    instance: InstanceId {
                        runtime: runtime.parse().map_err(|_| "samples")?,
                        id,
                    },
                    name,
                })
            })
            .collect::<Result<_, &'static str>>()?,
        evaluated,
        occurrences,
        first_seen: time(first_seen_ms).ok_or("first_seen")?,
        reopened,
    })
}
