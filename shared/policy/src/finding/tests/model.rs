//! Random histories of a host against a naive account per instance.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{FindingUid, Lifecycle, Transition};
use super::{Host, id, judgement_of};
use crate::drift::{Check, Judgement, Outcome};
use crate::facts::InstanceId;
use crate::model::RuntimeKind;

/// What an instance does in a round.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Gone,
    Unjudged,
    Judged([Outcome; 2]),
}

const FIELDS: [&str; 2] = ["user", "groups"];

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Fail),
        2 => Just(Outcome::Excepted),
        3 => Just(Outcome::Pass),
        1 => Just(Outcome::NotApplicable),
        2 => Just(Outcome::NotEvaluated),
        1 => Just(Outcome::Error),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        1 => Just(Seen::Gone),
        1 => Just(Seen::Unjudged),
        5 => [outcome(), outcome()].prop_map(Seen::Judged),
    ]
}

/// Rounds: seconds since the one before, whether the runtime can be read, what each of four instances does.
fn history() -> impl Strategy<Value = Vec<(i64, bool, [Seen; 4])>> {
    let seconds = prop_oneof![0_i64..5, 5_i64..90, 3_000_i64..9_000];
    proptest::collection::vec(
        (
            seconds,
            prop::bool::weighted(0.85),
            [seen(), seen(), seen(), seen()],
        ),
        1..24,
    )
}

fn checks(outcomes: [Outcome; 2]) -> Vec<Check> {
    FIELDS
        .iter()
        .zip(outcomes)
        .map(|(field, result)| Check {
            field: (*field).into(),
            ..super::check(result)
        })
        .collect()
}

/// Every instance's last known word on a field: whether it violates, and whether an exception lifts it.
type Naive = BTreeMap<(&'static str, InstanceId), bool>;

fn account(naive: &mut Naive, readable: bool, round: &[Seen; 4]) {
    for (name, seen) in ["a", "b", "c", "d"].iter().zip(round) {
        for (place, field) in FIELDS.iter().enumerate() {
            let key = (*field, id(name));
            match seen {
                Seen::Gone if readable => {
                    naive.remove(&key);
                }
                Seen::Judged(outcomes) if readable => match outcomes[place] {
                    Outcome::Fail | Outcome::Error => {
                        naive.insert(key, false);
                    }
                    Outcome::Excepted => {
                        naive.insert(key, true);
                    }
                    Outcome::Pass | Outcome::NotApplicable => {
                        naive.remove(&key);
                    }
                    Outcome::NotEvaluated => {}
                },
                Seen::Gone | Seen::Unjudged | Seen::Judged(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn findings_are_what_the_instances_last_said(history in history()) {
        let (mut host, mut naive, mut at) = (Host::default(), Naive::new(), 0);
        let mut told: BTreeMap<FindingUid, Transition> = BTreeMap::new();
        for (seconds, readable, round) in history {
            at += seconds;
            let mut judgements: Vec<Judgement> = Vec::new();
            host.unjudged.clear();
            host.unreadable = if readable { BTreeSet::new() } else { [RuntimeKind::Docker].into() };
            for (name, seen) in ["a", "b", "c", "d"].iter().zip(&round) {
                match seen {
                    Seen::Judged(outcomes) if readable => judgements.push(judgement_of(name, checks(*outcomes))),
                    Seen::Unjudged => {
                        host.unjudged.insert(id(name));
                    }
                    Seen::Gone | Seen::Judged(_) => {}
                }
            }
            account(&mut naive, readable, &round);
            for transition in host.round(at, &judgements) {
                if let Some(last) = told.insert(transition.uid, transition.clone()) {
                    prop_assert!(last.occurrences <= transition.occurrences && last.first_seen == transition.first_seen);
                    let opened = last.lifecycle != Lifecycle::Open && transition.lifecycle == Lifecycle::Open;
                    prop_assert_eq!(transition.reopened, last.reopened + u32::from(opened));
                }
            }
            for field in FIELDS {
                let affected: BTreeMap<&InstanceId, bool> =
                    naive.iter().filter(|((of, _), _)| *of == field).map(|((_, id), excepted)| (id, *excepted)).collect();
                let finding = host.table.values().find(|finding| finding.check.field == field);
                let Some(finding) = finding else {
                    prop_assert!(affected.is_empty(), "{field} is violated, and there is no finding");
                    continue;
                };
                let wanted = match (affected.is_empty(), affected.values().all(|excepted| *excepted)) {
                    (true, _) => Lifecycle::Resolved,
                    (false, true) => Lifecycle::Suppressed,
                    (false, false) => Lifecycle::Open,
                };
                // Which of the instances in doubt had an exception is not kept: then it stays open.
                let cautious = finding.lifecycle == Lifecycle::Open && wanted == Lifecycle::Suppressed;
                prop_assert!(finding.lifecycle == wanted || cautious, "{finding:?} {affected:?}");
                prop_assert!(finding.affected.iter().eq(affected.keys().copied()));
                // The last one sent tells the state, and not one that is milder.
                let last = &told[&finding.uid];
                prop_assert_eq!(last.lifecycle, finding.lifecycle);
                prop_assert!(finding.occurrences >= last.occurrences);
                let samples: BTreeSet<_> = last.samples.iter().map(|sample| &sample.instance).collect();
                if at - (last.at.as_second() - super::time(0).as_second()) >= 10 && !affected.is_empty() {
                    prop_assert!(samples.into_iter().eq(affected.keys().copied()), "details are told soon");
                }
            }
        }
    }

    #[test]
    fn a_round_that_could_not_be_stored_is_found_again(history in history()) {
        // One host stores every round; the other loses every second one. After a stored round both say the same.
        let (mut sure, mut lossy, mut at) = (Host::default(), Host::default(), 0);
        for (place, (_, _, round)) in history.into_iter().enumerate() {
            at += 3_600;
            let judged = |(name, seen): (&&str, &Seen)| match seen {
                Seen::Judged(outcomes) => Some(judgement_of(name, checks(*outcomes))),
                Seen::Gone | Seen::Unjudged => None,
            };
            let judgements: Vec<Judgement> = ["a", "b", "c", "d"].iter().zip(&round).filter_map(judged).collect();
            if place % 2 == 1 {
                lossy.look(at, &judgements);
                continue;
            }
            sure.round(at, &judgements);
            lossy.round(at, &judgements);
            let state = |host: &Host| -> Vec<_> {
                host.table.values().map(|finding| (finding.uid, finding.lifecycle, finding.affected.clone())).collect()
            };
            prop_assert_eq!(state(&sure), state(&lossy));
        }
    }
}
