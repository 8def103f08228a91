//! Fuzz targets: every message that becomes a domain value.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use bolero::check;
use jiff::Timestamp;
use prost::Message;
use verger_fuzz::{Damaged, Input};
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::finding::{
    Acknowledgement, Finding, FindingUid, HostCount, Lifecycle, MAX_SAMPLES, Sample, SubjectClass, Transition,
};
use verger_policy::model::{Control, Mode, ObjectKey, RuntimeKind, Severity, printable};
use verger_policy::set::{Body, Entry};
use verger_policy::{draft, rules};
use verger_proto::{findings::v1 as findings, policy::v1 as policy};
use verger_seal::SignedHead;

use crate::{FromWire, IntoWire, InvalidMessage, instant, timestamp};

fn check_of_everything() -> Check {
    Check {
        control: Control::Privilege,
        rule: rules::IS_ROOT.rule_id(),
        field: "user.uid".into(),
        result: Outcome::Fail,
        expected: Some("1000".to_owned()),
        actual: Some("0".to_owned()),
        reason: "it is root".into(),
        severity: Severity::High,
        decided_by: Some("Workload/payments/web".parse().unwrap()),
    }
}

fn sample() -> Sample {
    Sample {
        instance: InstanceId {
            runtime: RuntimeKind::Docker,
            id: "ab".repeat(32),
        },
        name: "web-1".to_owned(),
    }
}

fn transition() -> Transition {
    Transition {
        at: Timestamp::from_millisecond(1_766_000_000_123).unwrap(),
        uid: FindingUid(Digest::of(b"uid")),
        subject: SubjectClass::Workload("payments/web".parse().unwrap()),
        image: Some(Digest::of(b"image")),
        check: check_of_everything(),
        lifecycle: Lifecycle::Open,
        wanted: Mode::Enforce,
        effective: Mode::Monitor,
        epoch: 7,
        affected: 1,
        samples: vec![sample()],
        evaluated: 2,
        occurrences: 3,
        first_seen: Timestamp::UNIX_EPOCH,
        reopened: 1,
    }
}

fn finding() -> Finding {
    let Transition {
        at,
        uid,
        subject,
        image,
        check,
        wanted,
        effective,
        samples,
        ..
    } = transition();
    Finding {
        uid,
        revision: 9,
        control: check.control,
        rule: check.rule.clone(),
        subject,
        image,
        check,
        lifecycle: Lifecycle::Acknowledged,
        acknowledged: Some(Acknowledgement {
            person: "ada".to_owned(),
            note: "known".to_owned(),
            at,
        }),
        wanted,
        effective,
        hosts: BTreeMap::from([(
            "edge-1".parse().unwrap(),
            HostCount {
                affected: 1,
                evaluated: 2,
            },
        )]),
        samples,
        first_seen: at,
        changed: at,
        reopened: 1,
        occurrences: 3,
    }
}

fn objects() -> Vec<Body> {
    let text = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: h }\nspec: { agent: h, labels: { zone: eu } }\n";
    let objects = draft::read("h.yaml", text.as_bytes()).unwrap();
    objects.iter().map(|object| Body::new(object).unwrap()).collect()
}

/// Says nothing of the message that a terminal or a log could obey, and not much.
#[track_caller]
fn assert_refused(error: &InvalidMessage) {
    let told = error.to_string();
    assert!(
        told.lines()
            .all(|line| printable(line) == line && line.len() < 8 << 10),
        "{told:.300}"
    );
    assert!(
        !error.field.is_empty() && error.field.len() < 200,
        "{}",
        error.field
    );
}

/// What a message of the bytes says, if it is one and says something; and that it says the same when sent on.
fn value<M, T>(bytes: &Input, again: impl Fn(&T) -> M) -> Option<T>
where
    M: Message + Default,
    T: FromWire<M> + PartialEq + Debug,
{
    match T::from_wire(M::decode(&**bytes).ok()?) {
        Ok(value) => {
            let back = T::from_wire(again(&value)).unwrap();
            assert_eq!(back, value);
            Some(value)
        }
        Err(error) => {
            assert_refused(&error);
            None
        }
    }
}

fn assert_bounded(check: &Check) {
    let texts = [
        check.expected.as_deref(),
        check.actual.as_deref(),
        Some(&*check.field),
        Some(&*check.reason),
    ];
    assert!(texts.into_iter().flatten().all(|text| text.len() <= 4 << 10));
}

#[test]
fn hostile_transitions_are_refused_or_mean_the_same_when_sent_on() {
    let sent: findings::Transition = (&transition()).into_wire();
    check!()
        .with_generator(Damaged::proto([sent.encode_to_vec()]))
        .with_iterations(5_000)
        .for_each(|bytes| {
            let Some(transition) =
                value::<findings::Transition, Transition>(bytes, |value| value.into_wire())
            else {
                return;
            };
            assert_bounded(&transition.check);
            assert_ne!(transition.lifecycle, Lifecycle::Acknowledged);
            assert!(transition.samples.len() <= MAX_SAMPLES);
            assert!(
                transition
                    .samples
                    .iter()
                    .all(|it| it.name.len() <= 1 << 10 && it.instance.id.len() <= 1 << 10)
            );
        });
}

