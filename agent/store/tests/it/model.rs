use std::collections::BTreeSet;

use proptest::prelude::*;
use verger_agent_core::store::conformance::{bodies, entry, finding, set, transition};
use verger_agent_core::store::memory::MemoryDisk;
use verger_agent_core::store::{LedgerDelta, LedgerStore, Round, SetDelta, SpoolStore};
use verger_policy::finding::LocalFinding;

use crate::bench::Place;

#[derive(Clone, Debug)]
enum Step {
    Round {
        changed: Vec<u64>,
        removed: Vec<u64>,
        transitions: u64,
    },
    Acknowledge(u64),
    Set {
        up: u64,
        entries: BTreeSet<u64>,
        with_bodies: BTreeSet<u64>,
        dropped: BTreeSet<u64>,
        bare: BTreeSet<u64>,
    },
    TrustRoot(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let few = || prop::collection::btree_set(0_u64..12, 0..6);
    prop_oneof![
        4 => (prop::collection::vec(0_u64..20, 0..5), prop::collection::vec(0_u64..20, 0..3), 0_u64..5)
            .prop_map(|(changed, removed, transitions)| Step::Round { changed, removed, transitions }),
        2 => (0_u64..30).prop_map(Step::Acknowledge),
        3 => (0_u64..3, few(), few(), few(), few()).prop_map(|(up, entries, with_bodies, dropped, bare)| Step::Set {
            up, entries, with_bodies, dropped, bare
        }),
        1 => any::<u8>().prop_map(Step::TrustRoot),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is written, and whenever it is reopened: the disk and the model hold the same.
    #[test]
    fn the_disk_is_as_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let place = Place::new(1 << 30);
        let model = MemoryDisk::new(1 << 30);
        let (mut ledger, mut spool) = place.open();
        let (mut written, mut epoch) = (0, 0);
        for step in steps {
            match step {
                Step::Round { changed, removed, transitions } => {
                    let round = Round {
                        changed: changed
                            .iter()
                            .map(|number| LocalFinding { occurrences: written, ..finding(*number) })
                            .collect(),
                        removed: removed.iter().map(|number| finding(*number).uid).collect(),
                        transitions: (written..written + transitions).map(transition).collect(),
                    };
                    prop_assert_eq!(spool.commit_round(&round).unwrap(), model.commit_round(&round).unwrap());
                    written += transitions;
                }
                Step::Acknowledge(sequence) => {
                    let (there, expected) = (spool.acknowledge(sequence), model.acknowledge(sequence));
                    prop_assert_eq!(there.is_ok(), expected.is_ok());
                }
                Step::Set { up, entries, with_bodies, dropped, bare } => {
                    let delta = SetDelta {
                        bodies: bodies(&Vec::from_iter(with_bodies)),
                        dropped_entries: dropped.iter().map(|number| entry(*number).key).collect(),
                        dropped_bodies: bare.iter().map(|number| entry(*number).key).collect(),
                        ..set((epoch + up).saturating_sub(1), &Vec::from_iter(entries))
                    };
                    let delta = LedgerDelta { trust_roots: Vec::new(), set: Some(delta) };
                    let (there, expected) = (ledger.commit(&delta), model.commit(&delta));
                    prop_assert_eq!(there.is_ok(), expected.is_ok(), "{:?} {:?}", there, expected);
                    epoch = model.load().unwrap().highest_epoch;
                }
                Step::TrustRoot(byte) => {
                    let delta = LedgerDelta { trust_roots: vec![vec![byte; 100]], set: None };
                    ledger.commit(&delta).unwrap();
                    model.commit(&delta).unwrap();
                }
                Step::Reopen => {
                    drop((ledger, spool));
                    (ledger, spool) = place.open();
                }
            }
            prop_assert_eq!(ledger.load().unwrap(), model.load().unwrap());
            prop_assert_eq!(spool.findings().unwrap(), model.findings().unwrap());
            let everything = |store: &dyn SpoolStore| store.pending(0, 1000, usize::MAX).unwrap();
            prop_assert_eq!(everything(&spool), everything(&model));
            prop_assert_eq!(spool.told().unwrap(), model.told().unwrap());
            for sequence in 0..written + 2 {
                prop_assert_eq!(spool.chain_at(sequence).unwrap(), model.chain_at(sequence).unwrap());
            }
            let (there, expected) = (spool.usage().unwrap(), model.usage().unwrap());
            prop_assert_eq!((there.next_sequence, there.acknowledged), (expected.next_sequence, expected.acknowledged));
        }
    }
}
