//! Any life of agents and findings.

use std::collections::BTreeMap;

use verger_policy::finding::{Finding, FindingUid, Lifecycle};

use super::*;
use crate::{Place, limits};

#[derive(Clone, Debug)]
enum Step {
    /// An agent tells what became of faults.
    Tell(bool, Vec<(u8, u8)>),
    /// An agent comes with a new key.
    Enrol(bool),
    /// A person has seen a fault.
    Ack(u8),
    /// Time goes by, hours.
    Pass(u16),
    /// A command with any stamp, seconds.
    Stamp(i64),
    /// The watcher reads so many changes.
    Read(u8),
    /// The member is restarted.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), prop::collection::vec((0_u8..50, 0_u8..5), 1..30)).prop_map(|(agent, told)| Step::Tell(agent, told)),
        1 => any::<bool>().prop_map(Step::Enrol),
        2 => (0_u8..50).prop_map(Step::Ack),
        2 => (0_u16..24 * 40).prop_map(Step::Pass),
        1 => (0_i64..400_000_000).prop_map(Step::Stamp),
        4 => (0_u8..40).prop_map(Step::Read),
        1 => Just(Step::Restart),
    ]
}

/// Somebody who keeps a copy.
struct Watcher {
    copy: BTreeMap<FindingUid, Finding>,
    place: Place<FindingUid>,
}

impl Watcher {
    fn read(&mut self, state: &State, most: usize) {
        let Some(changes) = state.findings_changed(&self.place) else {
            self.copy.clear();
            self.place = Place::beginning(state.revision());
            return self.read(state, most);
        };
        let mut read = 0;
        for change in changes.take(most) {
            read += 1;
            self.place.within = Some((change.revision, change.uid));
            match change.now {
                None => self.copy.remove(&change.uid),
                Some(now) => {
                    assert!(now.born > 0 && now.born <= change.revision && now.turned <= change.revision);
                    self.copy.insert(change.uid, now.finding)
                }
            };
        }
        if read < most {
            self.place = Place::after(state.revision());
        }
    }
}

fn play(steps: Vec<Step>) {
    let mut member = Member::founded();
    member.enrol("h1", b"key");
    member.enrol("h2", b"key");
    let mut watcher = Watcher {
        copy: BTreeMap::new(),
        place: Place::beginning(member.state.revision()),
    };
    let name = |first| if first { "h1" } else { "h2" };
    for step in steps {
        match step {
            Step::Tell(agent, told) => {
                let told: Vec<_> = told
                    .into_iter()
                    .map(|(number, lifecycle)| {
                        let lifecycle = match lifecycle {
                            0 => Lifecycle::Suppressed,
                            1 | 2 => Lifecycle::Resolved,
                            _ => Lifecycle::Open,
                        };
                        crate::fuzz::transition(number, lifecycle)
                    })
                    .collect();
                let answer = member.tell(name(agent), told);
                assert!(
                    matches!(answer, Response::Ingested(_)),
                    "never jammed: {answer:?}"
                );
            }
            Step::Enrol(agent) => {
                let key = member.index.to_be_bytes();
                member.enrol(name(agent), &key);
            }
            Step::Ack(number) => {
                let uid = crate::fuzz::transition(number, Lifecycle::Open).uid;
                let note = "n".to_owned();
                member.run(&command(member.now(), None, Action::AckFinding { uid, note }));
            }
            Step::Pass(hours) => member.pass(i64::from(hours) * 3_600),
            Step::Stamp(stamp) => {
                let before = member.now();
                let note = "n".to_owned();
                member.run(&command(stamp, None, Action::AckFinding { uid: uid(), note }));
                assert!((before..=before + limits::STEP_SECONDS).contains(&member.now()));
            }
            Step::Read(most) => watcher.read(&member.state, most.into()),
            Step::Restart => member.state = member.rebuilt(),
        }
        assert_eq!(member.rebuilt(), member.state);
        for agent in ["h1", "h2"] {
            let agent = agent.parse().unwrap();
            let kept = member.state.findings.count_of(&agent);
            assert!(kept <= limits::FINDINGS_PER_AGENT + 1);
        }
        for finding in member.state.findings_after_uid(None) {
            let held = member.state.findings.get(&finding.uid).unwrap();
            assert_eq!(held.lifecycle(), finding.lifecycle, "counted as folded");
        }
    }
    watcher.read(&member.state, usize::MAX);
    let there: BTreeMap<_, _> = member
        .state
        .findings_after_uid(None)
        .map(|finding| (finding.uid, finding))
        .collect();
    assert_eq!(watcher.copy, there);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_copy_kept_by_watching_is_the_state_and_so_is_one_rebuilt_from_rows(steps in prop::collection::vec(step(), 1..30)) {
        play(steps);
    }
}