#[test]
fn hostile_findings_are_refused_or_mean_the_same_when_sent_on() {
    let sent: findings::Finding = (&finding()).into_wire();
    check!()
        .with_generator(Damaged::proto([sent.encode_to_vec()]))
        .with_iterations(5_000)
        .for_each(|bytes| {
            let Some(finding) = value::<findings::Finding, Finding>(bytes, |value| value.into_wire()) else {
                return;
            };
            assert_bounded(&finding.check);
            assert_eq!(
                (finding.control, &finding.rule),
                (finding.check.control, &finding.check.rule)
            );
        });
}

#[test]
fn hostile_heads_are_refused_or_are_the_same_bytes_when_sent_on() {
    let head = findings::SignedHead {
        statement: vec![b's'; 300].into(),
        key: vec![b'k'; 91].into(),
        signature: vec![b'n'; 64].into(),
    };
    check!()
        .with_generator(Damaged::proto([head.encode_to_vec()]))
        .with_iterations(2_000)
        .for_each(|bytes| {
            value::<findings::SignedHead, SignedHead>(bytes, |head| head.into_wire());
        });
    let long = findings::SignedHead {
        key: vec![0; 5_000].into(),
        ..head
    };
    assert_refused(&SignedHead::from_wire(long).unwrap_err());
}

#[test]
fn a_transition_has_the_same_digest_after_it_was_sent() {
    let made = Transition {
        at: Timestamp::new(1_766_000_000, 123_456_789).unwrap(),
        first_seen: Timestamp::new(1_766_000_000, 999_999_999).unwrap(),
        ..transition()
    };
    let sent: findings::Transition = (&made).into_wire();
    let taken_in = Transition::from_wire(sent).unwrap();
    assert_ne!(taken_in, made, "instants were cut");
    assert_eq!(taken_in.digest(), made.digest());
}

#[test]
fn hostile_entries_and_bodies_are_refused_or_mean_the_same_when_sent_on() {
    let bodies = objects();
    let entries = bodies.iter().map(|body| {
        let entry: policy::Entry = (&body.entry(3)).into_wire();
        entry.encode_to_vec()
    });
    let sent = bodies.iter().map(|body| {
        let body: policy::Body = body.into_wire();
        body.encode_to_vec()
    });
    check!()
        .with_generator((Damaged::proto(entries), Damaged::proto(sent)))
        .with_iterations(4_000)
        .for_each(|(entry, body)| {
            value::<policy::Entry, Entry>(entry, |entry| entry.into_wire());
            if let Some(body) = value::<policy::Body, Arc<Body>>(body, |body| (&**body).into_wire()) {
                assert_eq!(body.object().canonical_bytes(), body.bytes());
            }
        });
}

#[test]
fn hostile_keys_and_instants_are_refused_or_mean_the_same_when_sent_on() {
    let key: ObjectKey = "Workload/payments/web".parse().unwrap();
    let key: policy::ObjectKey = (&key).into_wire();
    check!()
        .with_generator((
            Damaged::proto([key.encode_to_vec()]),
            bolero::produce::<(i64, i32)>(),
            Damaged::proto([timestamp(transition().at).encode_to_vec()]),
        ))
        .with_iterations(10_000)
        .for_each(|(key, (seconds, nanos), near)| {
            value::<policy::ObjectKey, ObjectKey>(key, |key| key.into_wire());
            let far = prost_types::Timestamp {
                seconds: *seconds,
                nanos: *nanos,
            };
            let near = prost_types::Timestamp::decode(&**near).unwrap_or_default();
            for at in [far, near] {
                match instant("at", at) {
                    Ok(at) => assert_eq!(instant("at", timestamp(at)), Ok(at)),
                    Err(error) => assert_refused(&error),
                }
            }
        });
}

#[test]
fn hostile_rows_of_the_audit_are_refused_or_read_the_same_again() {
    use verger_proto::stored::v1 as stored;
    let row = |change: fn(&mut stored::AuditRow)| {
        let mut row = stored::AuditRow {
            format: 1,
            at_ms: 1_766_000_000_123,
            actor: "person/ada".to_owned(),
            action: "apply-set".to_owned(),
            request_id: "r".to_owned(),
            outcome: "ok".to_owned(),
            ..Default::default()
        };
        change(&mut row);
        row.encode_to_vec()
    };
    let seeds = [
        row(|_| ()),
        row(|row| {
            row.previous = vec![1; 32].into();
            row.detail = "on epoch 7".to_owned();
            row.from = "192.0.2.1:40000".to_owned();
            row.before = vec![2; 32].into();
            row.after = vec![3; 32].into();
            row.policies = vec!["admin".to_owned()];
            row.attempts = 3;
        }),
    ];
    check!()
        .with_generator(Damaged::proto(seeds))
        .with_iterations(3_000)
        .for_each(|bytes| match crate::audit::AuditEntry::read(bytes) {
            Ok(entry) => {
                let message: verger_proto::cluster::v1::AuditEntry = (&entry).into_wire();
                assert_eq!(instant("at", message.at.unwrap()).unwrap(), entry.at);
                assert_eq!(message.before.is_empty(), entry.before.is_none());
            }
            Err(error) => assert_eq!(printable(&error.to_string()), error.to_string()),
        });
}
