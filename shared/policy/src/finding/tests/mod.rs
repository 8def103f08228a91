//! Rounds of made-up judgements, and what findings come of them.

#![allow(clippy::unwrap_used)]

mod evidence;
mod fold;
mod intervals;
mod model;
mod room;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Lifecycle, Reconciled, Round, Table, Transition, reconcile};
use crate::digest::Digest;
use crate::drift::{Check, Claim, Judgement, Outcome};
use crate::facts::InstanceId;
use crate::model::{Control, Mode, RuntimeKind, Severity};

fn cluster() -> Digest {
    Digest::of(b"cluster")
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn id(name: &str) -> InstanceId {
    InstanceId {
        runtime: RuntimeKind::Docker,
        id: format!("id-{name}"),
    }
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

fn judgement_of(name: &str, checks: Vec<Check>) -> Judgement {
    Judgement {
        instance: id(name),
        name: name.to_owned(),
        image: Some(Digest::of(b"image")),
        claim: Claim::Workload {
            name: "web".parse().unwrap(),
            entitled: true,
        },
        wanted: vec![(Control::Privilege, Mode::Enforce)],
        checks,
        unneeded_exceptions: Vec::new(),
    }
}

fn judgement(name: &str, result: Outcome) -> Judgement {
    judgement_of(name, vec![check(result)])
}

/// A host under observation.
#[derive(Default)]
struct Host {
    table: Table,
    unjudged: BTreeSet<InstanceId>,
    unreadable: BTreeSet<RuntimeKind>,
    checks: Vec<Check>,
    effective: BTreeMap<Control, Mode>,
}

impl Host {
    fn look(&self, at: i64, judgements: &[Judgement]) -> Reconciled {
        let Self {
            table,
            unjudged,
            unreadable,
            checks,
            effective,
        } = self;
        let (cluster, at) = (cluster(), time(at));
        let round = Round {
            cluster,
            epoch: 1,
            at,
            judgements,
            unjudged,
            unreadable,
            host: checks,
            effective,
        };
        reconcile(table, &round)
    }

    /// Carries a round into the table; it must then have nothing left to say.
    fn round(&mut self, at: i64, judgements: &[Judgement]) -> Vec<Transition> {
        let reconciled = self.look(at, judgements);
        let transitions = reconciled.transitions.clone();
        assert!(
            transitions
                .iter()
                .all(|transition| transition.is_consistent(&cluster()))
        );
        reconciled.carry_into(&mut self.table);
        let again = self.look(at, judgements);
        assert_eq!(
            (again.transitions, again.changed),
            (vec![], vec![]),
            "the same round twice"
        );
        transitions
    }

    /// [`Self::round`] of instances with one check each: lifecycle, affected, reopened of what is sent.
    fn rounds(&mut self, at: i64, outcomes: &[(&str, Outcome)]) -> Vec<(Lifecycle, u64, u32)> {
        let judgements: Vec<Judgement> = outcomes
            .iter()
            .map(|(name, result)| judgement(name, *result))
            .collect();
        words(&self.round(at, &judgements))
    }
}

fn words(transitions: &[Transition]) -> Vec<(Lifecycle, u64, u32)> {
    transitions
        .iter()
        .map(|one| (one.lifecycle, one.affected, one.reopened))
        .collect()
}
