//! The status message: whole state, the last one wins.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verger_agent_core::ledger::LedgerState;
use verger_agent_core::mode::EffectiveMode;
use verger_policy::drift::{Check, Claim, Judgement, Outcome};
use verger_policy::model::{Control, RuleId, Severity};
use verger_proto::agent::v1 as pb;
use verger_proto::cluster::v1::{ControlStatus, Instance};
use verger_wire::timestamp;

use super::observation::Observation;

const LEFT_OUT: RuleId = RuleId::builtin("host/not-evaluated");
/// The most bytes of checks sent for one instance.
const CHECKS_BYTES: usize = 64 << 10;
/// The most bytes of checks sent in all. Counts are always sent; findings have a stream of their own.
const ALL_CHECKS_BYTES: usize = 8 << 20;

pub(crate) fn status(
    ledger: &LedgerState,
    observation: &Observation,
    judgements: &[Judgement],
    modes: &BTreeMap<Control, EffectiveMode>,
    findings_made: u64,
    at: Timestamp,
) -> pb::Status {
    let epoch = ledger.position().map_or(0, |(epoch, _)| epoch);
    let mut room = ALL_CHECKS_BYTES;
    pb::Status {
        applied_epoch: epoch,
        instances: judgements
            .iter()
            .map(|judgement| instance(judgement, observation, epoch, at, &mut room))
            .collect(),
        controls: modes
            .iter()
            .map(|(control, mode)| control_status(*control, mode))
            .collect(),
        unreadable: observation
            .unreadable()
            .iter()
            .map(|(runtime, why)| (runtime.to_string(), why.clone()))
            .collect(),
        findings_made,
    }
}

/// Whether two say the same; when something was judged does not count.
pub(crate) fn is_same(one: &pb::Status, other: &pb::Status) -> bool {
    let timeless = |status: &pb::Status| {
        let mut status = status.clone();
        for instance in &mut status.instances {
            instance.judged = None;
        }
        status
    };
    timeless(one) == timeless(other)
}

fn control_status(control: Control, mode: &EffectiveMode) -> ControlStatus {
    ControlStatus {
        control: control.to_string(),
        effective: mode.effective.map(|mode| mode.to_string()).unwrap_or_default(),
        unsupported: mode
            .unsupported
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

fn instance(
    judgement: &Judgement,
    observation: &Observation,
    epoch: u64,
    at: Timestamp,
    room: &mut usize,
) -> Instance {
    let count = |outcome| {
        let checks = judgement
            .checks
            .iter()
            .filter(|check| check.result == outcome)
            .count();
        u32::try_from(checks).unwrap_or(u32::MAX)
    };
    let (workloads, entitled) = match &judgement.claim {
        Claim::Workload { name, entitled, .. } => (vec![name.to_string()], *entitled),
        Claim::Ambiguous(names) => (names.iter().map(ToString::to_string).collect(), false),
        Claim::Unknown => (Vec::new(), false),
    };
    let checks_json = checks(judgement, *room);
    *room = room.saturating_sub(checks_json.len());
    Instance {
        // The controller fills in whose it is, from the certificate.
        agent_id: String::new(),
        runtime: judgement.instance.runtime.to_string(),
        id: judgement.instance.id.clone(),
        name: judgement.name.clone(),
        image: judgement
            .image
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        image_name: observation
            .instances()
            .get(&judgement.instance)
            .and_then(|instance| instance.image_name.clone())
            .unwrap_or_default(),
        workloads,
        entitled,
        passed: count(Outcome::Pass),
        failed: count(Outcome::Fail),
        excepted: count(Outcome::Excepted),
        not_evaluated: count(Outcome::NotEvaluated),
        errors: count(Outcome::Error),
        judged: Some(timestamp(at)),
        epoch,
        checks_json: checks_json.into(),
    }
}

/// What is neither pass nor not applicable, as JSON. Where it is too long, as many of them as there is room for and one more that
/// says so, the failing ones first.
fn checks(judgement: &Judgement, room: usize) -> Vec<u8> {
    let mut told: Vec<&Check> = judgement
        .checks
        .iter()
        .filter(|check| !matches!(check.result, Outcome::Pass | Outcome::NotApplicable))
        .collect();
    told.sort_by_key(|check| check.result != Outcome::Fail);
    let room = room.min(CHECKS_BYTES);
    let mut json = Vec::from(*b"[");
    for (place, check) in told.iter().enumerate() {
        let left = told.len() - place;
        let text = serde_json::to_vec(check).expect("a check is JSON");
        if json.len() + text.len() + LEFT_OUT_BYTES > room {
            let note = serde_json::to_vec(&left_out(left)).expect("a check is JSON");
            if json.len() + note.len() + 1 > room {
                return Vec::new();
            }
            json.extend(note);
            json.push(b']');
            return json;
        }
        json.extend(text);
        json.push(if left > 1 { b',' } else { b']' });
    }
    if told.is_empty() {
        json.push(b']');
    }
    json
}

/// Room kept for the note that checks were left out.
const LEFT_OUT_BYTES: usize = 512;

fn left_out(count: usize) -> Check {
    Check {
        control: Control::Host,
        rule: LEFT_OUT,
        field: "checks".into(),
        result: Outcome::NotEvaluated,
        expected: None,
        actual: Some(format!("{count} checks are not shown")),
        reason: "there are more than a status has room for; each failing one is a finding".into(),
        severity: Severity::Low,
        decided_by: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use verger_policy::facts::InstanceId;
    use verger_policy::model::RuntimeKind;

    fn judgement(fields: usize) -> Judgement {
        let check = |number: usize| Check {
            control: Control::Config,
            rule: RuleId::builtin("config/env"),
            field: format!("env[{number}]").into(),
            result: if number.is_multiple_of(2) {
                Outcome::NotEvaluated
            } else {
                Outcome::Fail
            },
            expected: None,
            actual: Some("x".repeat(200)),
            reason: "".into(),
            severity: Severity::Low,
            decided_by: None,
        };
        Judgement {
            instance: InstanceId {
                runtime: RuntimeKind::Docker,
                id: "i".to_owned(),
            },
            name: String::new(),
            image: None,
            claim: Claim::Unknown,
            wanted: Vec::new(),
            checks: (0..fields).map(check).collect(),
            unneeded_exceptions: Default::default(),
        }
    }

    fn read(json: &[u8]) -> Vec<serde_json::Value> {
        serde_json::from_slice(json).unwrap()
    }

    #[test]
    fn what_has_no_room_is_counted_and_the_failing_ones_come_first() {
        assert_eq!(
            read(&checks(&judgement(0), usize::MAX)),
            Vec::<serde_json::Value>::new()
        );
        assert_eq!(read(&checks(&judgement(9), usize::MAX)).len(), 9);
        let json = checks(&judgement(10_000), usize::MAX);
        assert!(json.len() <= CHECKS_BYTES && json.len() > CHECKS_BYTES / 2);
        let told = read(&json);
        let (last, told) = told.split_last().unwrap();
        assert!(
            told.iter().all(|check| check["result"] == "fail"),
            "{:?}",
            told[0]
        );
        let missing = 10_000 - told.len();
        assert_eq!(last["actual"], format!("{missing} checks are not shown"));
        // Nor is more sent in all than there is room for.
        let mut room = 200_000;
        let mut sent = 0;
        for _ in 0..10 {
            let json = checks(&judgement(10_000), room);
            room -= json.len();
            sent += json.len();
        }
        assert!(sent <= 200_000 && sent > 190_000, "{sent}");
        assert!(checks(&judgement(1), 0).is_empty());
    }
}
