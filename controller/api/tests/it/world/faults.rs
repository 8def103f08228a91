//! Transitions of findings, as agents report them.

use jiff::SignedDuration;
use verger_controller_state::{Action, Command};
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::finding::{Lifecycle, Sample, SubjectClass, Transition, fingerprint};
use verger_policy::model::{Control, Mode, RuleId, RuntimeKind, Severity};
use verger_proto::agent::v1 as pb;
use verger_wire::IntoWire as _;

use super::{World, start};

/// Transitions in one message, numbered from `first`.
pub(crate) fn batch(first: u64, transitions: &[Transition]) -> pb::ReportRequest {
    pb::ReportRequest {
        anew: false,
        head: None,
        chain_before: Default::default(),
        first_sequence: first,
        transitions: transitions
            .iter()
            .map(|transition| transition.into_wire())
            .collect(),
        machine: Default::default(),
    }
}

impl World {
    /// An open fault of this cluster; the field tells it apart from others.
    pub(crate) fn fault(&self, field: &str) -> Transition {
        let rule: RuleId = "privilege/is-root".parse().unwrap();
        let subject = SubjectClass::Workload("web".parse().unwrap());
        let image = Some(Digest::of(b"image"));
        Transition {
            at: start(),
            uid: fingerprint(&self.cluster_id(), &rule, &subject, image.as_ref(), field),
            subject,
            image,
            check: Check {
                control: Control::Privilege,
                rule,
                field: field.to_owned().into(),
                result: Outcome::Fail,
                expected: Some("1000".to_owned()),
                actual: Some("0".to_owned()),
                reason: "it runs as root".into(),
                severity: Severity::High,
                decided_by: None,
            },
            lifecycle: Lifecycle::Open,
            wanted: Mode::Enforce,
            effective: Mode::Monitor,
            epoch: 1,
            affected: 1,
            samples: vec![Sample {
                instance: InstanceId {
                    runtime: RuntimeKind::Docker,
                    id: "i1".to_owned(),
                },
                name: "web-1".to_owned(),
            }],
            evaluated: 1,
            occurrences: 1,
            first_seen: start(),
            reopened: 0,
        }
    }

    /// Gives a transition the uid of what it says.
    pub(crate) fn identify(&self, transition: &mut Transition) {
        transition.uid = fingerprint(
            &self.cluster_id(),
            &transition.check.rule,
            &transition.subject,
            transition.image.as_ref(),
            &transition.check.field,
        );
    }

    /// The same fault, over.
    pub(crate) fn resolved(&self, field: &str) -> Transition {
        Transition {
            at: start() + SignedDuration::from_secs(60),
            lifecycle: Lifecycle::Resolved,
            ..self.fault(field)
        }
    }

    /// The command that takes in transitions of an agent, next in sequence.
    pub(crate) fn ingestion(&self, agent: &str, transitions: Vec<Transition>) -> Command {
        let agent = agent.parse().unwrap();
        let first_sequence = self.log.state().host(&agent).unwrap().last_sequence + 1;
        self.command(Action::Ingest {
            agent,
            first_sequence,
            anew: false,
            chain_before: None,
            head: None,
            transitions,
        })
    }
}
