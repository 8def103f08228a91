//! The status message: whole state, the last one wins.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verger_agent_core::ledger::LedgerState;
use verger_agent_core::mode::EffectiveMode;
use verger_policy::drift::{Claim, Judgement, Outcome};
use verger_policy::model::Control;
use verger_proto::agent::v1 as pb;
use verger_proto::cluster::v1::{ControlStatus, Instance};
use verger_wire::timestamp;

use super::observation::Observation;

/// The most bytes of checks sent for one instance.
const CHECKS_BYTES: usize = 64 << 10;

pub(crate) fn status(
    ledger: &LedgerState,
    observation: &Observation,
    judgements: &[Judgement],
    modes: &BTreeMap<Control, EffectiveMode>,
    findings_made: u64,
    at: Timestamp,
) -> pb::Status {
    let epoch = ledger.position().map_or(0, |(epoch, _)| epoch);
    pb::Status {
        applied_epoch: epoch,
        instances: judgements
            .iter()
            .map(|judgement| instance(judgement, observation, epoch, at))
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

fn instance(judgement: &Judgement, observation: &Observation, epoch: u64, at: Timestamp) -> Instance {
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
    let told: Vec<_> = judgement
        .checks
        .iter()
        .filter(|check| !matches!(check.result, Outcome::Pass | Outcome::NotApplicable))
        .collect();
    let checks_json = serde_json::to_vec(&told)
        .ok()
        .filter(|json| json.len() <= CHECKS_BYTES)
        .unwrap_or_default();
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
